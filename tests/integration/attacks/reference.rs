//! No real table is copied unless a person named it.

use crate::schemas::assert_valid;
use crate::world::{World, sha256};
use synthward::schema::LinkedSchema;

const PERSONS: usize = 60;

fn person(n: usize) -> String {
    format!("5605b66b-e92d-c16c-1b83-{n:012}")
}

/// Persons and their visits; drugs, whose key of the persons has this name; wards, which are nobody's.
fn hospital(key: &str) -> World {
    let world = World::new();
    std::fs::create_dir(world.path("real")).unwrap();
    let persons: String = (0..PERSONS).map(|n| format!("{},{}\n", person(n), ["F", "M"][n % 2])).collect();
    let visits: String = (0..200).map(|n| format!("{},{}\n", person(n % PERSONS), n % 3)).collect();
    let drugs: String = (0..90).map(|n| format!("rx-{n},{},drug {}\n", person(n % PERSONS), n % 5)).collect();
    world.write("real/patients.csv", format!("Id,sex\n{persons}"));
    world.write("real/visits.csv", format!("patient,ward\n{visits}"));
    world.write("real/drugs.csv", format!("serial,{key},drug\n{drugs}"));
    world.write("real/wards.csv", "Id,name\n0,surgery\n1,birth\n2,other\n");
    world
}

fn schema(world: &World, options: &str) -> LinkedSchema {
    world.run(&format!("inspect real --assume-public {options} -o schema.toml")).succeeds();
    LinkedSchema::from_toml(&world.text("schema.toml")).unwrap()
}

const FIT: &str =
    "fit real --schema schema.toml --epsilon 5 --delta 1e-5 --model independent --force -o model.safetensors";
const GENERATE: &str = "generate model.safetensors --rows 50 --format csv --reference real -o cohort";

/// The persons' key is under a name that tells nothing, in a table with missing keys, so no link is found. The table was taken
/// for a reference table, and copied byte for byte.
#[test]
fn a_table_whose_link_was_not_found_is_left_out() {
    let world = hospital("ref");
    let drugs: String = world.text("real/drugs.csv").replace("5605b66b", "x605b66b");
    world.write("real/drugs.csv", drugs);
    let schema = schema(&world, "");
    assert!(schema.tables.iter().all(|table| !table.reference));
    let left_out: Vec<&str> = schema.tables.iter().filter(|table| table.drop).map(|table| &*table.name).collect();
    assert_eq!(left_out, ["drugs", "wards"]);
    world.run(FIT).succeeds();
    let answer = world.run(&format!("{GENERATE} --json")).succeeds().json();
    assert_eq!(answer["copied"], serde_json::json!([]));
    for file in ["cohort/drugs.csv", "cohort/wards.csv"] {
        assert!(!world.path(file).exists(), "{file}");
    }
    let model = world.read("model.safetensors");
    assert!(!model.windows(6).any(|window| window == b"serial"), "the columns of what is left out are in the model");
}

#[test]
fn a_table_with_keys_of_persons_is_refused_as_reference() {
    for key in ["PATIENT", "person_id", "Patient-Nbr"] {
        let world = hospital(key);
        let refused = [&format!("column `{key}`"), "`drugs`", "named like keys of table `patients`", "remedy"];
        world.refuses(3, "inspect real --assume-public --reference drugs -o schema.toml", &refused);
    }
    // The name tells nothing, and the keys are none that chance repeats.
    let world = hospital("Uuid");
    let refused = ["column `Uuid`", "holds keys of table `patients`"];
    world.refuses(3, "inspect real --assume-public --reference drugs -o schema.toml", &refused);
    // Under another name it is the operator's to look.
    let world = hospital("badge");
    let outcome = world.run("inspect real --assume-public --reference drugs -o schema.toml").succeeds();
    outcome.says(&["table `drugs`, column `badge`: 10 to 99 values are keys of `patients` too"]);
    world.refuses(2, "inspect real --reference nurses", &["--reference names `nurses`"]);
}

/// By hand a table is named with the sum of its file: of a table of persons the names of its columns are looked at again.
#[test]
fn a_table_is_copied_where_a_person_named_it_and_its_file() {
    let world = hospital("patient");
    let written = schema(&world, "--reference wards");
    assert_eq!(written.tables.iter().filter(|table| table.reference).count(), 1);
    let vouched = world.text("schema.toml");
    let sum = sha256(&world.read("real/wards.csv"));
    for (from, to, words) in [
        ("reference_from = \"public\"\n", "", "nobody vouches that it is nobody's"),
        (&*format!("sha256         = \"{sum}\"\n"), "", "it is not said which file was looked at"),
        (&*sum, &*sum.replace(&sum[..8], "00000000"), "not the file that the schema's author accepted"),
    ] {
        assert!(vouched.contains(from), "{from}: {vouched}");
        world.write("schema.toml", vouched.replace(from, to));
        world.refuses(3, FIT, &[words, "`wards`", "remedy"]);
    }
    // The table of drugs, written to the schema by hand.
    let drugs = sha256(&world.read("real/drugs.csv"));
    let mut by_hand = written.clone();
    by_hand.tables.retain(|table| table.name != "drugs");
    let wards = by_hand.tables.iter().find(|table| table.reference).unwrap().clone();
    by_hand.tables.push(synthward::schema::linked::LinkedTable { name: "drugs".into(), sha256: Some(drugs), ..wards });
    world.write("schema.toml", by_hand.to_toml());
    world.refuses(3, FIT, &["`drugs`", "column `patient`", "named like keys of table `patients`", "remedy"]);

    world.write("schema.toml", vouched);
    world.run(FIT).succeeds();
    let outcome = world.run(&format!("{GENERATE} --json")).succeeds().says(&["wards.csv is declared public", &sum]);
    let answer = outcome.json();
    assert_valid("generate_folder.json", &answer);
    assert_eq!(answer["copied"], serde_json::json!([{ "file": "real/wards.csv", "sha256": sum }]));
    assert_eq!(world.read("cohort/wards.csv"), world.read("real/wards.csv"));
    world.write("real/wards.csv", world.text("real/wards.csv") + &format!("3,{}\n", person(1)));
    let again = GENERATE.replace("-o cohort", "-o again");
    world.run(&again).exits(3).says(&["not the file that the schema's author accepted", "wards.csv"]);
    assert!(!world.path("again").exists());
}
