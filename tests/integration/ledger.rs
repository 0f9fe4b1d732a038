//! The ledger: what it says, and that it cannot be edited unseen.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;

const FIT: &str =
    "fit visits.csv --schema schema.toml --epsilon 1 --delta 1e-5 --model independent -o model.safetensors";

fn world() -> World {
    let world = World::new();
    // So many that their noisy number is never below one batch, at any epsilon here (ten standard deviations).
    world.write("visits.csv", Hospital::new(1200, FIRST_PATIENT).csv()).write("schema.toml", SCHEMA);
    world
}

#[test]
fn a_fit_is_intent_and_outcome_and_verifies() {
    let world = world();
    world.run(FIT).succeeds();
    world.run("ledger verify ledger.jsonl").succeeds();
    let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
    let kinds: Vec<&str> = shown["lines"].as_array().unwrap().iter().map(|l| l["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["opened", "intent", "outcome"]);
    assert!(world.run("ledger show ledger.jsonl").succeeds().stdout.contains("table visits"));
}

#[test]
fn an_edited_ledger_is_found_and_stops_the_next_fit() {
    let world = world();
    world.run(FIT).succeeds();
    let honest = world.text("ledger.jsonl");
    let lines: Vec<&str> = honest.lines().collect();
    let negative = honest.replacen("\"epsilon\":", "\"epsilon\":-", 1);
    assert_ne!(negative, honest);
    for edited in [negative, lines[..2].join("\n") + "\n{}", [lines[0], lines[2]].join("\n")] {
        world.write("ledger.jsonl", &edited);
        world.run("ledger verify ledger.jsonl").exits(3).says(&["ledger line"]);
        world.run(&FIT.replace("model.safetensors", "second.safetensors")).exits(3).says(&["ledger line", "remedy"]);
        assert!(!world.path("second.safetensors").exists());
        assert_eq!(world.text("ledger.jsonl"), edited, "a broken ledger must stay as it is");
    }
}

#[test]
fn a_ledger_belongs_to_one_table() {
    let world = world();
    world.run(FIT).succeeds();
    let before = world.text("ledger.jsonl");
    world.write("schema.toml", SCHEMA.replace("name = \"visits\"", "name = \"others\""));
    world.run(FIT).exits(3).says(&["`visits`", "`others`"]);
    assert_eq!(world.text("ledger.jsonl"), before);
}

#[test]
fn a_fit_beyond_the_cap_is_refused_and_not_charged() {
    let world = world();
    world.write("schema.toml", SCHEMA.replace("name = \"visits\"", "name = \"visits\"\nepsilon_cap = 1.5"));
    world.run(FIT).succeeds();
    let before = world.text("ledger.jsonl");
    let second = FIT.replace("model.safetensors", "second.safetensors");
    world.run(&second).exits(4).says(&["cap", "remedy"]);
    assert!(!world.path("second.safetensors").exists());
    assert_eq!(world.text("ledger.jsonl"), before);
    world.run(&second.replace("--epsilon 1 ", "--epsilon 0.4 ")).succeeds();
    assert!(world.run("ledger show ledger.jsonl").succeeds().stdout.contains("under the cap of 1.5"));
}

/// Two processes want 1 each of the 1.5 that the cap leaves: one gets it, whichever comes first.
#[test]
fn two_fits_at_once_cannot_both_spend_the_last_epsilon() {
    let world = world();
    world.write("schema.toml", SCHEMA.replace("name = \"visits\"", "name = \"visits\"\nepsilon_cap = 1.5"));
    let mut codes = std::thread::scope(|scope| {
        let fit = |file: &'static str| {
            let world = &world;
            scope.spawn(move || world.run(&FIT.replace("model.safetensors", file)).code)
        };
        let fits = [fit("one.safetensors"), fit("two.safetensors")];
        fits.map(|fit| fit.join().unwrap())
    });
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(4)]);
    assert!(world.path("one.safetensors").exists() != world.path("two.safetensors").exists());
    let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
    assert!(shown["epsilon"].as_f64().unwrap() <= 1.0);
}

#[test]
fn lines_cut_off_the_end_are_found() {
    let world = world();
    world.run(FIT).succeeds();
    let honest = world.text("ledger.jsonl");
    world.write("ledger.jsonl", honest.trim_end().rsplit_once('\n').unwrap().0);
    world.run("ledger verify ledger.jsonl").exits(3).says(&["removed at the end"]);
}
