//! Cohorts of rows that satisfy a condition.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::{Outcome, World};
use std::collections::HashMap;
use std::sync::LazyLock;

fn fitted(model: &str) -> World {
    let world = World::shared(&format!("condition-{model}"));
    world.write("visits.csv", Hospital::new(2000, FIRST_PATIENT).csv()).write("schema.toml", SCHEMA);
    let fit = "fit visits.csv --schema schema.toml --epsilon 5 --delta 1e-5 -o model.safetensors --model";
    world.run(&format!("{fit} {model}")).succeeds();
    world
}

static INDEPENDENT: LazyLock<World> = LazyLock::new(|| fitted("independent"));
static MARGINAL: LazyLock<World> = LazyLock::new(|| fitted("marginal"));

fn draw(world: &World, rows: usize, condition: &str, name: &str, options: &[&str]) -> Outcome {
    let rows = rows.to_string();
    let words = ["generate", "model.safetensors", "--rows", &rows, "--where", condition, "-o", name];
    world.run_words(&[&words, options].concat())
}

/// A row of a CSV cohort by column; a missing cell is empty.
type Row = HashMap<String, String>;

fn rows(world: &World, name: &str) -> Vec<Row> {
    let text = world.text(name);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

fn number(row: &Row, column: &str) -> Option<f64> {
    row[column].parse().ok()
}

/// Conditions and the same said in Rust.
type Case = (&'static str, fn(&Row) -> bool);

const CASES: [Case; 9] = [
    ("age >= 65 and readmitted = 'yes'", |r| number(r, "age") >= Some(65.0) && r["readmitted"] == "yes"),
    ("NOT age < 65 AND sex IN ('M')", |r| number(r, "age") >= Some(65.0) && r["sex"] == "M"),
    ("weight is null", |r| r["weight"].is_empty()),
    ("not (weight > 70.1)", |r| number(r, "weight").is_some_and(|w| w <= 70.1)),
    ("stage > 'II' and smoker = true", |r| ["III", "IV"].contains(&r["stage"].as_str()) && r["smoker"] == "true"),
    ("admitted between '2020-02-01' and '2020-02-10'", |r| {
        ("2020-02-01"..="2020-02-10").contains(&r["admitted"].as_str())
    }),
    ("diagnosis not in ('486', 'V45', '428')", |r| !["", "486", "V45", "428"].contains(&r["diagnosis"].as_str())),
    ("(sex = 'F' and age < 30) or (stage = 'IV' and not smoker = true) or weight between 80 and 81", |r| {
        (r["sex"] == "F" && number(r, "age") < Some(30.0))
            || (r["stage"] == "IV" && r["smoker"] == "false")
            || number(r, "weight").is_some_and(|w| (80.0..=81.0).contains(&w))
    }),
    ("\"rows of the unit\" = 2 and sex != 'F'", |r| r["sex"] == "M"),
];

#[test]
fn every_row_satisfies_the_condition() {
    for world in [&*INDEPENDENT, &*MARGINAL] {
        for (condition, holds) in CASES {
            draw(world, 3001, condition, "given.csv", &[]).succeeds();
            let rows = rows(world, "given.csv");
            assert_eq!(rows.len(), 3001, "{condition}");
            for row in &rows {
                assert!(holds(row), "{condition}: {row:?}");
            }
        }
    }
}

#[test]
fn what_is_drawn_follows_the_model_given_the_condition() {
    let world = &*MARGINAL;
    world.run("generate model.safetensors --rows 60000 --seed 1 -o all.csv").succeeds();
    let (condition, holds) = CASES[7];
    draw(world, 20_000, condition, "some.csv", &[]).succeeds();
    let all: Vec<Row> = rows(world, "all.csv").into_iter().filter(holds).collect();
    let some = rows(world, "some.csv");
    for (column, value) in [("sex", "F"), ("readmitted", "yes"), ("stage", "IV"), ("smoker", "false")] {
        let share = |rows: &[Row]| rows.iter().filter(|row| row[column] == value).count() as f64 / rows.len() as f64;
        // Rows of a unit share its case here, and need not where rows are filtered.
        assert!((share(&all) - share(&some)).abs() < 0.06, "{column}: {} {}", share(&all), share(&some));
    }
}

#[test]
fn a_seed_gives_the_same_bytes_at_any_number_of_threads() {
    let (condition, _) = CASES[7];
    for format in ["parquet", "csv"] {
        let name = |run: &str| format!("seed-{run}.{format}");
        draw(&MARGINAL, 9000, condition, &name("one"), &["--seed", "3", "--threads", "1"]).succeeds();
        draw(&MARGINAL, 9000, condition, &name("two"), &["--seed", "3", "--threads", "2"]).succeeds();
        draw(&MARGINAL, 9000, condition, &name("other"), &["--seed", "4", "--threads", "2"]).succeeds();
        assert!(MARGINAL.read(&name("one")) == MARGINAL.read(&name("two")));
        assert!(MARGINAL.read(&name("one")) != MARGINAL.read(&name("other")));
    }
}

/// Cases of a condition are mixed, not drawn one after the other: a short cohort has them all.
#[test]
fn a_few_rows_are_of_all_cases() {
    draw(&MARGINAL, 60, "age < 40 or (age > 60 and sex = 'F')", "few.csv", &[]).succeeds();
    let young = rows(&MARGINAL, "few.csv").iter().filter(|row| number(row, "age") < Some(40.0)).count();
    assert!((5..55).contains(&young), "{young}");
}

#[test]
fn rarity_is_reported_and_written_into_the_cohort() {
    for world in [&*INDEPENDENT, &*MARGINAL] {
        let condition = "readmitted = 'yes'";
        let told = draw(world, 10, condition, "told.parquet", &["--json"]).succeeds().says(&["give or take"]);
        let said = &told.json()["where"];
        assert_eq!(said["condition"], condition);
        let figure = |name: &str| said["rarity"][name].as_f64().unwrap();
        // Of 2000 patients 45 in 100 come back; the model is noisy.
        assert!((figure("probability") - 0.45).abs() < 0.1, "{said}");
        assert!((figure("expected_units") / figure("units") - figure("probability")).abs() < 1e-9);
        assert!(figure("expected_units_std") > 10.0);
        let bytes = world.read("told.parquet");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("synthward.where") && text.contains(condition));
    }
}

#[test]
fn rare_conditions_are_no_slower() {
    let started = std::time::Instant::now();
    let condition = "age between 93 and 94 and admitted <= '2019-01-20' and smoker is null and stage = 'IV'";
    let told = draw(&MARGINAL, 10_000, condition, "rare.csv", &["--json"]).succeeds();
    assert!(told.json()["where"]["rarity"]["probability"].as_f64().unwrap() < 1e-3);
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn conditions_that_cannot_be_are_refused() {
    let world = World::new();
    world.write("model.safetensors", INDEPENDENT.read("model.safetensors"));
    let deep = "not ".repeat(500) + "age = 1";
    let long = "age = 1 or ".repeat(500) + "age = 1";
    let pair = |age: u32| format!("(age = {age} and weight = {age})");
    let exploding = (31..99).map(pair).collect::<Vec<_>>().join(" or ");
    for (condition, code, words) in [
        ("age >= 65 and", 2, &["character 14", "remedy"][..]),
        ("age >= 'x", 2, &["character 8", "never closed"]),
        (&deep, 2, &["nested deeper"]),
        (&long, 2, &["at most 4096"]),
        ("agee >= 65", 3, &["`agee`", "`age`", "remedy"]),
        ("patient = 3", 3, &["not modelled", "remedy"]),
        ("age >= 120", 3, &["`age`", "impossible", "0 to 99"]),
        ("age = 30.5", 3, &["`age`", "impossible"]),
        ("sex = 'X'", 3, &["`sex`", "impossible", "`F`, `M`"]),
        ("sex > 'F'", 3, &["no order"]),
        ("age = '30'", 3, &["without quotes"]),
        ("age is null", 3, &["nullable = false"]),
        ("sex = 'F' and sex = 'M'", 3, &["contradict"]),
        ("age < 30 and not age < 40", 3, &["contradict"]),
        (&exploding, 3, &["separate cases"]),
    ] {
        let outcome = draw(&world, 10, condition, "none.csv", &[]).exits(code).says(words);
        assert!(outcome.stdout.is_empty() && !world.path("none.csv").exists(), "{outcome}");
    }
}
