//! Tables that do not fit into the memory that they may take.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;

const FIT: &str = "fit visits.csv --schema schema.toml --epsilon 5 --delta 1e-5 --seed 3";
/// Of which nothing is left for the table.
const NOTHING: &str = "--memory-limit 256MB";

fn world() -> World {
    let world = World::new().of_few_steps();
    world.write("visits.csv", Hospital::new(400, FIRST_PATIENT).csv()).write("schema.toml", SCHEMA);
    world
}

#[test]
fn without_room_for_the_temporary_file_nothing_is_spent() {
    let world = world();
    let fit = format!("{FIT} --model independent {NOTHING} -o model.safetensors");
    let refused = world.run_with("TMPDIR", "/nowhere", &fit).exits(1);
    assert!(refused.stderr.contains("temporary file") && refused.stderr.contains("TMPDIR"), "{}", refused.stderr);
    let shown = world.run("ledger show ledger.jsonl").succeeds().stdout;
    assert!(shown.contains("nothing was spent") && !shown.contains("released"), "{shown}");
    world.run(&fit).succeeds();
}

#[test]
fn a_limit_that_cannot_be_kept_is_refused() {
    let world = world();
    let run = "[input]\ntable = \"visits.csv\"\nschema = \"schema.toml\"\nholdout = \"visits.csv\"\n[fit]\nmodel = \"independent\"\nepsilon = 5.0\ndelta = 1e-5\n[cohort]\nrows = 300\n";
    world.write("run.toml", run);
    let low = world.run(&format!("{FIT} --memory-limit 100MB -o m")).exits(2);
    assert!(low.stderr.contains("at least 256 MB"), "{}", low.stderr);
    world.run(&format!("{FIT} --memory-limit much -o m")).exits(2);
    world.run("plan run.toml --memory-limit 8GB").succeeds();
    // A hundred million rows would be a file of some gigabytes, which takes no room on the disk.
    let file = std::fs::OpenOptions::new().write(true).open(world.path("visits.csv")).unwrap();
    file.set_len(5 << 30).unwrap();
    let refused = world.run("plan run.toml --memory-limit 300MB").exits(3);
    assert!(refused.stdout.contains("the run needs about"), "{}", refused.stdout);
}
