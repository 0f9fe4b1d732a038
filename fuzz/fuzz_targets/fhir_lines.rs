//! The lines of a FHIR export: read as a table, with the lines that are none left out, and a schema drafted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use synthward::ingest::{Source, Vouched, inspect, inspect_folder, read_linked, read_to_inspect};
use synthward::schema::{LinkedSchema, Reading};

static SCHEMA: LazyLock<LinkedSchema> =
    LazyLock::new(|| LinkedSchema::from_toml(include_str!("../../fixtures/fhir/schema.toml")).unwrap());

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Patient.ndjson");
    std::fs::write(&path, bytes).unwrap();
    let _ = read_to_inspect(&Source::from(&path), &Reading::default()).map(|table| inspect(&table, &[], None, Vouched::Nothing));
    let _ = inspect_folder(folder.path(), Vouched::Nothing, &[], &Reading::default());
    let _ = read_linked(folder.path(), &SCHEMA, 1 << 20);
});
