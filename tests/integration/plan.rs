//! `plan`: what a run would spend, take and need, before a row is read.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;
use std::fs;

/// Each stage takes time, and all of them memory.
pub fn assert_estimated(plan: &serde_json::Value) {
    let estimate = &plan["estimate"];
    let stages = estimate["stages"].as_array().unwrap_or_else(|| panic!("{plan}"));
    let names: Vec<&str> = stages.iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["read", "fit", "generate", "evaluate", "audit"]);
    assert!(stages.iter().all(|stage| stage["seconds"].as_f64().unwrap() > 0.0), "{estimate}");
    assert!(estimate["memory_mb"].as_f64().unwrap() > 1.0, "{estimate}");
}

const RUN: &str = r#"
[input]
table = "visits.csv"
schema = "schema.toml"
holdout = "holdout.csv"

[fit]
model = "independent"
epsilon = 2.0
delta = 1e-5

[cohort]
rows = 1000
"#;

fn world(schema: &str) -> World {
    let world = World::new().of_few_steps();
    world.write("visits.csv", Hospital::new(1000, FIRST_PATIENT).csv());
    world.write("holdout.csv", Hospital::new(500, 5_000_001).csv());
    world.write("schema.toml", schema).write("run.toml", RUN);
    world
}

/// What is planned is what is spent: the events are those of the model's header.
#[test]
fn the_events_are_those_that_a_run_spends() {
    let world = world(SCHEMA);
    let plan = world.run("plan run.toml --json").succeeds().json();
    assert!(plan["missing"].as_array().unwrap().is_empty() && plan["estimate"]["seconds"].as_f64().unwrap() > 0.0);
    assert!(!world.path("synthward-out").exists(), "planning writes nothing");
    let fit =
        "fit visits.csv --schema schema.toml --epsilon 2 --delta 1e-5 --model independent -o m.safetensors --json";
    let fitted = world.run(fit).succeeds().json();
    let noise = |events: &serde_json::Value, name: &str| -> Vec<(String, f64)> {
        let event = |e: &serde_json::Value| (e["name"].as_str().unwrap().into(), e[name].as_f64().unwrap());
        events.as_array().unwrap().iter().map(event).collect()
    };
    assert_eq!(noise(&plan["events"], "noise_multiplier"), noise(&fitted["events"], "noise_multiplier"));
}

/// The text says what is spent, what is public and by whose word, how long it takes and that nothing is missing.
#[test]
fn the_text_says_what_a_person_asks() {
    let said = world(SCHEMA).run("plan run.toml").succeeds().stdout;
    for words in ["epsilon 2, delta 1e-5", "the schema's author", "noise multiplier", "in all", "nothing is missing"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// Copies of so few persons are too few to be told from chance, whatever the audit finds.
#[test]
fn an_audit_that_can_tell_nothing_is_told_before_anything_is_spent() {
    let world = |units: u32| {
        let world = world(&SCHEMA.replacen("[table]\n", &format!("[table]\nunits = {units}\n"), 1));
        world.write("run.toml", RUN.replace("delta = 1e-5", "delta = 1e-6"));
        world
    };
    let said = world(1_000).run("plan run.toml").succeeds().stdout;
    assert!(said.contains("the audit will be inconclusive") && said.contains("a leak of less than 1."), "{said}");
    let finds = world(100_000).run("plan run.toml --json").succeeds().json()["audit_finds"].as_f64().unwrap();
    assert!(finds < 0.1, "{finds}");
}

/// Invented rows break rules and leave ranges; that is nobody's business.
#[test]
fn nothing_is_warned_of_that_invented_rows_did() {
    let rule = "\n[[constraint]]\nkind = \"forbidden\"\nnever = \"sex = 'F' and age >= 18\"\n";
    let planned = world(&format!("{SCHEMA}{rule}")).run("plan run.toml").succeeds();
    assert!(!planned.stderr.contains("WARN"), "{planned}");
}

/// Rows are not read: a table that is no table plans as well.
#[test]
fn no_row_is_read() {
    let world = world(SCHEMA);
    let length = fs::metadata(world.path("visits.csv")).unwrap().len() as usize;
    world.write("visits.csv", vec![0xff; length]);
    let plan = world.run("plan run.toml --json").succeeds().json();
    let rows = plan["estimate"]["rows"].as_u64().unwrap();
    assert!((1000..4000).contains(&rows), "{rows} rows, told from the size of the file; it had about 2,000");
    let holdout = plan["estimate"]["holdout_rows"].as_u64().unwrap();
    assert!((9 * rows..11 * rows).contains(&(20 * holdout)), "{holdout} of {rows}: the file is half as large");
}

/// The invented cohort does not grow with the cohort that is asked for, or this would not end; the time of the audit does.
#[test]
fn a_large_cohort_is_not_invented_as_a_whole() {
    let world = world(SCHEMA);
    let audit = |rows: &str| {
        world.write("run.toml", RUN.replace("rows = 1000", &format!("rows = {rows}")));
        let plan = world.run("plan run.toml --json").succeeds().json();
        let stages = plan["estimate"]["stages"].as_array().unwrap().clone();
        stages.iter().find(|stage| stage["name"] == "audit").unwrap()["seconds"].as_f64().unwrap()
    };
    let (small, large) = (audit("1000"), audit("1000000000"));
    assert!(large > 2.0 * small, "{small} s, {large} s");
}

/// A draft has ranges and categories from the rows: where they are to be learnt, the plan does not repeat them.
#[test]
fn what_was_read_from_the_rows_is_not_told() {
    let world = World::new();
    world.write("visits.csv", Hospital::new(1000, FIRST_PATIENT).csv());
    world.write("holdout.csv", Hospital::new(500, 5_000_001).csv());
    world.run("inspect visits.csv --unit patient --kinds-public -o schema.toml").succeeds();
    assert!(world.text("schema.toml").contains("[[constraint]]"), "there is a rule that nobody vouches for");
    world.write("run.toml", RUN.replace("epsilon = 2.0", "epsilon = 2.0\ndiscover_epsilon = 0.5"));
    let plan = world.run("plan run.toml --json").succeeds().json();
    let fact = |name: &str| plan["columns"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap().clone();
    assert_eq!(
        (&fact("age")["domain"], &fact("age")["vouched_by"]),
        (&"to be learnt".into(), &"paid for in the budget; for the kind, the schema's author".into())
    );
    assert!(plan["estimate"]["seconds"].as_f64().unwrap() > 0.0);
    // Without discovery it is refused before anything is told.
    world.write("schema.toml", world.text("schema.toml").split("[[constraint]]").next().unwrap());
    world.write("run.toml", RUN);
    let outcome = world.run("plan run.toml --json").exits(3);
    let plan: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let age = plan["columns"].as_array().unwrap().iter().find(|c| c["name"] == "age").unwrap();
    assert_eq!((&age["domain"], &age["vouched_by"]), (&"read from the rows".into(), &"nobody".into()));
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let world = world(&SCHEMA.replacen("domain_from = \"public\"", "domain_from = \"data\"", 1));
    fs::remove_file(world.path("holdout.csv")).unwrap();
    let outcome = world.run("plan run.toml --json").exits(3).says(&["cannot start"]);
    let plan: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let missing: Vec<&str> = plan["missing"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].contains("holdout.csv") && missing[1].contains("read from the rows"), "{missing:?}");
    assert!(plan["estimate"].is_null());
}

#[test]
fn a_run_beyond_the_cap_is_refused_before_it_starts() {
    let world = world(&SCHEMA.replacen("[table]\n", "[table]\nepsilon_cap = 3.0\n", 1));
    let lost = world.run("plan run.toml").exits(4);
    assert!(lost.stdout.contains("no ledger of the source of table `visits` is here"), "{lost}");
    assert!(!world.path("ledger.jsonl").exists());
    world.run("ledger open schema.toml").succeeds();
    world.run("plan run.toml").succeeds();
    world
        .run("fit visits.csv --schema schema.toml --epsilon 1.5 --delta 1e-5 --model independent -o m.safetensors")
        .succeeds();
    let ledger = world.read("ledger.jsonl");
    world.run("plan run.toml -o elsewhere").exits(4).says(&["does not leave enough"]);
    assert_eq!(world.read("ledger.jsonl"), ledger, "planning is not spending");
}

/// The line and the column of what is wrong in the file.
#[test]
fn a_wrong_run_file_is_pointed_into() {
    let world = world(SCHEMA);
    world.write("run.toml", RUN.replace("epsilon = 2.0", "epsilon = true"));
    world.refuses(3, "plan run.toml", &["run.toml: line 9, column 11", "remedy"]);
    world.write("run.toml", RUN.replace("rows = 1000", "row = 1000"));
    world.refuses(3, "plan run.toml", &["run.toml: line 13, column 1", "unknown field `row`"]);
}
