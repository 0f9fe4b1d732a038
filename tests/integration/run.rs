//! `run`: one file in, a folder with everything out.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::schemas::assert_valid;
use crate::world::World;
use std::sync::LazyLock;

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
rows = 1500
"#;

const FILES: [&str; 5] = ["cohort.parquet", "model.safetensors", "evaluation.json", "audit.json", "report.html"];

static RAN: LazyLock<World> = LazyLock::new(|| {
    let world = World::shared("run").of_few_steps();
    world.write("visits.csv", Hospital::new(1000, FIRST_PATIENT).csv());
    world.write("holdout.csv", Hospital::new(500, 5_000_001).csv());
    world.write("schema.toml", SCHEMA).write("run.toml", RUN);
    world.run("run run.toml -o out").runs();
    world
});

#[test]
fn everything_is_there() {
    for name in FILES {
        assert!(!RAN.read(&format!("out/{name}")).is_empty(), "{name}");
    }
    RAN.run("ledger verify ledger.jsonl").succeeds();
    RAN.run("generate out/model.safetensors --rows 10 -o again.csv").succeeds();
}

/// What is written and printed for machines is what `schemas/` says.
#[test]
fn json_validates() {
    for name in ["evaluation.json", "audit.json", "report.json"] {
        assert_valid(name, &RAN.json(&format!("out/{name}")));
    }
    assert_valid("inspect.json", &RAN.run("inspect visits.csv --unit patient --json").succeeds().json());
    assert_valid("plan.json", &RAN.run("plan run.toml --json").succeeds().json());
    let tables = "--holdout holdout.csv --synthetic out/cohort.parquet --schema schema.toml --json";
    assert_valid("evaluation.json", &RAN.run(&format!("evaluate --real visits.csv {tables}")).succeeds().json());
    for (name, command) in [
        ("fit.json", "fit visits.csv --schema schema.toml --epsilon 1 --delta 1e-5 --ledger l.jsonl -o m.safetensors"),
        ("generate.json", "generate m.safetensors --rows 9 -o nine.csv"),
        ("generate.json", "generate m.safetensors --rows 9 --where age>20 -o women.csv"),
        ("infer.json", "infer m.safetensors visits.csv --score -o scores.csv"),
        ("infer.json", "infer m.safetensors visits.csv --fill -o filled.csv"),
        ("account.json", "account --sampling-rate 0.01 --noise-multiplier 1.1 --steps 100 --delta 1e-6"),
        ("account.json", "account --sampling-rate 0.01 --noise-multiplier 0 --steps 100 --delta 1e-6"),
        ("account.json", "account --case cases.json"),
        ("ledger.json", "ledger show l.jsonl"),
        ("ledger.json", "ledger verify l.jsonl"),
        ("ledger.json", "ledger check l.jsonl"),
        ("ledger.json", "ledger open schema.toml --ledger opened.jsonl"),
        ("selftest.json", "selftest"),
    ] {
        RAN.write(
            "cases.json",
            r#"{"cases": [{"id": "a", "kind": "analytic_eps", "sigma": 2.0, "delta": 1e-6}, {"id": "b"}]}"#,
        );
        assert_valid(name, &RAN.run(&format!("{command} --json")).succeeds().json());
    }
    assert_valid("ran.json", &RAN.run("run run.toml -o again --json").runs().json());
    let toml = |name: &str| serde_json::to_value(toml::from_str::<toml::Value>(&RAN.text(name)).unwrap()).unwrap();
    assert_valid("run.json", &toml("run.toml"));
    assert_valid("schema.json", &toml("schema.toml"));
}

/// No script, style, image or font from elsewhere: the page works without a network, and asks for none.
#[test]
fn the_report_is_one_self_contained_page() {
    let page = RAN.text("out/report.html");
    assert!(page.trim_start().to_lowercase().starts_with("<!doctype html>"));
    for loader in ["src=\"http", "src='http", "src=\"//", "<link", "@import", "url(http", "url(//", "<script src"] {
        assert!(!page.contains(loader), "{loader}");
    }
    assert!(page.contains("<svg"), "marginals are drawn inline");
    for word in ["epsilon", "delta", "patient", "visits"] {
        assert!(page.contains(word), "{word}");
    }
}

#[test]
fn the_report_names_no_bare_sum_of_a_real_table() {
    RAN.tells_tables_by_salted_sums_alone("out", &[("report", "visits.csv"), ("report", "holdout.csv")]);
}

#[test]
fn relative_paths_are_relative_to_the_run_file() {
    let elsewhere = World::new();
    let run = RAN.path("run.toml");
    elsewhere.run(&format!("run {} -o here", run.display())).runs();
    assert!(elsewhere.path("here/cohort.parquet").exists());
}

/// TOML can say infinity, too: the report's decision box and its twin for machines say what that means.
#[test]
fn an_infinite_epsilon_is_reported_as_not_private() {
    let world = World::new();
    for name in ["visits.csv", "holdout.csv", "schema.toml"] {
        world.write(name, RAN.read(name));
    }
    world.write("run.toml", RUN.replace("epsilon = 2.0", "epsilon = inf"));
    let told = world.run("run run.toml -o out --json").runs().says(&["NOT PRIVATE"]).json();
    assert_eq!(told["epsilon"], "inf");
    let page = world.text("out/report.html");
    assert!(page.contains("<span class=\"big\">NOT PRIVATE</span> <span>no noise was added: epsilon is infinite"));
    let report = world.json("out/report.json");
    assert!(report["claim"].is_null() && report["not_private"].is_string());
    assert_eq!(report["ledger"][2]["epsilon"], "inf");
    world.write("run.toml", RUN.replace("epsilon = 2.0", "epsilon = 1e999"));
    world.refuses(3, "run run.toml -o again", &["run.toml"]);
}

#[test]
fn a_misspelt_setting_is_refused_by_name() {
    let world = World::new();
    world.write("run.toml", RUN.replace("delta", "detla"));
    world.refuses(3, "run run.toml -o out", &["run.toml", "detla"]);
}

/// A holdout that lies in the table is seen before anything is spent, also where each row is a person.
#[test]
fn a_holdout_of_the_same_rows_costs_nothing() {
    let world = World::new().of_few_steps();
    let row = |n: usize| format!("{},{},{}\n", n * 37 % 90, ["F", "M"][n % 2], n * n % 400);
    let rows: Vec<String> = (0..900).map(row).collect();
    world.write("all.csv", format!("age,sex,cost\n{}", rows.concat()));
    world.write("some.csv", format!("age,sex,cost\n{}", rows[600..].concat()));
    world.run("inspect all.csv --unit row --assume-public -o schema.toml").succeeds();
    world.write(
        "run.toml",
        "[input]\ntable = \"all.csv\"\nschema = \"schema.toml\"\nholdout = \"some.csv\"\n\
         [fit]\nepsilon = 1\ndelta = 1e-5\n",
    );
    world.run("run run.toml -o out").exits(3).says(&["some.csv", "the holdout has the rows of the members' table"]);
    assert!(!world.path("ledger.jsonl").exists() && !world.path("out/model.safetensors").exists());
}
