//! Texts and numbers planted where nothing may be learnt from: no file and no message repeats them.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::{Outcome, World};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::path::Path;

const FREE_TEXT: &str = "zq-canary-note";
const IDENTIFIER: &str = "zq-canary-visit";
const OUTSIDE: &str = "zq-canary-ward";
const WRONG_TYPE: &str = "zq-canary-age";
const PATIENT: u64 = 987_654_321_012_345;
const OTHER_PATIENT: u64 = 987_654_321_054_321;
/// Far outside the range of ages and of weights.
const NUMBER: u64 = 774_177_417_741;

const RUN: &str = r#"
[input]
table = "visits.csv"
schema = "schema.toml"
holdout = "holdout.csv"

[fit]
model = "independent"
epsilon = 5.0
delta = 1e-5

[cohort]
rows = 600
"#;

/// How much is said: by a flag each.
const VERBOSITIES: [&str; 5] = ["", "-v", "-v -v", "--quiet", "--json"];

/// One visit with every canary but the wrong type, four times over, among many others.
fn planted(first: u64, patient: u64) -> Hospital {
    let mut hospital = Hospital::new(400, first);
    for row in 7..11 {
        *hospital.cell(row, "note") = Some(format!("{FREE_TEXT} was here"));
        *hospital.cell(row, "visit") = Some(format!("{IDENTIFIER}-{row}"));
        *hospital.cell(row, "ward") = Some(OUTSIDE.into());
        *hospital.cell(row, "diagnosis") = Some(OUTSIDE.into());
        *hospital.cell(row, "age") = Some(NUMBER.to_string());
        *hospital.cell(row, "weight") = Some(format!("{NUMBER}.5"));
        *hospital.cell(row, "patient") = Some(patient.to_string());
    }
    hospital
}

/// The same with nothing that a draft lists as a category or a range.
fn planted_for_a_draft() -> Hospital {
    let mut hospital = planted(FIRST_PATIENT, PATIENT);
    for row in 7..11 {
        for (column, value) in [("ward", "central"), ("diagnosis", "486"), ("age", "40"), ("weight", "70.0")] {
            *hospital.cell(row, column) = Some(value.into());
        }
    }
    hospital
}

/// A folder with the planted tables, their schema, a run file, and an empty folder for temporary files.
fn world() -> World {
    let world = World::new().of_few_steps();
    world
        .write("visits.csv", planted(FIRST_PATIENT, PATIENT).csv())
        .write("holdout.csv", planted(5_000_001, OTHER_PATIENT).csv())
        .write("schema.toml", SCHEMA)
        .write("run.toml", RUN);
    std::fs::create_dir(world.path("temporary")).unwrap();
    world
}

fn run(world: &World, arguments: &str) -> Outcome {
    let temporary = world.path("temporary");
    let outcome = world.run_with("TMPDIR", temporary.to_str().unwrap(), arguments);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "a temporary file stays: {outcome}");
    assert_quiet(&outcome);
    outcome
}

fn assert_no_canary(what: &str, bytes: &[u8]) {
    let numbers = [PATIENT, OTHER_PATIENT, NUMBER];
    let texts = [FREE_TEXT, IDENTIFIER, OUTSIDE, WRONG_TYPE].map(|text| text.as_bytes().to_vec());
    let written = numbers.map(|number| number.to_string().into_bytes());
    let integers = numbers.map(|number| number.to_le_bytes().to_vec());
    let reals = [NUMBER as f64, NUMBER as f64 + 0.5].map(|number| number.to_le_bytes().to_vec());
    for canary in texts.into_iter().chain(written).chain(integers).chain(reals) {
        let found = bytes.windows(canary.len()).any(|window| window == canary);
        assert!(!found, "{what} repeats {}", String::from_utf8_lossy(&canary));
    }
}

fn assert_quiet(outcome: &Outcome) {
    assert_no_canary("standard output", outcome.stdout.as_bytes());
    assert_no_canary("standard error", outcome.stderr.as_bytes());
}

/// Parquet is compressed: its metadata, statistics, dictionaries and rows, unpacked.
fn assert_no_canary_in_parquet(path: &Path) {
    let open = || std::fs::File::open(path).unwrap();
    let file = SerializedFileReader::new(open()).unwrap();
    assert_no_canary("the metadata", format!("{:?}", file.metadata().file_metadata()).as_bytes());
    let mut dictionaries = 0;
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).unwrap();
        for column in 0..group.num_columns() {
            if let Some(statistics) = group.metadata().column(column).statistics() {
                for bound in [statistics.min_bytes_opt(), statistics.max_bytes_opt()].into_iter().flatten() {
                    assert_no_canary("a statistic", bound);
                }
            }
            for page in group.get_column_page_reader(column).unwrap() {
                let page = page.unwrap();
                dictionaries += usize::from(page.page_type() == parquet::basic::PageType::DICTIONARY_PAGE);
                assert_no_canary("a page", page.buffer());
            }
        }
    }
    assert!(dictionaries > 0, "no dictionary was looked at");
    let mut rows = Vec::new();
    let mut writer = arrow_csv::Writer::new(&mut rows);
    for batch in ParquetRecordBatchReaderBuilder::try_new(open()).unwrap().build().unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    drop(writer);
    assert!(rows.len() > 600);
    assert_no_canary("the cohort", &rows);
}

/// A canary that nobody could see would be no canary.
#[test]
fn canaries_are_seen() {
    let seen = |bytes: &[u8]| std::panic::catch_unwind(|| assert_no_canary("it", bytes)).is_err();
    let world = world();
    assert!(seen(&world.read("visits.csv")) && seen(&world.read("holdout.csv")));
    assert!(seen(&(NUMBER as f64).to_le_bytes()) && seen(&PATIENT.to_le_bytes()));
    assert!(!seen(SCHEMA.as_bytes()));
}

#[test]
fn no_output_of_a_run_repeats_a_canary() {
    let world = world();
    run(&world, "run run.toml -o out -v -v").runs();
    run(&world, "ledger show ledger.jsonl").succeeds();
    assert_no_canary("the ledger", &world.read("ledger.jsonl"));
    run(&world, "generate out/model.safetensors --rows 600 --seed 1 -o out/cohort.csv").succeeds();
    run(&world, "generate out/model.safetensors --rows 600 --seed 1 -o out/cohort.arrow").succeeds();
    let files: Vec<_> = world.files().into_iter().filter(|(path, _)| path.starts_with(world.path("out"))).collect();
    assert!(files.len() >= 7);
    for (path, bytes) in files {
        assert_no_canary(&path.display().to_string(), &bytes);
    }
    assert_no_canary_in_parquet(&world.path("out/cohort.parquet"));
}

/// What `infer` writes holds the table's own cells and keys, as it should, and is made for the controller: only what it
/// prints is looked at.
#[test]
fn no_command_says_a_canary_however_much_it_says() {
    let world = world();
    world.write("draft.csv", planted_for_a_draft().csv());
    let tables = "--holdout holdout.csv --synthetic out/m.csv --schema schema.toml";
    std::fs::create_dir(world.path("out")).unwrap();
    for (at, model) in ["independent", "marginal"].into_iter().enumerate() {
        let fit = format!("fit visits.csv --schema schema.toml --epsilon 5 --delta 1e-5 --model {model}");
        run(&world, &format!("{fit} --ledger out/l.jsonl -o out/{model}.safetensors {}", VERBOSITIES[2 * at]))
            .succeeds();
    }
    for verbosity in VERBOSITIES {
        run(&world, &format!("generate out/marginal.safetensors --rows 600 -o out/m.csv {verbosity}")).succeeds();
        run(&world, &format!("inspect draft.csv --unit patient -o out/draft.toml {verbosity}")).succeeds();
        run(&world, &format!("plan run.toml {verbosity}")).succeeds();
        run(&world, &format!("infer out/marginal.safetensors visits.csv --score -o scores.csv {verbosity}")).succeeds();
        run(&world, &format!("infer out/marginal.safetensors visits.csv --fill -o filled.csv {verbosity}")).succeeds();
    }
    for verbosity in &VERBOSITIES[2..] {
        run(&world, &format!("evaluate --real visits.csv {tables} -o out/e.json {verbosity}")).succeeds();
        run(&world, &format!("audit --members visits.csv {tables} -o out/a.json {verbosity}")).runs();
    }
    let files: Vec<_> = world.files().into_iter().filter(|(path, _)| path.starts_with(world.path("out"))).collect();
    assert_eq!(files.len(), 8, "{:?}", files.iter().map(|file| &file.0).collect::<Vec<_>>());
    for (path, bytes) in files {
        assert_no_canary(&path.display().to_string(), &bytes);
    }
}

/// A network, on a table of few columns so that it is fitted soon.
#[test]
fn a_network_keeps_no_canary() {
    let names = ["visit", "patient", "sex", "age", "note"];
    let table = planted(FIRST_PATIENT, PATIENT).csv();
    let places: Vec<usize> =
        names.iter().map(|name| table.lines().next().unwrap().split(',').position(|n| n == *name).unwrap()).collect();
    let narrow = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        places.iter().map(|&place| cells[place]).collect::<Vec<_>>().join(",") + "\n"
    };
    let mut columns = SCHEMA.split("\n[[column]]").map(str::to_owned);
    let mut schema = columns.next().unwrap();
    for column in columns.filter(|column| names.iter().any(|name| column.contains(&format!("\nname = \"{name}\"")))) {
        schema += &format!("\n[[column]]{}", column.split("[[target]]").next().unwrap());
    }
    let world = world();
    world.write("visits.csv", table.lines().map(narrow).collect::<String>()).write("schema.toml", schema);
    std::fs::create_dir(world.path("out")).unwrap();
    let fit = "fit visits.csv --schema schema.toml --epsilon 5 --delta 1e-5 --model vae -v -v";
    run(&world, &format!("{fit} -o out/vae.safetensors")).succeeds();
    run(&world, "generate out/vae.safetensors --rows 600 -o out/cohort.parquet").succeeds();
    run(&world, "infer out/vae.safetensors visits.csv --score -o scores.csv -v -v").succeeds();
    for (path, bytes) in world.files().into_iter().filter(|(path, _)| path.starts_with(world.path("out"))) {
        assert_no_canary(&path.display().to_string(), &bytes);
    }
    assert_no_canary_in_parquet(&world.path("out/cohort.parquet"));
}

/// What is read from a pipe is kept in memory and nowhere else.
#[test]
fn standard_input_leaves_no_copy() {
    let world = world();
    let fit = "fit - --schema schema.toml --epsilon 5 --delta 1e-5 --model independent -o out.safetensors -v -v";
    assert_quiet(&world.pipe("visits.csv", fit).succeeds());
    for (path, bytes) in world.files() {
        if !["visits.csv", "holdout.csv"].iter().any(|table| path.ends_with(table)) {
            assert_no_canary(&path.display().to_string(), &bytes);
        }
    }
}

/// The draft lists categories, which were read from the rows and says so; what it takes for an identifier it does not list.
#[test]
fn a_draft_does_not_list_identifiers_or_free_text() {
    let world = World::new();
    world.write("visits.csv", planted_for_a_draft().csv());
    let outcome = world.run("inspect visits.csv --unit patient -o schema.toml -v -v").succeeds();
    assert_quiet(&outcome);
    assert_no_canary("the draft", &world.read("schema.toml"));
    assert_quiet(&world.run("inspect visits.csv --unit patient --json --quiet").succeeds());
}

#[test]
fn an_error_does_not_repeat_the_cell_it_is_about() {
    let mut hospital = planted(FIRST_PATIENT, PATIENT);
    *hospital.cell(123, "age") = Some(WRONG_TYPE.into());
    let world = World::new();
    world.write("visits.csv", hospital.csv()).write("schema.toml", SCHEMA).write("run.toml", RUN);
    world.write("holdout.csv", planted(5_000_001, OTHER_PATIENT).csv());
    let fit = "fit visits.csv --schema schema.toml --epsilon 5 --delta 1e-5 -o model.safetensors -v -v";
    assert_quiet(&world.run(fit).exits(3).says(&["row 124", "`age`"]));
    assert_quiet(&world.run("run run.toml -o out -v -v").exits(3));
    assert!(!world.path("model.safetensors").exists());
    assert_no_canary("the ledger", &world.read("ledger.jsonl"));
}

/// One defect each, by every command that reads the table: nothing but the two tables holds a canary afterwards.
#[test]
fn no_failure_repeats_a_canary() {
    let world = world();
    let fit = "--epsilon 5 --delta 1e-5 --model independent";
    run(&world, &format!("fit visits.csv --schema schema.toml {fit} -o good.safetensors")).succeeds();
    run(&world, "generate good.safetensors --rows 300 -o cohort.csv").succeeds();
    let table = world.text("visits.csv");
    let (header, rows) = table.split_once('\n').unwrap();
    let last = rows.lines().nth(8).unwrap();
    assert!(last.contains(FREE_TEXT) && last.contains(OUTSIDE) && last.contains(&NUMBER.to_string()));
    let other_cell = |column: &str, cell: &str| {
        let mut hospital = planted(FIRST_PATIENT, PATIENT);
        *hospital.cell(123, column) = Some(cell.into());
        hospital.csv().into_bytes()
    };
    let with = |line: &str| format!("{table}{line}\n").into_bytes();
    let invalid = [with(last), last.as_bytes().to_vec(), b"\xff\n".to_vec()].concat();
    for (what, defect) in [
        ("a word among numbers", other_cell("age", WRONG_TYPE)),
        ("a word among reals", other_cell("weight", WRONG_TYPE)),
        ("no date", other_cell("admitted", WRONG_TYPE)),
        ("neither true nor false", other_cell("smoker", WRONG_TYPE)),
        ("no patient", other_cell("patient", "?")),
        ("a short row", with(last.rsplit_once(',').unwrap().0)),
        ("a long row", with(&format!("{last},{last}"))),
        ("an open quote", with(&format!("\"{last}"))),
        ("not UTF-8", invalid),
        ("a column twice", table.replacen("visit,", "note,", 1).into_bytes()),
        ("a column that is not in the schema", table.replacen("ward", "wart", 1).into_bytes()),
        ("no header", rows.as_bytes().to_vec()),
        ("a header without rows", format!("{header}\n").into_bytes()),
    ] {
        world.write("visits.csv", &defect);
        for (verbosity, command) in VERBOSITIES.into_iter().cycle().zip([
            "inspect visits.csv --unit patient -o made.toml".to_owned(),
            format!("fit visits.csv --schema schema.toml {fit} -o made.safetensors"),
            "infer good.safetensors visits.csv --score -o made.csv".to_owned(),
            "infer good.safetensors visits.csv --fill -o made.csv".to_owned(),
            "evaluate --real visits.csv --holdout holdout.csv --synthetic cohort.csv --schema schema.toml".to_owned(),
            "audit --members visits.csv --holdout holdout.csv --synthetic cohort.csv --schema schema.toml".to_owned(),
        ]) {
            let outcome = run(&world, &format!("{command} {verbosity}"));
            // A draft is made of any table that can be read, and a score asks for no patient.
            let may_pass = command.starts_with("inspect") || command.starts_with("infer");
            assert!(outcome.code == Some(3) || may_pass && outcome.code == Some(0), "{what}: {outcome}");
            for made in ["made.csv", "made.toml"] {
                let _ = std::fs::remove_file(world.path(made));
            }
        }
        for (path, bytes) in world.files() {
            if !["visits.csv", "holdout.csv"].iter().any(|table| path.ends_with(table)) {
                assert_no_canary(&format!("{what}: {}", path.display()), &bytes);
            }
        }
    }
}
