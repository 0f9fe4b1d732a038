//! A table may lie in part files: a directory, a pattern, numbered NDJSON. What is made of it is made of its rows.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::{SECRET, World};
use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;

const FIT: &str = "--schema schema.toml --epsilon 2 --delta 1e-5 --ledger";

/// A table as one file, and in eleven part files whose names sort otherwise than their numbers.
fn world() -> (World, RecordBatch) {
    let world = World::new().of_few_steps();
    let hospital = Hospital::new(300, FIRST_PATIENT);
    let csv = hospital.csv();
    world.write("schema.toml", SCHEMA).write("visits.csv", &csv);
    std::fs::create_dir(world.path("visits")).unwrap();
    let (header, rows) = csv.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    for (part, rows) in rows.chunks(rows.len().div_ceil(11)).enumerate() {
        world.write(&format!("visits/part-{part}.csv"), format!("{header}\n{}\n", rows.join("\n")));
    }
    world.write("visits/_SUCCESS", "").write("visits/.part-0.csv.crc", "crc");
    (world, hospital.batch())
}

/// Bytes of a model fitted with noise that can be repeated.
fn fitted(world: &World, table: &str) -> Vec<u8> {
    let name = format!("{}.safetensors", table.replace(['/', '*'], "-"));
    world.run_with("SYNTHWARD_TEST_NOISE", "3", &format!("fit {table} {FIT} {name}.jsonl -o {name}")).succeeds();
    world.read(&name)
}

#[test]
fn a_table_in_parts_is_the_table() {
    let (world, batch) = world();
    let whole = fitted(&world, "visits.csv");
    assert!(fitted(&world, "visits") == whole, "a directory");
    assert!(fitted(&world, "visits/part-*.csv") == whole, "a pattern");
    std::fs::create_dir(world.path("typed")).unwrap();
    for (name, rows) in [("part-00000.parquet", 0..100), ("part-00001.parquet", 100..batch.num_rows())] {
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch.slice(rows.start, rows.len())).unwrap();
        world.write(&format!("typed/{name}"), writer.into_inner().unwrap());
    }
    world.write("whole.parquet", Hospital::new(300, FIRST_PATIENT).parquet());
    assert!(fitted(&world, "typed") == fitted(&world, "whole.parquet"), "Parquet");

    let judged = |command: &str, real: &str| {
        let tables = format!("{real} --holdout {real} --synthetic {real} --schema schema.toml --json");
        world.run(&format!("{command} {tables}")).succeeds().json()
    };
    assert_eq!(judged("evaluate --real", "visits"), judged("evaluate --real", "visits.csv"));
    let filled = |table: &str| {
        world.run(&format!("infer visits.csv.safetensors {table} --fill -o filled.csv --force")).succeeds();
        world.text("filled.csv")
    };
    assert_eq!(filled("visits"), filled("visits.csv"));
}

/// Without a schema, files that are all named as parts are one table.
#[test]
fn a_directory_of_parts_is_drafted_as_one_table() {
    let (world, _) = world();
    let draft = |table: &str| {
        let text = world.run(&format!("inspect {table} --unit patient --quiet")).succeeds().stdout;
        text.lines().filter(|line| !line.starts_with("source")).map(|line| format!("{line}\n")).collect::<String>()
    };
    let whole = draft("visits.csv");
    assert!(whole.contains("name              = \"visits\""), "{whole}");
    assert_eq!(draft("visits"), whole);
    assert_eq!(draft("visits/part-*.csv"), whole);
    world.run("split visits --schema schema.toml --holdout 0.3 -o sides").succeeds();
    assert!(world.path("sides/train.parquet").is_file());
}

#[test]
fn a_run_takes_parts() {
    let (world, _) = world();
    std::fs::create_dir(world.path("others")).unwrap();
    world.write("others/part-1.csv", Hospital::new(200, 5_000_001).csv());
    world.write(
        "run.toml",
        "[input]\ntable = \"visits\"\nschema = \"schema.toml\"\nholdout = \"others/*.csv\"\n\
         [fit]\nmodel = \"independent\"\nepsilon = 3\ndelta = 1e-5\n[cohort]\nrows = 300\n",
    );
    let plan = world.run("plan run.toml --json").succeeds().json();
    let rows = Hospital::new(300, FIRST_PATIENT).rows.len() as f64;
    let told = plan["estimate"]["rows"].as_f64().unwrap();
    assert!((0.5..2.0).contains(&(told / rows)), "{told} of {rows}, told from the sizes of the files");
    world.run("run run.toml -o out").runs();
    assert!(world.path("out/report.html").is_file());
}

/// Each is told where it is, and nothing is spent.
#[test]
fn parts_that_do_not_fit_are_refused() {
    let (world, batch) = world();
    let refuses = |table: &str, words: &[&str]| {
        world.refuses(3, &format!("fit {table} {FIT} ledger.jsonl -o model.safetensors"), words);
    };
    refuses("nowhere/part-*.csv", &["nowhere", "no such file"]);
    refuses("visits/p-*.csv", &["no file has such a name", "remedy"]);
    std::fs::create_dir(world.path("empty")).unwrap();
    refuses("empty", &["the directory has no part file"]);

    // A cell that is none, in the second row of the third file.
    let third = world.text("visits/part-2.csv");
    let mut lines: Vec<String> = third.lines().map(str::to_owned).collect();
    let age = lines[0].split(',').position(|name| name == "age").unwrap();
    let mut cells: Vec<&str> = lines[2].split(',').collect();
    cells[age] = SECRET;
    lines[2] = cells.join(",");
    world.write("visits/part-2.csv", lines.join("\n"));
    refuses("visits", &["part-2.csv", "row 2", "`age`"]);

    let other = |header: &dyn Fn(&str) -> String| {
        let (names, rows) = third.split_once('\n').unwrap();
        world.write("visits/part-2.csv", format!("{}\n{rows}", header(names)));
    };
    other(&|names| names.replace("age", "years"));
    refuses("visits", &["part-2.csv", "`years`", "part-1.csv", "`age`", "the same columns"]);
    other(&|names| format!("{names},more"));
    refuses("visits", &["part-2.csv", "columns"]);
    world.write("visits/part-2.csv", Hospital::new(9, 1).parquet());
    refuses("visits", &["part-2.csv", "another kind"]);
    world.write("visits/part-2.csv", third);
    std::fs::create_dir(world.path("visits/year=2020")).unwrap();
    refuses("visits", &["year=2020", "a directory among part files"]);

    std::fs::create_dir(world.path("typed")).unwrap();
    let mut without = batch.clone();
    without.remove_column(0);
    for (name, rows) in [("part-0.parquet", batch), ("part-1.parquet", without)] {
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        world.write(&format!("typed/{name}"), writer.into_inner().unwrap());
    }
    refuses("typed", &["part-1.parquet", "part-0.parquet"]);
}

/// Of a folder of tables one is a directory, and another numbered as FHIR's bulk export numbers them.
#[test]
fn tables_of_a_folder_may_lie_in_parts() {
    let world = World::new().of_few_steps();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fhir");
    for folder in ["whole", "parts", "parts/Observation"] {
        std::fs::create_dir(world.path(folder)).unwrap();
    }
    for table in ["Condition", "Encounter", "MedicationRequest", "Observation", "Patient", "Procedure"] {
        let text = std::fs::read_to_string(fixtures.join(format!("{table}.ndjson"))).unwrap();
        world.write(&format!("whole/{table}.ndjson"), &text);
        let lines: Vec<&str> = text.lines().collect();
        let half = lines.len().div_ceil(2);
        let names = match table {
            "Observation" => ["parts/Observation/part-0.ndjson", "parts/Observation/part-1.ndjson"].map(String::from),
            _ => ["000", "001"].map(|number| format!("parts/{table}.{number}.ndjson")),
        };
        for (name, lines) in names.iter().zip(lines.chunks(half)) {
            world.write(name, lines.join("\n") + "\n");
        }
    }
    let draft = |folder: &str| {
        let text = world.run(&format!("inspect {folder} --assume-public --quiet")).succeeds().stdout;
        let same = |line: &&str| !line.starts_with("source") && !line.starts_with("name ");
        (text.lines().filter(same).map(|line| format!("{line}\n")).collect::<String>(), text)
    };
    let ((whole, schema), (parts, _)) = (draft("whole"), draft("parts"));
    assert_eq!(whole, parts);
    assert!(schema.contains("Observation"));

    std::fs::create_dir_all(world.path("stays/visits")).unwrap();
    std::fs::create_dir(world.path("stay")).unwrap();
    let persons: String = (0..200).map(|n| format!("{n},{}\n", n % 90)).collect();
    let visits: Vec<String> = (0..500).map(|n| format!("{},{}\n", n * 7 % 200, ["a", "b", "c"][n % 3])).collect();
    for folder in ["stay", "stays"] {
        world.write(&format!("{folder}/persons.csv"), format!("id,age\n{persons}"));
    }
    world.write("stay/visits.csv", format!("person,ward\n{}", visits.concat()));
    for (part, visits) in visits.chunks(200).enumerate() {
        world.write(&format!("stays/visits/part-{part}.csv"), format!("person,ward\n{}", visits.concat()));
    }
    world.run("inspect stay --assume-public -o schema.toml").succeeds();
    assert!(fitted(&world, "stay") == fitted(&world, "stays"));
}
