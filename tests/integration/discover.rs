//! `--discover-epsilon`: a draft from the rows is fitted, and what nobody vouches for is paid for.

use crate::hospital::{FIRST_PATIENT, Hospital};
use crate::world::World;
use serde_json::Value;

/// A ward that one patient alone has seen, at every visit.
const RARE: &str = "zq-canary-ward";

const FIT: &str = "fit visits.csv --schema schema.toml --delta 1e-5 --model independent --force -o model.safetensors";

/// A draft that lists the rare ward among what it read from the rows.
fn world(patients: u64) -> World {
    let mut hospital = Hospital::new(patients, FIRST_PATIENT);
    let patient = hospital.rows[7][1].clone();
    for row in 0..hospital.rows.len() {
        if hospital.rows[row][1] == patient {
            *hospital.cell(row, "ward") = Some(RARE.into());
        }
    }
    let world = World::new();
    world.write("visits.csv", hospital.csv()).write("holdout.csv", Hospital::new(300, 5_000_001).csv());
    world.run("inspect visits.csv --unit patient --kinds-public -o schema.toml").succeeds();
    assert!(world.text("schema.toml").contains(RARE), "the draft is as sensitive as the rows");
    world
}

fn column<'a>(fitted: &'a Value, name: &str) -> &'a Value {
    let columns = fitted["schema"]["column"].as_array().unwrap();
    columns.iter().find(|c| c["name"] == name).unwrap()
}

/// 4,000 patients and epsilon 0.5 for 11 releases: a list names the rare ward with probability below 2e-7.
#[test]
fn a_draft_from_the_rows_is_fitted_when_its_domains_are_paid_for() {
    let world = world(4000);
    world.refuses(3, &format!("{FIT} --epsilon 2"), &["was read from the rows", "--discover-epsilon"]);
    let fitted = world.run(&format!("{FIT} --epsilon 2 --discover-epsilon 0.5 --json")).succeeds().json();

    let epsilon = fitted["epsilon"].as_f64().unwrap();
    assert!(epsilon <= 2.0 && epsilon > 1.98, "the total: {epsilon}");
    let events = fitted["events"].as_array().unwrap();
    let fixed: Vec<&Value> = events.iter().filter(|e| e["share"] == "discover" && e["epsilon"].is_f64()).collect();
    // Two ends for age, weight and admitted; lists for sex, stage, diagnosis, ward and readmitted.
    assert_eq!(fixed.len(), 11, "{fixed:?}");
    let spent: f64 = fixed.iter().map(|e| e["epsilon"].as_f64().unwrap()).sum();
    assert!((spent - 0.5).abs() < 1e-9, "{spent}");

    for name in ["sex", "age", "weight", "admitted", "stage", "diagnosis", "ward", "readmitted"] {
        let column = column(&fitted, name);
        assert_eq!((&column["domain_from"], &column["nullable"]), (&"discovered".into(), &true.into()), "{name}");
    }
    assert_eq!(column(&fitted, "ward")["categories"], serde_json::json!(["central"]));
    assert_eq!(column(&fitted, "sex")["categories"], serde_json::json!(["F", "M"]));
    let (min, max) = (column(&fitted, "age")["min"].as_i64().unwrap(), column(&fitted, "age")["max"].as_i64().unwrap());
    assert!((0..=18).contains(&min) && (94..1000).contains(&max), "{min} {max}");

    world.run("generate model.safetensors --rows 500 --seed 1 -o cohort.csv").succeeds();
    for file in ["model.safetensors", "ledger.jsonl", "cohort.csv"] {
        let bytes = world.read(file);
        assert!(!bytes.windows(RARE.len()).any(|window| window == RARE.as_bytes()), "{file} names the rare ward");
    }
}

#[test]
fn a_discover_epsilon_that_leaves_nothing_is_refused() {
    let world = world(300);
    for discover in ["2", "3", "0", "-1", "nan"] {
        let fit = format!("{FIT} --epsilon 2 --discover-epsilon {discover}");
        world.refuses(3, &fit, &["discover epsilon", "below epsilon", "remedy"]);
    }
}

#[test]
fn what_an_earlier_fit_discovered_is_not_vouched_for_by_itself() {
    let world = world(300);
    let schema = world.text("schema.toml").replace("domain_from = \"data\"", "domain_from = \"discovered\"");
    world.write("schema.toml", schema);
    world.refuses(3, &format!("{FIT} --epsilon 2"), &["learnt by an earlier fit", "domain_from = \"public\""]);
}

#[test]
fn a_run_pays_for_domains_and_the_report_says_so() {
    let world = world(600);
    world.write(
        "run.toml",
        "[input]\ntable = \"visits.csv\"\nschema = \"schema.toml\"\nholdout = \"holdout.csv\"\n\n\
         [fit]\nmodel = \"independent\"\nepsilon = 30.0\ndelta = 1e-5\ndiscover_epsilon = 20.0\n\n[cohort]\nrows = 500\n",
    );
    world.run("run run.toml -o out").runs();
    let report = world.text("out/report.json");
    assert!(report.contains("paid for in the budget") && report.contains("one end of a range"), "{report}");
}
