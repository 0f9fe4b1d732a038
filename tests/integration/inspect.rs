//! `inspect`: the draft, and what `fit` makes of it.

use crate::hospital::{FIRST_PATIENT, Hospital};
use crate::world::World;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{ArrayRef, RecordBatch, TimestampNanosecondArray};
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::io::Write;
use std::sync::Arc;

fn hospital() -> Hospital {
    Hospital::new(300, FIRST_PATIENT)
}

#[test]
fn a_draft_from_the_rows_is_refused_with_the_remedy() {
    let world = World::new();
    world.write("visits.csv", hospital().csv());
    world.run("inspect visits.csv --unit patient -o schema.toml").succeeds();
    assert!(world.text("schema.toml").contains("domain_from = \"data\""));
    let fit = "fit visits.csv --schema schema.toml --epsilon 1 --delta 1e-5 --model independent -o model.safetensors";
    world.refuses(
        3,
        fit,
        &["was read from the rows", "domain_from = \"public\"", "--assume-public", "--discover-epsilon"],
    );
}

#[test]
fn assuming_public_is_accepted_and_recorded_in_every_output() {
    let world = World::new();
    world.write("visits.csv", hospital().csv());
    world.run("inspect visits.csv --unit patient --assume-public -o schema.toml").succeeds();
    assert!(world.text("schema.toml").contains("assumed_public    = true"));
    let fit = "fit visits.csv --schema schema.toml --epsilon 1 --delta 1e-5 --model independent -o model.safetensors";
    world.run(fit).succeeds().says(&["assumed public"]);
    let fitted = world.run(&fit.replace("model.safetensors", "other.safetensors --json")).succeeds().json();
    assert_eq!(fitted["schema"]["table"]["assumed_public"], true);
}

#[test]
fn a_schema_without_a_privacy_unit_is_refused_with_the_remedy() {
    let world = World::new();
    world.write("visits.csv", hospital().csv());
    world.run("inspect visits.csv --assume-public -o schema.toml").succeeds();
    let fit = "fit visits.csv --schema schema.toml --epsilon 1 --delta 1e-5 -o model.safetensors";
    world.refuses(3, fit, &["does not say whose privacy is protected", "set privacy_unit to the column"]);
}

/// The same table in every format gives the same kinds, and the typed formats their own types.
#[test]
fn every_format_is_read_alike() {
    let world = World::new();
    let hospital = hospital();
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(hospital.csv().as_bytes()).unwrap();
    let batch = hospital.batch();
    let mut arrow = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow.write(&batch).unwrap();
    world.write("visits.csv", hospital.csv()).write("visits.csv.gz", gzip.finish().unwrap());
    world.write("visits.parquet", hospital.parquet()).write("visits.arrow", arrow.into_inner().unwrap());
    // But for the source, which is drawn anew for each.
    let draft = |table: &str| {
        let draft = world.run(&format!("inspect {table} --unit patient --quiet")).succeeds().stdout;
        draft.lines().filter(|line| !line.starts_with("source")).collect::<Vec<_>>().join("\n")
    };
    let kinds = |draft: &str| {
        let columns = draft.lines().take_while(|line| !line.starts_with("[[constraint]]"));
        columns.filter(|line| line.starts_with("kind ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (csv, parquet) = (draft("visits.csv"), draft("visits.parquet"));
    assert_eq!(csv, draft("visits.csv.gz"));
    let piped = world.pipe("visits.csv.gz", "inspect - --unit patient --quiet").succeeds().stdout;
    assert_eq!(kinds(&piped), kinds(&csv), "standard input");
    assert_eq!(parquet, draft("visits.arrow"));
    assert_eq!(csv.matches("\n[[column]]\n").count(), 12);
    assert_eq!(kinds(&csv), kinds(&parquet), "{csv}\n{parquet}");
    for types in ["dictionary(int32, utf8)", "decimal128(5, 1)", "int16", "date32", "large_utf8", "boolean"] {
        assert!(parquet.contains(&format!("\"{types}\"")), "{types}: {parquet}");
    }
}

#[test]
fn one_json_object_stands_alone_on_standard_output() {
    let world = World::new();
    world.write("visits.csv", hospital().csv());
    let outcome = world.run("inspect visits.csv --unit patient --json --quiet").succeeds();
    assert!(outcome.json().is_object());
    assert_eq!(outcome.stderr, "", "--quiet");
}

/// Times of a machine that are nanoseconds apart: an `f64` of nanoseconds since 1970 holds one in 256 of them.
#[test]
fn nanoseconds_come_back_as_they_are() {
    const FIRST: i64 = 1_714_979_289_123_456_789;
    let world = World::new();
    let times = TimestampNanosecondArray::from_iter_values((0..700).map(|row| FIRST + row % 7));
    let later = TimestampNanosecondArray::from_iter_values((0..700).map(|row| FIRST + row % 7 + row % 2));
    let batch =
        RecordBatch::try_from_iter([("at", Arc::new(times) as ArrayRef), ("until", Arc::new(later) as ArrayRef)]);
    let batch = batch.unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    world.write("machine.parquet", writer.into_inner().unwrap());
    world.run("inspect machine.parquet --unit row --assume-public -o schema.toml").succeeds();
    let schema = world.text("schema.toml");
    let is_said = |line: &str| schema.lines().any(|own| own.split("   #").next() == Some(line));
    assert!(is_said("min         = \"2024-05-06T07:08:09.123456789\""), "{schema}");
    assert!(is_said("max         = \"2024-05-06T07:08:09.123456796\""), "{schema}");
    assert!(schema.contains("low = \"at\"\nhigh = \"until\""), "{schema}");
    let fit = "fit machine.parquet --schema schema.toml --epsilon inf --model independent -o model.safetensors";
    let fitted = world.run(fit).succeeds();
    assert!(!fitted.stderr.contains("outside the domain"), "{fitted}");
    world.run("generate model.safetensors --rows 700 -o cohort.parquet").succeeds();
    let file = std::fs::File::open(world.path("cohort.parquet")).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for batch in batches.map(Result::unwrap) {
        let [at, until] = [0, 1].map(|column| batch.column(column).as_primitive::<TimestampNanosecondType>().values());
        assert!(at.iter().zip(until).all(|(at, until)| at <= until));
        seen.extend(at.iter().map(|at| at - FIRST));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
}
