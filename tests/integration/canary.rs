//! Texts planted where nothing may be learnt from: no file and no message repeats them.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::{Outcome, World};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const FREE_TEXT: &str = "zq-canary-note";
const IDENTIFIER: &str = "zq-canary-visit";
const OUTSIDE: &str = "zq-canary-ward";
const WRONG_TYPE: &str = "zq-canary-age";
const PATIENT: u64 = 987_654_321_012_345;
const OTHER_PATIENT: u64 = 987_654_321_054_321;

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

/// One visit with every canary but the wrong type, four times over, among many others.
fn planted(first: u64, patient: u64) -> Hospital {
    let mut hospital = Hospital::new(400, first);
    for row in 7..11 {
        *hospital.cell(row, "note") = Some(format!("{FREE_TEXT} was here"));
        *hospital.cell(row, "visit") = Some(format!("{IDENTIFIER}-{row}"));
        *hospital.cell(row, "ward") = Some(OUTSIDE.into());
        *hospital.cell(row, "patient") = Some(patient.to_string());
    }
    hospital
}

fn assert_no_canary(what: &str, bytes: &[u8]) {
    let [patient, other] = [PATIENT, OTHER_PATIENT].map(|patient| patient.to_string());
    for canary in [FREE_TEXT, IDENTIFIER, OUTSIDE, WRONG_TYPE, &patient, &other] {
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{what} repeats {canary}");
    }
}

fn assert_quiet(outcome: &Outcome) {
    assert_no_canary("standard output", outcome.stdout.as_bytes());
    assert_no_canary("standard error", outcome.stderr.as_bytes());
}

#[test]
fn no_output_of_a_run_repeats_a_canary() {
    let world = World::new();
    world
        .write("visits.csv", planted(FIRST_PATIENT, PATIENT).csv())
        .write("holdout.csv", planted(5_000_001, OTHER_PATIENT).csv());
    world.write("schema.toml", SCHEMA).write("run.toml", RUN);
    assert_quiet(&world.run("run run.toml -o out -v -v").runs());
    assert_quiet(&world.run("ledger show out/ledger.jsonl").succeeds());
    world.run("generate out/model.safetensors --rows 600 --seed 1 -o out/cohort.csv").succeeds();
    world.run("generate out/model.safetensors --rows 600 --seed 1 -o out/cohort.arrow").succeeds();
    let files: Vec<_> = world.files().into_iter().filter(|(path, _)| path.starts_with(world.path("out"))).collect();
    assert!(files.len() >= 7);
    for (path, bytes) in files {
        assert_no_canary(&path.display().to_string(), &bytes);
    }
    // Parquet is compressed: look at the rows too.
    let cohort = std::fs::File::open(world.path("out/cohort.parquet")).unwrap();
    let mut rows = Vec::new();
    let mut writer = arrow_csv::Writer::new(&mut rows);
    for batch in ParquetRecordBatchReaderBuilder::try_new(cohort).unwrap().build().unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    drop(writer);
    assert!(rows.len() > 600);
    assert_no_canary("the cohort", &rows);
}

/// The draft lists categories, which were read from the rows and says so; what it takes for an identifier it does not list.
#[test]
fn a_draft_does_not_list_identifiers_or_free_text() {
    let mut hospital = planted(FIRST_PATIENT, PATIENT);
    for row in 7..11 {
        *hospital.cell(row, "ward") = Some("central".into());
    }
    let world = World::new();
    world.write("visits.csv", hospital.csv());
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
    let fit = "fit visits.csv --schema schema.toml --epsilon 1 --delta 1e-5 -o model.safetensors -v -v";
    assert_quiet(&world.run(fit).exits(3).says(&["row 124", "`age`"]));
    assert_quiet(&world.run("run run.toml -o out -v -v").exits(3));
    assert!(!world.path("model.safetensors").exists());
    assert_no_canary("the ledger", &world.read("ledger.jsonl"));
}
