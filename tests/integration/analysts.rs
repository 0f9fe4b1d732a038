//! The snippets of `docs/analysts.md`, where there is a Python to run them.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;
use std::path::Path;
use std::process::Command;

/// Every snippet that can run here does, and each other one is skipped with a word on what it lacks.
#[test]
fn the_snippets_for_analysts_run_where_their_tools_are() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("python3 is not installed: no snippet was run");
        return;
    }
    let world = World::new();
    world.write("visits.parquet", Hospital::new(500, FIRST_PATIENT).parquet()).write("schema.toml", SCHEMA);
    world.run("fit visits.parquet --schema schema.toml --epsilon 3 --model independent -o m").succeeds();
    world.run("generate m --rows 200 -o cohort.parquet").succeeds();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/analysts.py");
    let ran = Command::new("python3").arg(script).arg(world.path("cohort.parquet")).output().unwrap();
    let (said, errors) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
    eprintln!("{said}");
    assert!(ran.status.success(), "{said}{errors}");
    for tool in ["pandas", "polars", "duckdb", "r arrow", "pyspark"] {
        assert!(said.lines().any(|line| line.contains(tool)), "{tool} is not among the snippets: {said}");
    }
    for line in said.lines() {
        assert!(line.starts_with("PASS ") || line.starts_with("SKIP ") && line.ends_with("is not installed"), "{line}");
    }
}
