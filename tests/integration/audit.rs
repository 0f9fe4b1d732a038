//! `audit` as its users meet it: verdicts and exit codes, and what is refused.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::{SECRET, World};

const AUDIT: &str = "audit --members members.csv --holdout holdout.csv --schema schema.toml --synthetic";
/// The first patient of a hospital that shares nobody with the members.
const OTHERS: u64 = 7_000_001;

/// Members, a holdout of other people, and a table of people who are in neither.
fn world() -> World {
    let world = World::new();
    let fresh = Hospital::new(600, 8_000_001);
    world
        .write("members.csv", Hospital::new(600, FIRST_PATIENT).csv())
        .write("holdout.csv", Hospital::new(600, OTHERS).csv())
        .write("fresh.csv", fresh.csv())
        .write("schema.toml", SCHEMA);
    world
}

#[test]
fn copies_of_members_end_with_exit_code_5_and_fresh_rows_that_tell_too_little_with_6() {
    let world = world();
    let outcome = world.run(&format!("{AUDIT} members.csv -o leak.json")).exits(5);
    assert!(outcome.stdout.starts_with("verdict: leak found"), "{outcome}");
    let leak = world.json("leak.json");
    assert_eq!(leak["verdict"], "leak_found");
    assert_eq!(leak["sizes"]["members"], 600, "people are counted, not rows");
    assert_eq!((&leak["copies"]["members"], &leak["copies"]["holdout"]), (&1.0.into(), &0.0.into()));
    assert!(leak["epsilon_lower_bound"].as_f64() > Some(4.0));

    let clean = world
        .run(&format!("{AUDIT} fresh.csv --json"))
        .exits(6)
        .says(&["the audit could not have told", "remedy"])
        .json();
    assert_eq!(clean["verdict"], "inconclusive");
    assert!(clean["reasons"][0].as_str().unwrap().contains("the least that can be found"), "{}", clean["reasons"]);
    assert!(clean["attacks"].as_array().unwrap().iter().all(|attack| attack["leak"] == false));
    assert!(clean["controls"]["planted_found"].as_bool().unwrap());
}

#[test]
fn no_figure_is_about_one_person() {
    let world = world();
    let mut members = Hospital::new(600, FIRST_PATIENT);
    *members.cell(0, "visit") = Some(SECRET.into());
    world.write("members.csv", members.csv());
    let outcome = world.run(&format!("{AUDIT} members.csv -o leak.json -vv")).exits(5);
    for printed in [&outcome.stdout, &outcome.stderr, &world.text("leak.json")] {
        assert!(!printed.contains(SECRET) && !printed.contains(&FIRST_PATIENT.to_string()), "{outcome}");
    }
    let leak = world.json("leak.json");
    for attack in leak["attacks"].as_array().unwrap() {
        assert!(attack["units"].as_u64() >= Some(12), "a group of few people: {attack}");
    }
}

#[test]
fn what_cannot_be_audited_is_refused() {
    let world = world();
    world.refuses(3, &format!("{AUDIT} nowhere.csv"), &["nowhere.csv"]);
    let shared = Hospital::new(600, FIRST_PATIENT + 300);
    world.write("holdout.csv", shared.csv());
    let words = &["people of the members' table are in the holdout, too", "column `patient`", "remedy"];
    world.refuses(3, &format!("{AUDIT} fresh.csv"), words);
    world.write("holdout.csv", Hospital::new(600, OTHERS).csv());
    world.write("other.csv", "sex,age\nF,3\n");
    world.refuses(3, &format!("{AUDIT} other.csv"), &["other.csv", "the table lacks columns of the schema"]);
    world.refuses(2, "audit --members members.csv --synthetic fresh.csv --schema schema.toml", &["--holdout"]);
}

#[test]
fn too_few_people_are_inconclusive() {
    let world = world();
    world.write("holdout.csv", Hospital::new(100, OTHERS).csv());
    let audit = world.run(&format!("{AUDIT} fresh.csv --json")).exits(6).json();
    assert_eq!(audit["verdict"], "inconclusive");
    assert!(audit["reasons"][0].as_str().unwrap().contains("fewer than 200"));
}

#[test]
fn shadow_models_say_nothing_of_one_person_and_leave_no_file() {
    let world = world();
    let mut members = Hospital::new(600, FIRST_PATIENT);
    *members.cell(0, "visit") = Some(SECRET.into());
    world.write("members.csv", members.csv());
    world.run("fit members.csv --schema schema.toml --epsilon inf --model independent -o model.safetensors").succeeds();
    let audit = format!("{AUDIT} fresh.csv --model model.safetensors --shadow-dir shadows");
    world.run(&format!("{audit} --shadow 15")).exits(3).says(&["15 shadow models", "16 to 64"]);
    world.run(&format!("{AUDIT} fresh.csv --shadow 16 --shadow-dir shadows")).exits(2).says(&["--model"]);
    let outcome = world.run(&format!("{audit} --shadow 16 -o audit.json -vv"));
    let figures = world.json("audit.json");
    assert_eq!(world.text("ledger.jsonl").matches(r#""test":"shadow_models","fits":16"#).count(), 1);
    assert_eq!((&figures["shadow"]["models"], &figures["shadow"]["units"]), (&16.into(), &600.into()), "{outcome}");
    assert!(figures["white_box"].is_null(), "no claim, no canaries");
    for printed in [&outcome.stdout, &outcome.stderr, &world.text("audit.json")] {
        assert!(!printed.contains(SECRET) && !printed.contains(&FIRST_PATIENT.to_string()), "{outcome}");
    }
    assert!(!world.path("shadows").exists());
    std::fs::create_dir(world.path("shadows")).unwrap();
    world.write("shadows/shadow-00.scores", "of another audit");
    world.run(&format!("{audit} --shadow 16")).exits(3).says(&["not one of this audit", "shadow-00.scores"]);
}
