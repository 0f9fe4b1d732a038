//! One intent, several releases: a process is killed, what lies on the disk is copied and taken away or put back, and the fit
//! is gone on with. However often, no more is ever seen than one intent pays for.
#![cfg(unix)]

use crate::resume::unsealed;
use crate::world::{World, sha256};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const FLAT: &str = r#"
[table]
name = "stays"
source = "00112233445566778899aabbccddeeff"
privacy_unit = "row"
units = 120

[[column]]
name = "age"
kind = "integer"
min = 0
max = 99
nullable = false
domain_from = "public"

[[column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
nullable = false
domain_from = "public"
"#;

/// The same columns of sixty persons with two rows each, in an order.
const HISTORY: &str = r#"
[table]
name = "stays"
source = "00112233445566778899aabbccddeeff"
privacy_unit = "who"
max_rows_per_unit = 2
order = "age"
units = 60

[[column]]
name = "who"
kind = "identifier"

[[column]]
name = "age"
kind = "integer"
min = 0
max = 99
nullable = false
domain_from = "public"

[[column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
nullable = false
domain_from = "public"
"#;

const FOLDER: &str = r#"
[linked]
name = "stays"
source = "00112233445566778899aabbccddeeff"
units = 120

[[table]]
name = "stays"
key = "who"

[[table.column]]
name = "who"
kind = "identifier"

[[table.column]]
name = "age"
kind = "integer"
min = 0
max = 99
nullable = false
domain_from = "public"

[[table.column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
nullable = false
domain_from = "public"
"#;

fn world(schema: &str, persons: usize) -> World {
    let world = World::new();
    let row = |i: usize| format!("p{},{},{}\n", i % persons, i * 37 % 100, ["F", "M", "M"][i % 3]);
    let rows = (0..120).map(row).collect::<String>();
    let table = format!("who,age,sex\n{rows}");
    std::fs::create_dir(world.path("folder")).unwrap();
    world.write("folder/stays.csv", &table).write("history.csv", table).write("schema.toml", schema);
    let rows = rows.lines().map(|row| row.split_once(',').unwrap().1.to_owned() + "\n");
    world.write("flat.csv", format!("age,sex\n{}", rows.collect::<String>()));
    world
}

fn fit(table: &str, model: &str) -> String {
    format!(
        "fit {table} --schema schema.toml --epsilon 2 --delta 1e-4 --model {model} --threads 1 -q -o model.safetensors"
    )
}

/// Starts a fit and waits until `is_so`, or it has ended.
fn start(world: &World, arguments: &str, mut is_so: impl FnMut() -> bool) -> Child {
    let mut process = world.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while process.try_wait().unwrap().is_none() && !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it hangs");
        std::thread::sleep(Duration::from_micros(20));
    }
    process
}

/// What the fit left beside its model.
fn left(world: &World, ending: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(world.path(".")).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("model.safetensors.") && name.ends_with(ending)
    };
    entries.into_iter().find(is_it)
}

/// The keys that the ledger and its head tell.
fn keys(world: &World) -> Vec<String> {
    let ledger =
        ["ledger.jsonl", "ledger.jsonl.head"].map(|name| std::fs::read_to_string(world.path(name)).unwrap_or_default());
    let lines = ledger
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter_map(|line| line["key"].as_str().map(str::to_owned)).collect()
}

/// Every model that somebody can make of these bytes, with all that the ledger tells.
fn readable(world: &World, copies: &[Vec<u8>]) -> BTreeSet<String> {
    let is_model = |bytes: &[u8]| safetensors::SafeTensors::read_metadata(bytes).is_ok();
    let keys = keys(world);
    let opened = copies.iter().flat_map(|bytes| keys.iter().map(|key| unsealed(bytes, key)));
    copies.iter().cloned().chain(opened).filter(|bytes| is_model(bytes)).map(|bytes| sha256(&bytes)).collect()
}

/// A file that the model lies in whole, but not under its name, is copied and taken away, and the fit is gone on with; four
/// times. The process dies there because the ledger's head cannot be written, or is killed. Version 0.1.0 so gave four models
/// with noise of their own, and a ledger that verified with one intent.
#[test]
fn a_model_that_is_taken_away_is_not_made_again() {
    for (schema, table, persons) in [(FLAT, "flat.csv", 120), (HISTORY, "history.csv", 60), (FOLDER, "folder", 120)] {
        let world = world(schema, persons);
        world.run("ledger open schema.toml").succeeds();
        let head = world.path("ledger.jsonl.head");
        let (mut copies, mut resume) = (Vec::new(), "");
        for round in 0..4 {
            let command = format!("{} {resume}", fit(table, "marginal"));
            let before = std::fs::read(&head).unwrap();
            let mut process = match round % 2 {
                // Once the intent is on record, nothing else gets there.
                0 => {
                    let began = start(&world, &command, || std::fs::read(&head).is_ok_and(|head| head != before));
                    let _ = std::fs::remove_file(&head).and_then(|()| std::fs::create_dir(&head));
                    began
                }
                _ => {
                    let mut began = start(&world, &command, || left(&world, ".next").is_some());
                    let _ = began.kill();
                    began
                }
            };
            process.wait().unwrap();
            if head.is_dir() {
                std::fs::remove_dir(&head).unwrap();
                std::fs::write(&head, before).unwrap();
            }
            for file in [left(&world, ".next"), Some(world.path("model.safetensors"))].into_iter().flatten() {
                if let Ok(bytes) = std::fs::read(&file) {
                    copies.push(bytes);
                    std::fs::remove_file(&file).unwrap();
                }
            }
            resume = "--resume";
        }
        // And once to its end.
        world.run(&format!("{} --resume", fit(table, "marginal")));
        copies.extend(std::fs::read(world.path("model.safetensors")).ok());
        let seen = readable(&world, &copies);
        // A fit that had a number of persons to learn was over with its first round.
        assert!(!copies.is_empty() || table != "flat.csv", "nothing was copied");
        assert!(seen.len() <= 1, "{table}: {} models under one intent", seen.len());
        // A line counts once it stands in the head.
        let ledger = world.text("ledger.jsonl") + &world.text("ledger.jsonl.head");
        assert!(seen.iter().all(|model| ledger.contains(model)), "{table}: a model that the ledger does not name");
        world.run("ledger verify ledger.jsonl").succeeds();
        let ledger = world.text("ledger.jsonl");
        assert_eq!(ledger.matches(r#""kind":"intent""#).count(), 1, "{table}");
    }
}

/// Every checkpoint is kept aside; an older one, under whatever name, or none at all, is no way back.
#[test]
fn a_training_goes_on_from_its_last_checkpoint_alone() {
    let world = world(FLAT, 120);
    let mut checkpoints: Vec<Vec<u8>> = Vec::new();
    for resume in ["", "--resume"] {
        let kept =
            || std::fs::read_to_string(world.path("ledger.jsonl")).unwrap_or_default().matches("checkpoint").count();
        let before = kept();
        let process = start(&world, &format!("{} {resume}", fit("flat.csv", "vae")), || {
            // The first that is kept are the counts, before there is a training.
            kept() > before + usize::from(before == 0)
        });
        let pid = process.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(process.wait_with_output().unwrap().status.code(), Some(130));
        checkpoints.push(std::fs::read(left(&world, ".checkpoint").unwrap()).unwrap());
    }
    let path = left(&world, ".checkpoint").unwrap();
    let next = path.with_extension("checkpoint.next");
    let [old, last] = &checkpoints[..] else { unreachable!() };
    let ledger = world.text("ledger.jsonl");
    for (at_path, at_next) in [(None, None), (Some(old), None), (None, Some(old)), (Some(old), Some(old))] {
        for (file, bytes) in [(&path, at_path), (&next, at_next)] {
            let _ = std::fs::remove_file(file);
            bytes.iter().for_each(|bytes| std::fs::write(file, bytes).unwrap());
        }
        let refused = world.run(&format!("{} --resume", fit("flat.csv", "vae"))).exits(3);
        let refused = refused.says(&["the fit is spent", "put it back", "costs its epsilon again"]);
        assert!(!refused.stderr.contains("delete") && !world.path("model.safetensors").exists(), "{refused}");
        assert_eq!(world.text("ledger.jsonl"), ledger, "a line was written of what cannot be gone on with");
    }
    std::fs::write(&next, last).unwrap();
    world.run(&format!("{} --resume", fit("flat.csv", "vae"))).succeeds();
    assert_eq!((left(&world, ".checkpoint"), left(&world, ".next")), (None, None));
}

/// The model of a fit that has ended is gone: it was seen, maybe, so it is not drawn anew under its intent.
#[test]
fn a_model_that_is_lost_is_spent() {
    let world = world(FLAT, 120);
    let command = fit("flat.csv", "marginal");
    world.run(&command).succeeds();
    let (ledger, model) = (world.text("ledger.jsonl"), world.read("model.safetensors"));
    std::fs::remove_file(world.path("model.safetensors")).unwrap();
    world.run(&format!("{command} --resume")).exits(3).says(&["the fit is spent", "costs its epsilon again"]);
    assert_eq!(world.text("ledger.jsonl"), ledger);
    world.write("model.safetensors", &model).run(&format!("{command} --resume")).succeeds();
    assert_eq!(world.text("ledger.jsonl"), ledger);
    // A new fit is a new intent.
    world.run(&format!("{command} --force")).succeeds();
    let spent = world.run("ledger show ledger.jsonl --json").succeeds().json()["epsilon"].as_f64().unwrap();
    assert!(spent > 3.9 && spent <= 4.0, "{spent}");
}
