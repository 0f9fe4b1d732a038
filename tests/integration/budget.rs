//! The target of a fit: what is refused, and what is spent.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::fs::File;
use synthward_privacy::Event;
use synthward_privacy::accountant::Accountant;

fn fit(epsilon: &str, delta: &str) -> String {
    format!(
        "fit visits.csv --schema schema.toml --epsilon {epsilon} --delta {delta} --model independent -o model.safetensors"
    )
}

fn world(patients: u64, schema: &str) -> World {
    let world = World::new().of_few_steps();
    world.write("visits.csv", Hospital::new(patients, FIRST_PATIENT).csv()).write("schema.toml", schema);
    world
}

#[test]
fn an_epsilon_that_is_no_budget_is_refused() {
    let world = world(200, SCHEMA);
    for epsilon in ["0", "-1", "nan", "-inf", "1e9"] {
        world.refuses(3, &fit(epsilon, "1e-5"), &["epsilon", "expected"]);
    }
    // A slip that overflows to infinity must not turn the noise off.
    for epsilon in ["1e999", "much"] {
        world.refuses(2, &fit(epsilon, "1e-5"), &["epsilon", "expected"]);
    }
}

/// `--epsilon inf` is the non-private reference: it has to be asked for in as many words, and everything that comes of it
/// says what it is.
#[test]
fn an_infinite_epsilon_adds_no_noise_and_everything_says_so() {
    let world = world(300, SCHEMA);
    let command = fit("inf", "1e-5");
    let fitted = world.run(&format!("{command} --json")).succeeds();
    let fitted = fitted.says(&["NOT PRIVATE", "epsilon is infinite"]).json();
    assert_eq!((&fitted["epsilon"], &fitted["target_epsilon"]), (&"inf".into(), &"inf".into()));
    assert_eq!((&fitted["private"], &fitted["units"]), (&false.into(), &300.0.into()), "the count is exact");
    for event in fitted["events"].as_array().unwrap() {
        assert_eq!(event["noise_multiplier"], 0.0, "{event}");
    }
    world.run("generate model.safetensors --rows 200 -o cohort.parquet").succeeds().says(&["NOT PRIVATE"]);
    let reader = SerializedFileReader::new(File::open(world.path("cohort.parquet")).unwrap()).unwrap();
    let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let value = |key: &str| metadata.iter().find(|kv| kv.key == key).and_then(|kv| kv.value.clone()).unwrap();
    assert_eq!(value("synthward.private"), "not private: no noise was added: epsilon is infinite");
    assert_eq!(value("synthward.epsilon"), "inf");
    let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
    assert_eq!((&shown["epsilon"], &shown["lines"][2]["epsilon"]), (&"inf".into(), &"inf".into()));
    assert!(world.run("ledger show ledger.jsonl").succeeds().stdout.contains("epsilon infinite"));
}

/// The counts of a fit without noise are those of the table: `independent` gives back each share.
#[test]
fn without_noise_the_released_counts_are_exact() {
    let public = SCHEMA.replace("name = \"visits\"", "name = \"visits\"\nunits = 300");
    let world = world(300, &public);
    for file in ["a.safetensors", "b.safetensors"] {
        world.run(&fit("infinity", "1e-5").replace("model.safetensors", file)).succeeds();
    }
    assert_eq!(world.read("a.safetensors"), world.read("b.safetensors"), "nothing is left to chance");
}

#[test]
fn no_cap_allows_a_fit_without_noise() {
    let capped = SCHEMA.replace("name = \"visits\"", "name = \"visits\"\nepsilon_cap = 1000");
    let world = world(300, &capped);
    world.run("ledger open schema.toml").succeeds();
    world.refuses(4, &fit("inf", "1e-5"), &["cap", "finite epsilon"]);
    // A fit without noise before there was a cap has spent whatever a cap could allow.
    world.write("schema.toml", SCHEMA).run(&fit("inf", "1e-5")).succeeds();
    world.write("schema.toml", &capped).run(&fit("0.1", "1e-5")).exits(4).says(&["0.0000 that is left"]);
}

#[test]
fn discovery_and_an_infinite_epsilon_do_not_go_together() {
    world(300, SCHEMA).refuses(3, &format!("{} --discover-epsilon 1", fit("inf", "1e-5")), &["--discover-epsilon"]);
}

/// Refused, not warned about: delta 0 has no meaning for the Gaussian mechanism, and one over the number of patients
/// would allow publishing one of them.
#[test]
fn a_delta_of_zero_or_of_one_over_the_patients_is_refused() {
    let public = SCHEMA.replace("name = \"visits\"", "name = \"visits\"\nunits = 500");
    let world = world(500, &public);
    for delta in ["0", "-0.5", "nan", "1", "0.002", "0.5"] {
        world.refuses(3, &fit("1", delta), &["delta", "expected"]);
    }
    world.run(&fit("1", "0.0019")).succeeds();
}

/// What is spent is at most what was asked for, and most of it.
#[test]
fn the_target_is_spent_and_not_exceeded() {
    let world = world(300, SCHEMA);
    for (model, file) in [("independent", "a.safetensors"), ("vae", "b.safetensors")] {
        let command = fit("0.8", "1e-5").replace("independent", model).replace("model.safetensors", file);
        let fitted = world.run(&format!("{command} --json")).succeeds().json();
        let epsilon = fitted["epsilon"].as_f64().unwrap();
        assert!(epsilon <= 0.8 && epsilon > 0.79, "{model}: {epsilon}");
        assert_eq!((fitted["delta"].as_f64(), fitted["target_epsilon"].as_f64()), (Some(1e-5), Some(0.8)));
        assert!(!fitted["events"].as_array().unwrap().is_empty());
        assert_eq!(fitted["adjacency"], "add_remove");
        assert_eq!(fitted["unit"]["column"], "patient");
    }
    let spent = world.run("ledger show ledger.jsonl --json").succeeds().json();
    assert!((1.58..=1.6).contains(&spent["epsilon"].as_f64().unwrap()), "{spent}");
}

/// The seed fixes initialisation; two fits with the same seed have different noise.
#[test]
fn a_seed_does_not_fix_the_noise() {
    let world = world(300, SCHEMA);
    for file in ["a.safetensors", "b.safetensors"] {
        world.run(&fit("1", "1e-5 --seed 7").replace("model.safetensors", file)).succeeds();
    }
    assert_ne!(world.read("a.safetensors"), world.read("b.safetensors"));
}

#[test]
fn account_answers_what_the_trusted_core_says() {
    let command = "account --sampling-rate 0.01 --noise-multiplier 1.1 --steps 1000 --delta 1e-6";
    let answer = World::new().run(&format!("{command} --json")).succeeds().json();
    let event = Event::dp_sgd(0.01, 1.1, 1000);
    let expected = Accountant::default().epsilon(&event, 1e-6).unwrap();
    let difference = answer["epsilon"].as_f64().unwrap() - expected;
    assert!(difference.abs() < 1e-12, "{difference}");
    World::new().run(&command.replace("0.01", "1.5")).exits(3).says(&["sampling_rate"]);
    let without = command.replace("1.1", "0");
    assert_eq!(World::new().run(&format!("{without} --json")).succeeds().json()["epsilon"], "inf");
    assert!(World::new().run(&without).succeeds().stdout.contains("infinite"));
}
