//! Input that cannot be used: a clear error, the documented exit code, no file, and no cell in the message.

use crate::hospital::{FIRST_PATIENT, Hospital};
use crate::world::{SECRET, World};

/// Four columns, one of every family.
const SCHEMA: &str = r#"
[table]
name = "patients"
privacy_unit = "patient"
max_rows_per_unit = 2
missing = ["?"]

[[column]]
name = "patient"
kind = "identifier"

[[column]]
name = "sex"
kind = "categorical"
categories = ["F", "M", "other"]
other = "other"
domain_from = "public"

[[column]]
name = "age"
kind = "integer"
min = 0
max = 120
domain_from = "public"

[[column]]
name = "note"
kind = "identifier"
drop = true
"#;

const HEADER: &str = "patient,sex,age,note\n";

const FIT: &str =
    "fit table.csv --schema schema.toml --epsilon 1 --delta 1e-5 --model independent --force -o model.safetensors";

fn rows(patients: usize) -> String {
    (0..patients).map(|p| format!("p{p},{},{},{SECRET}\n", ["F", "M"][p % 2], p % 90)).collect()
}

fn world(table: impl AsRef<[u8]>) -> World {
    let world = World::new();
    world.write("schema.toml", SCHEMA).write("table.csv", table);
    world
}

/// `inspect` and `fit` both refuse the table, in these words.
fn refused(table: impl AsRef<[u8]>, words: &[&str]) {
    let world = world(table);
    world.refuses(3, "inspect table.csv -o draft.toml", words);
    world.refuses(3, FIT, words);
}

/// Only `fit`, which knows the schema, can see what is wrong.
fn refused_by_fit(table: impl AsRef<[u8]>, words: &[&str]) {
    world(table).refuses(3, FIT, words);
}

#[test]
fn empty_file() {
    refused("", &["table.csv", "empty"]);
}

#[test]
fn header_only() {
    refused(HEADER, &["table.csv", "no rows"]);
}

#[test]
fn ragged_row() {
    refused(format!("{HEADER}{}p,F,3\n", rows(200)), &["row 201", "3 fields", "4"]);
    refused(format!("{HEADER}p,F,3,{SECRET},{SECRET}\n"), &["row 1", "5 fields", "4"]);
}

#[test]
fn invalid_utf8() {
    let mut table = format!("{HEADER}{}", rows(3)).into_bytes();
    table.extend([b"p3,F,4,".as_slice(), SECRET.as_bytes(), b"\xff\n"].concat());
    // Another encoding may have it: a draft says so, marked, and a schema that does not is kept to.
    world(&table).run("inspect table.csv").succeeds().says(&[]);
    refused_by_fit(table, &["row 4", "`note`", "UTF-8"]);
}

#[test]
fn duplicate_column_names() {
    refused(format!("patient,sex,sex,note\n{}", rows(3)), &["columns number 2 and 3", "same name"]);
}

#[test]
fn a_column_of_the_schema_is_missing_in_the_table() {
    refused_by_fit("patient,sex\na,F\nb,M\n", &["`age`", "lacks"]);
}

#[test]
fn a_column_of_the_table_is_missing_in_the_schema() {
    refused_by_fit(format!("patient,sex,age,zip\na,F,3,{SECRET}\n"), &["`zip`", "does not know"]);
}

#[test]
fn wrong_type() {
    refused_by_fit(format!("{HEADER}{}p,F,{SECRET},x\n", rows(300)), &["row 301", "`age`", "whole number"]);
}

#[test]
fn a_row_without_its_patient() {
    refused_by_fit(
        format!("{HEADER}{}?,F,3,{SECRET}\n", rows(10)),
        &["row 11", "`patient`", "privacy unit is missing"],
    );
}

#[test]
fn values_outside_the_domain_go_where_the_schema_says_and_are_counted() {
    let strange: String = (0..20).map(|p| format!("s{p},{SECRET},900,x\n")).collect();
    let world = world(format!("{HEADER}{}{strange}", rows(300)));
    let outcome = world.run(FIT).succeeds().says(&["`sex`", "10 to 99", "`age`", "outside the domain"]);
    assert!(!outcome.stderr.contains(SECRET), "{outcome}");
    world.run("generate model.safetensors --rows 500 -o cohort.csv").succeeds();
    let cohort = world.text("cohort.csv");
    for line in cohort.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        assert!(["F", "M", "other", ""].contains(&cells[1]), "{line}");
        assert!(cells[2].is_empty() || cells[2].parse::<u32>().unwrap() <= 120, "{line}");
    }
}

/// The patient counts once, whatever the number of their rows: 100,000 rows of one man among 300 women.
#[test]
fn one_patient_with_a_hundred_thousand_rows() {
    let women: String = (0..300).map(|p| format!("p{p},F,50,x\n")).collect();
    let world = world(format!("{HEADER}{women}{}", "one,M,50,x\n".repeat(100_000)));
    world.run(&FIT.replace("--epsilon 1 ", "--epsilon 50 ")).succeeds();
    world.run("generate model.safetensors --rows 1000 -o cohort.csv").succeeds();
    let men = world.text("cohort.csv").lines().filter(|line| line.contains(",M,")).count();
    assert!(men < 100, "{men} of 1000 rows are men's, 1 of 301 patients is a man");
}

#[test]
fn truncated_parquet() {
    let world = World::new();
    let whole = Hospital::new(300, FIRST_PATIENT).parquet();
    for part in [whole.len() / 3, whole.len() - 9] {
        world.write("visits.parquet", &whole[..part]).write("schema.toml", crate::hospital::SCHEMA);
        world.refuses(3, "inspect visits.parquet -o draft.toml", &["visits.parquet", "damaged or ends too early"]);
        world.refuses(3, &FIT.replace("table.csv", "visits.parquet"), &["visits.parquet", "damaged or ends too early"]);
    }
}

#[test]
fn a_directory_given_as_a_file() {
    let world = world(rows(3));
    std::fs::create_dir(world.path("folder")).unwrap();
    for command in [&FIT.replace("table.csv", "folder"), &FIT.replace("schema.toml", "folder")] {
        world.refuses(3, command, &["folder", "directory"]);
    }
    world.refuses(3, "inspect folder -o draft.toml", &["folder", "no tables"]);
    world.refuses(3, "generate folder --rows 10 -o cohort.csv", &["folder"]);
    world.refuses(3, "ledger verify folder", &["folder"]);
    world.refuses(3, "run folder -o out", &["folder"]);
}

#[test]
fn files_that_are_not_there() {
    let world = world(rows(3));
    for command in [
        "inspect absent -o draft.toml",
        &FIT.replace("table.csv", "absent"),
        &FIT.replace("schema.toml", "absent"),
        "generate absent --rows 10 -o cohort.csv",
        "ledger show absent",
        "run absent -o out",
        "evaluate --real absent --holdout absent --synthetic absent --schema schema.toml",
    ] {
        world.refuses(3, command, &["absent"]);
    }
}

/// Exit code 1, and before anything is spent.
#[test]
fn unwritable_output() {
    let world = world(format!("{HEADER}{}", rows(300)));
    std::fs::create_dir(world.path("folder")).unwrap();
    for output in ["no-such-folder/model.safetensors", "folder"] {
        world.refuses(1, &format!("{FIT} --ledger ledger.jsonl").replace("model.safetensors", output), &[output]);
        assert!(!world.path("ledger.jsonl").exists(), "the ledger was written although the model cannot be");
    }
    world.refuses(1, "inspect table.csv -o no-such-folder/schema.toml", &["no-such-folder"]);
    world.run(FIT).succeeds();
    for ledger in ["ledger.jsonl", "ledger.jsonl.head"] {
        std::fs::remove_file(world.path(ledger)).unwrap();
    }
    world.refuses(1, "generate model.safetensors --rows 10 -o no-such-folder/cohort.csv", &["no-such-folder"]);
    world.refuses(
        2,
        "generate model.safetensors --rows 10 -o cohort.xlsx",
        &["cohort.xlsx", ".parquet, .csv, .csv.gz or .arrow"],
    );
}

#[test]
fn a_model_that_is_none() {
    let world = world(rows(3));
    for content in [&b""[..], b"\0\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", b"not a model"] {
        world.write("model.safetensors", content);
        world.refuses(3, "generate model.safetensors --rows 10 -o cohort.csv", &["model.safetensors", "damaged"]);
    }
}

#[test]
fn usage() {
    let world = World::new();
    for command in
        ["", "fit", "fit table.csv --epsilon one", "inspect", "generate m --rows -1 -o c.csv", "no-such-command"]
    {
        world.run(command).exits(2);
    }
    world.run("inspect table.csv --threads 0").exits(2).says(&["--threads"]);
}
