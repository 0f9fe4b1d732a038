//! What judges a cohort: figures that one person's value could be read from, and figures that mislead a release.

use crate::schemas::assert_valid;
use crate::world::World;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::fmt::Write;

/// Two stays a person; costs lie below 10,000, as the schema says.
const SCHEMA: &str = r#"
[table]
name = "stays"
privacy_unit = "person"
max_rows_per_unit = 2

[[column]]
name = "person"
kind = "identifier"

[[column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
nullable = false
domain_from = "public"

[[column]]
name = "age"
kind = "integer"
min = 0
max = 99
nullable = false
domain_from = "public"

[[column]]
name = "cost"
kind = "real"
min = 0
max = 10000
decimals = 2
nullable = false
domain_from = "public"

[[column]]
name = "died"
kind = "categorical"
categories = ["no", "yes"]
nullable = false
domain_from = "public"

[[target]]
name = "cost"
column = "cost"
task = "regression"

[[target]]
name = "death"
column = "died"
task = "binary"
positive = ["yes"]
groups = ["sex"]

[[survival]]
name = "by cost"
time = "cost"
event = "died"
event_is = ["yes"]

[[regression]]
name = "odds"
task = "binary"
outcome = "died"
positive = ["yes"]
covariates = ["age", "cost", "sex"]

[[regression]]
name = "slopes"
task = "regression"
outcome = "cost"
covariates = ["age", "sex"]
"#;

const RUN: &str = r#"
[input]
table = "real.csv"
schema = "schema.toml"
holdout = "holdout.csv"

[fit]
model = "independent"
epsilon = 2.0
delta = 1e-5

[cohort]
rows = 400

[report]
purpose = "to teach"
split = "by person"
"#;

const PERSONS: usize = 120;
/// A cost that a released report once gave away: it was read back as 812,246.
const WHOLE: &str = "812345.67";

/// The stays of some persons; that of `PERSONS / 2` costs what `odd` says.
fn stays(first: usize, odd: Option<&str>) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(first as u64);
    let mut table = "person,sex,age,cost,died\n".to_owned();
    for row in 0..2 * PERSONS {
        let (age, sex) = (rng.random_range(20..90), ["F", "M"][rng.random_range(0..2)]);
        let cost = f64::from(age) * 40.0 + rng.random_range(0.0..4000.0);
        let died = if rng.random_bool(f64::from(age) / 150.0) { "yes" } else { "no" };
        let cost = match odd.filter(|_| row == PERSONS) {
            Some(odd) => odd.to_owned(),
            None => format!("{cost:.2}"),
        };
        writeln!(table, "{},{sex},{age},{cost},{died}", first + row / 2).unwrap();
    }
    table
}

/// Real rows, a holdout and a cohort that somebody made.
fn world() -> World {
    let world = World::new();
    world.write("schema.toml", SCHEMA).write("run.toml", RUN);
    world.write("real.csv", stays(1_000, None)).write("holdout.csv", stays(2_000, None));
    world.write("cohort.csv", stays(3_000, None));
    world
}

/// The figures of both commands, but for the shares of the holdout's cells that lie outside the schema's range.
fn judged(world: &World) -> (Value, Value) {
    let tables = "--holdout holdout.csv --synthetic cohort.csv --schema schema.toml --json";
    let mut evaluation = world.run(&format!("evaluate --real real.csv {tables}")).succeeds().json();
    for share in ["rows", "outside_range"] {
        evaluation["validity"]["floor"][share].take();
    }
    (evaluation, world.run(&format!("audit --members real.csv {tables}")).runs().json())
}

/// A value far beyond the range says what an end of the range says and no more, in every number of an evaluation and of an
/// audit, whoever has it. Within the range it moves each score by no more than is stated beside it.
#[test]
fn a_persons_value_moves_no_figure_beyond_its_range() {
    let world = world();
    for (table, first) in [("real.csv", 1_000), ("holdout.csv", 2_000)] {
        let with = |cost: &str| {
            world.write(table, stays(first, Some(cost)));
            judged(&world)
        };
        let (high, low) = (with("10000"), with("0"));
        assert_eq!(with(WHOLE), high, "{table}");
        assert_eq!(with("-812345.67"), low, "{table}");
        let score = |of: &Value, name: &str| of["tstr"][0]["tstr"][name].as_f64().unwrap();
        for name in ["rmse", "mae", "r2"] {
            let bound = high.0["tstr"][0]["one_person"][name].as_f64().unwrap();
            let moved = (score(&high.0, name) - score(&low.0, name)).abs();
            assert!(score(&high.0, name) <= 10_000.0 && bound < 10_000.0, "{bound}");
            if table == "holdout.csv" {
                assert!(moved > 0.0 && moved <= bound, "{name}: {moved} of {bound}");
            }
        }
        if table == "holdout.csv" {
            let share = high.0["influence"]["share"].as_f64().unwrap();
            assert_eq!(share, 2.0 / (2.0 * PERSONS as f64), "two rows of one person");
            let columns = |of: &Value| of["columns"].as_array().unwrap().clone();
            for (high, low) in columns(&high.0).iter().zip(columns(&low.0)) {
                let moved = high["tvd"]["synthetic"].as_f64().unwrap() - low["tvd"]["synthetic"].as_f64().unwrap();
                assert!(moved.abs() <= share + 1e-12, "{}: {moved}", high["name"]);
            }
        }
        world.write(table, stays(first, None));
    }
}

/// What recipients get hangs on the model and the cohort alone: with other rows in the holdout, or with real rows that the
/// model cannot tell from those that it was fitted to, every byte is the same. The controller's report is another.
#[test]
fn recipients_files_hold_nothing_computed_in_the_clear() {
    let world = world();
    let run = |out: &str| {
        world.run_with("SYNTHWARD_TEST_NOISE", "7", &format!("run run.toml -o {out}")).runs();
        ["release.json", "release.html", "cohort.parquet"].map(|name| world.read(&format!("{out}/{name}")))
    };
    let before = run("before");
    assert_valid("release.json", &world.json("before/release.json"));
    world.write("holdout.csv", stays(4_000, None));
    assert!(run("holdout") == before, "another holdout");
    assert_ne!(world.json("before/evaluation.json"), world.json("holdout/evaluation.json"));
    assert_ne!(world.json("before/report.json")["evaluation"], world.json("holdout/report.json")["evaluation"]);

    world.write("real.csv", stays(1_000, Some("10000")));
    let end = run("end");
    world.write("real.csv", stays(1_000, Some(WHOLE)));
    assert!(run("whole") == end, "another value beyond the range");
    // Nor does the controller's own report know more of it than the end of the range.
    for part in ["evaluation", "audit", "marginals"] {
        let [end, whole] = ["end", "whole"].map(|out| world.json(&format!("{out}/report.json"))[part].clone());
        assert_eq!(end, whole, "{part}");
    }
    for file in ["evaluation.json", "audit.json"] {
        assert_eq!(world.json(&format!("end/{file}")), world.json(&format!("whole/{file}")), "{file}");
    }

    // A row that the model does see: all is the same but for the fingerprints of the model and its cohort.
    let facts = |out: &str| {
        let mut release = world.json(&format!("{out}/release.json"));
        for file in release["files"].as_array_mut().unwrap() {
            file["sha256"].take();
        }
        // How many cells the released counts made.
        for table in release["tables"].as_array_mut().unwrap() {
            table["settings"].as_array_mut().unwrap().retain(|fact| fact["name"] != "cells of all columns");
        }
        release
    };
    assert_eq!(facts("before"), facts("end"));

    let release = world.text("before/release.json");
    for absent in ["evaluation", "audit", "ledger", "marginals", "who", "run_toml", "selftest"] {
        assert!(!release.contains(&format!("\"{absent}\":")), "{absent}");
    }
    assert!(!release.contains("holdout") && !release.contains("by person") && release.contains("to teach"));
    for page in ["before/report.html", "before/release.html"] {
        assert!(world.text(page).contains("A choice among fits."), "{page}");
    }
    let (report, page) = (world.json("before/report.json"), world.text("before/report.html"));
    assert!(report["note"].as_str().unwrap().starts_with("For the data's controller, and not to be passed on"));
    assert!(page.contains("For the data’s controller; not to be passed on."));
    for (name, text) in world.files().into_iter().filter(|(name, _)| name.starts_with(world.path("whole"))) {
        for shown in ["812345", "812,345", "812246", "812,246"] {
            let has = text.windows(shown.len()).any(|window| window == shown.as_bytes());
            assert!(!has, "{}: {shown}", name.display());
        }
    }
}

/// Answers as pandas writes them where a cell of the column is missing, and other spellings of what a typed file has but one
/// of.
fn coded(seed: u64) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut table = "smokes,grade,visits,dose,insured,seen,ward\n".to_owned();
    for _ in 0..300 {
        let ill = rng.random_range(0..2);
        let smokes = if rng.random_bool(0.1) { String::new() } else { format!("{ill}.0") };
        let (grade, visits) = (["1.0", "2.0", "3.0"][rng.random_range(0..3)], rng.random_range(0..9) + 3 * ill);
        let (dose, insured) = (rng.random_range(0..8), ["True", "False"][rng.random_range(0..2)]);
        let (day, ward) = (rng.random_range(1..28), ["007", "7", "a, \"b\""][rng.random_range(0..3)]);
        let ward = ward.replace('"', "\"\"");
        writeln!(table, "{smokes},{grade},{visits}.0,{}.50,{insured},{day:02}.03.2024,\"{ward}\"", dose + ill).unwrap();
    }
    table
}

/// A cohort is judged by what it says and not by the file that it is in. Once the categories `0.0` and `1.0` of a CSV file were
/// not those of its Parquet cohort: "leak found". (At so large an epsilon, which leaves the figures without noise to speak of, there
/// is a leak to be found, from every file alike.)
#[test]
fn a_cohort_is_judged_alike_from_every_file() {
    let world = World::new();
    world.write("real.csv", coded(1)).write("holdout.csv", coded(2));
    world.run("inspect real.csv --unit row --assume-public -o schema.toml").succeeds();
    assert!(world.text("schema.toml").contains("[\"0.0\", \"1.0\"]"), "{}", world.text("schema.toml"));
    world.run("fit real.csv --schema schema.toml --epsilon 20 --delta 1e-5 --model marginal -o model").succeeds();
    let judged = |name: &str| {
        world.run(&format!("generate model --rows 300 -o {name}")).succeeds();
        let tables = format!("--holdout holdout.csv --synthetic {name} --schema schema.toml --json");
        let evaluation = world.run(&format!("evaluate --real real.csv {tables}")).succeeds().json();
        (evaluation, world.run(&format!("audit --members real.csv {tables}")).runs().json())
    };
    let (evaluation, audit) = judged("cohort.csv");
    for name in ["cohort.parquet", "cohort.arrow"] {
        let (same_evaluation, same_audit) = judged(name);
        assert_eq!(evaluation, same_evaluation, "{name}");
        assert_eq!(audit, same_audit, "{name}");
    }
    let distance = evaluation["tvd"]["one_way"]["synthetic"].as_f64().unwrap();
    let unknown = evaluation["validity"]["synthetic"]["unknown_category"].as_f64().unwrap();
    assert!(distance < 0.15 && unknown == 0.0, "{distance}, {unknown}");
}

const FOLDER: &str = r#"
[linked]
name = "hospital"

[[table]]
name = "persons"
key = "Id"

[[table.column]]
name = "Id"
kind = "identifier"

[[table.column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
nullable = false
domain_from = "public"

[[table]]
name = "visits"
parent = "persons"
links = { PERSON = "persons" }
order = "START"
max_rows = 12

[[table.column]]
name = "PERSON"
kind = "identifier"

[[table.column]]
name = "START"
kind = "datetime"
type = "date32"
min = "2010-01-01"
max = "2019-12-31"
nullable = false
domain_from = "public"

[[table.column]]
name = "level"
kind = "ordinal"
categories = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
nullable = false
domain_from = "public"
"#;

/// Persons of twelve visits each; the level rises from visit to visit.
fn folder(world: &World, name: &str, persons: std::ops::Range<usize>) {
    std::fs::create_dir(world.path(name)).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(persons.start as u64);
    let (mut people, mut visits) = ("Id,sex\n".to_owned(), "PERSON,START,level\n".to_owned());
    for person in persons {
        writeln!(people, "p{person},{}", ["F", "M"][rng.random_range(0..2)]).unwrap();
        let mut level = rng.random_range(0..3);
        for visit in 0..12 {
            level = (level + rng.random_range(0..2)).min(9);
            writeln!(visits, "p{person},201{}-0{}-15,{level}", visit / 2, visit % 2 * 6 + 1).unwrap();
        }
    }
    world.write(&format!("{name}/persons.csv"), people).write(&format!("{name}/visits.csv"), visits);
}

/// Folders of one population and of different sizes are alike: of each person as many rows are judged in either. Once each
/// folder was thinned by its own size, and the distance of real rows from real ones was that of early visits from all.
#[test]
fn folders_of_different_sizes_are_compared_by_the_same_rows() {
    let world = World::new();
    world.write("schema.toml", FOLDER);
    folder(&world, "real", 0..2_500);
    folder(&world, "holdout", 5_000..5_250);
    folder(&world, "cohort", 6_000..6_250);
    let judge = "evaluate --real real --holdout holdout --synthetic cohort --schema schema.toml --json";
    let visits = &world.run(judge).succeeds().json()["tables"]["visits"];
    let rows = |name: &str| visits["rows"][name].as_u64().unwrap();
    assert_eq!((rows("real"), rows("holdout"), rows("synthetic")), (10_000, 1_000, 1_000));
    for side in ["floor", "synthetic"] {
        let distance = visits["tvd"]["one_way"][side].as_f64().unwrap();
        assert!(distance < 0.06, "{side}: {distance}");
    }
    // Nor can trees tell them apart, who see no person of whom they are asked.
    let floor = visits["detection_auc"]["floor"].as_f64().unwrap();
    assert!((floor - 0.5).abs() < 0.06, "{floor}");
}

/// The cohort's visits are those of the members, and of its persons nothing can be told, for only their sex is known: the folder
/// leaks. The exit code, the summary and the JSON say the same.
#[test]
fn the_worst_verdict_of_any_table_is_the_verdict() {
    let world = World::new();
    world.write("schema.toml", FOLDER);
    for (name, persons) in [("members", 0..450), ("holdout", 1_000..1_450)] {
        folder(&world, name, persons);
    }
    std::fs::create_dir(world.path("cohort")).unwrap();
    for file in ["persons.csv", "visits.csv"] {
        world.write(&format!("cohort/{file}"), world.text(&format!("members/{file}")));
    }
    let audit = "audit --holdout holdout --schema schema.toml --members members --synthetic";
    let outcome = world.run(&format!("{audit} cohort -o audit.json")).exits(5);
    assert!(outcome.stdout.contains("all tables together: leak found (visits)"), "{outcome}");
    let found = world.json("audit.json");
    assert_valid("audit_folder.json", &found);
    assert_eq!(
        ["persons", "visits"].map(|table| &found["tables"][table]["verdict"]),
        [&Value::from("inconclusive"), &Value::from("leak_found")]
    );
    assert_eq!(found["verdict"], "leak_found");
}
