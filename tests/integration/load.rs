//! Many commands at once, all on one ledger.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;

/// Rounds, where the variable `SYNTHWARD_ROUNDS` does not say another number.
const ROUNDS: u32 = 3;
const FITS: usize = 4;
const GENERATES: usize = 8;
/// Room for three of the four fits, each with so little noise that it never finds too few patients.
const CAP: f64 = 15.0;
const EPSILON: f64 = 5.0;

/// Four fits want more than the cap leaves, while eight cohorts are drawn, two each into the same file. Whoever comes
/// first, the cap holds, the ledger verifies, and every file is whole.
#[test]
fn four_fits_and_eight_cohorts_at_once() {
    let rounds = std::env::var("SYNTHWARD_ROUNDS").ok().map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let world = World::new();
    world.write("visits.csv", Hospital::new(200, FIRST_PATIENT).csv());
    world.write("schema.toml", SCHEMA.replace("name = \"visits\"", &format!("name = \"visits\"\nepsilon_cap = {CAP}")));
    let fit = |output: &str| {
        format!(
            "fit visits.csv --schema schema.toml --epsilon {EPSILON} --delta 1e-5 --model independent --threads 1 \
             -o {output}"
        )
    };
    let generate = |output: &str| format!("generate first.safetensors --rows 2000 --seed 1 --threads 1 -o {output}");
    world.run("ledger open schema.toml").succeeds();
    world.run(&fit("first.safetensors")).succeeds();
    world.run(&generate("first.csv")).succeeds();
    let cohort = world.read("first.csv");
    for round in 0..rounds {
        for name in ["ledger.jsonl", "ledger.jsonl.head"] {
            std::fs::remove_file(world.path(name)).unwrap();
        }
        world.run("ledger open schema.toml").succeeds();
        let mut codes = std::thread::scope(|scope| {
            let world = &world;
            let fits: Vec<_> =
                (0..FITS).map(|i| scope.spawn(move || world.run(&fit(&format!("{round}-{i}.safetensors"))))).collect();
            let generates: Vec<_> =
                (0..GENERATES).map(|i| scope.spawn(move || world.run(&generate(&format!("{}.csv", i / 2))))).collect();
            generates.into_iter().for_each(|handle| drop(handle.join().unwrap().succeeds()));
            fits.into_iter().map(|handle| handle.join().unwrap().code).collect::<Vec<_>>()
        });
        codes.sort_unstable();
        assert_eq!(codes, [Some(0), Some(0), Some(0), Some(4)], "round {round}");
        for i in 0..GENERATES / 2 {
            assert!(world.read(&format!("{i}.csv")) == cohort, "round {round}: cohort {i} is another");
        }
        world.run("ledger verify ledger.jsonl").succeeds();
        let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
        let spent = shown["epsilon"].as_f64().unwrap();
        assert!(spent <= CAP && spent > CAP - EPSILON, "round {round}: {spent} was spent");
        let models = (0..FITS).filter(|i| world.path(&format!("{round}-{i}.safetensors")).exists()).count();
        assert_eq!(models, 3, "round {round}");
    }
    let names = world.files().into_keys().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    assert_eq!(names.filter(|name| name.starts_with(".synthward")).count(), 0, "temporary files stay");
}
