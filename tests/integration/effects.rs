//! What analysts estimate on a cohort, and how far noise lets it be off.

use crate::world::World;
use serde_json::Value;

const SCHEMA: &str = r#"
[table]
name = "patients"
privacy_unit = "row"
units = 3000
[[column]]
name = "site"
kind = "categorical"
categories = ["north", "south"]
domain_from = "public"
nullable = false
[[column]]
name = "age"
kind = "integer"
min = 0
max = 99
domain_from = "public"
nullable = false
[[column]]
name = "ill"
kind = "categorical"
categories = ["no", "yes"]
domain_from = "public"
nullable = false
[[column]]
name = "cost"
kind = "integer"
min = 0
max = 300
domain_from = "public"
nullable = false
[[regression]]
name = "ill"
outcome = "ill"
task = "binary"
positive = ["yes"]
covariates = ["cost", "age", "site"]
[[regression]]
name = "cost"
outcome = "cost"
task = "regression"
covariates = ["age", "site"]
[[survival]]
name = "ill"
time = "age"
event = "ill"
event_is = ["yes"]
by = "site"
"#;

/// Costs are two a year of age and noise; of those above fifty three in four are ill, of the others one in four.
fn table(first: u64, rows: u64) -> String {
    let mut state = first;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let row = |_| {
        let (site, age) = (["north", "south"][draw() as usize % 2], draw() % 100);
        let ill = draw() % 4 < if age > 50 { 3 } else { 1 };
        format!("{site},{age},{},{}\n", if ill { "yes" } else { "no" }, 2 * age + draw() % 100)
    };
    "site,age,ill,cost\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

/// What is estimated on a cohort of a model of this kind.
fn figures(world: &World, model: &str, epsilon: &str) -> Value {
    world.run(&format!("fit t.csv --schema s.toml --model {model} --epsilon {epsilon} -o m.safetensors")).succeeds();
    world.run("generate m.safetensors --rows 3000 --seed 1 -o c.csv").succeeds();
    let tables = "--real t.csv --holdout h.csv --synthetic c.csv --schema s.toml";
    world.run(&format!("evaluate {tables} --model m.safetensors --json")).succeeds().json()
}

/// Written in another order than that of the columns, covariates say what they say: at epsilon 20 a slope of two stays one. Of
/// curves and of regressions the interval that includes the noise is the wider one, and the wider the more noise there is.
#[test]
fn effects_stay_and_intervals_include_the_noise() {
    let world = World::new();
    world.write("s.toml", SCHEMA).write("t.csv", table(1, 3000)).write("h.csv", table(2, 1000));
    let width = |estimate: &Value| estimate["upper"].as_f64().unwrap() - estimate["lower"].as_f64().unwrap();
    let half_way = |side: &Value| side["upper"][25].as_f64().unwrap() - side["lower"][25].as_f64().unwrap();
    let widths: Vec<[f64; 2]> = ["1", "20"]
        .into_iter()
        .map(|epsilon| {
            let figures = figures(&world, "marginal", epsilon);
            let terms = figures["regressions"][1]["terms"].as_array().unwrap();
            assert!(terms.iter().all(|term| width(&term["with_noise"]) > width(&term["synthetic"])), "{terms:?}");
            let slope = &terms[0]["synthetic"]["estimate"];
            assert!(epsilon == "1" || (1.7..2.3).contains(&slope.as_f64().unwrap()), "{slope}");
            let group = &figures["survival"][0]["groups"][0];
            assert!(half_way(&group["with_noise"]) > half_way(&group["synthetic"]), "{group}");
            [width(&terms[0]["with_noise"]), half_way(&group["with_noise"])]
        })
        .collect();
    assert!(widths[0][0] > 3.0 * widths[1][0] && widths[0][1] > 1.5 * widths[1][1], "{widths:?}");
    let independent = figures(&world, "independent", "1");
    let terms = independent["regressions"][0]["terms"].as_array().unwrap();
    assert!(terms.iter().all(|term| term["with_noise"].is_null()), "no pair was counted: {terms:?}");
    assert!(independent["survival"][0]["groups"][0]["with_noise"].is_null());
}
