//! The ledger: what it says, and that it cannot be edited unseen.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;

const FIT: &str =
    "fit visits.csv --schema schema.toml --epsilon 1 --delta 1e-5 --model independent --force -o model.safetensors";

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
    // The number of units was learnt and kept, and then the counts.
    assert_eq!(kinds, ["opened", "table", "intent", "drawn", "checkpoint", "checkpoint", "outcome"]);
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

/// Tables whose schemas name no source may be of the same persons, whatever they are called: each fit counts against all.
#[test]
fn tables_without_a_source_have_one_budget() {
    let world = world();
    let told = "does not name its source";
    world.run(FIT).succeeds().says(&[told, "write source = \""]);
    world.write("schema.toml", SCHEMA.replace("name = \"visits\"", "name = \"others\"\nepsilon_cap = 1.5"));
    world.run(FIT).exits(4).says(&[told, "0.5"]);
    world.write("schema.toml", named("visits", 1.5)).run(FIT).exits(4).says(&["0.5"]);
    let named = world.run(&FIT.replace("--epsilon 1 ", "--epsilon 0.4 ")).succeeds();
    assert!(!named.stderr.contains(told), "{named}");
}

/// A schema with a source and a cap.
fn named(table: &str, cap: f64) -> String {
    let source = "0123456789abcdef0123456789abcdef";
    SCHEMA.replace("name = \"visits\"", &format!("name = \"{table}\"\nsource = \"{source}\"\nepsilon_cap = {cap:?}"))
}

#[test]
fn a_fit_beyond_the_cap_is_refused_and_not_charged() {
    let world = world();
    world.write("schema.toml", named("visits", 1.5)).run("ledger open schema.toml").succeeds();
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
    world.write("schema.toml", named("visits", 1.5)).run("ledger open schema.toml").succeeds();
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
    let lines: Vec<&str> = honest.split_inclusive('\n').collect();
    world.write("ledger.jsonl", lines[..lines.len() - 2].concat());
    world.run("ledger verify ledger.jsonl").exits(3).says(&["removed at the end"]);
    // The last one stands in the head, too.
    world.write("ledger.jsonl", lines[..lines.len() - 1].concat()).run("ledger verify ledger.jsonl").succeeds();
}

/// A ledger lies where somebody puts it: what was spent moves with it and its head.
#[test]
fn a_moved_ledger_is_named() {
    let world = world();
    world.write("schema.toml", named("visits", 1.5)).run("ledger open schema.toml").succeeds();
    world.run(FIT).succeeds();
    std::fs::create_dir(world.path("safe")).unwrap();
    for name in ["ledger.jsonl", "ledger.jsonl.head"] {
        std::fs::rename(world.path(name), world.path(&format!("safe/{name}"))).unwrap();
    }
    let second = FIT.replace("model.safetensors", "second.safetensors");
    world.run(&second).exits(4).says(&["no ledger of the source", "--ledger"]);
    let moved = format!("{second} --ledger safe/ledger.jsonl");
    world.run(&moved).exits(4).says(&["left under the cap"]);
    world.run(&moved.replace("--epsilon 1 ", "--epsilon 0.4 ")).succeeds();
    // A run file can name it for good.
    world.write("holdout.csv", Hospital::new(200, 5_000_001).csv());
    world.write(
        "run.toml",
        "[input]\ntable = \"visits.csv\"\nschema = \"schema.toml\"\nholdout = \"holdout.csv\"\nledger = \
         \"safe/ledger.jsonl\"\n[fit]\nepsilon = 1.0\ndelta = 1e-5\n[cohort]\nrows = 60\n",
    );
    world.run("plan run.toml").exits(4).says(&["does not leave enough"]);
    world.run("run run.toml -o out").exits(4).says(&["left under the cap"]);
    assert!(!world.path("ledger.jsonl").exists());
}

/// A ledger that is put back from an old copy lacks lines that its head knows; with an old head beside it nobody can tell.
#[test]
fn a_ledger_older_than_its_head_is_refused() {
    let world = world();
    world.run(FIT).succeeds();
    let copy = world.text("ledger.jsonl");
    world.run(&FIT.replace("model.safetensors", "second.safetensors")).succeeds();
    let (ledger, head) = (world.text("ledger.jsonl"), world.text("ledger.jsonl.head"));
    world.write("ledger.jsonl", copy);
    world.run(&FIT.replace("model.safetensors", "third.safetensors")).exits(3).says(&["removed at the end", "restore"]);
    // A copy that is newer than its head has grown since.
    world.write("ledger.jsonl", ledger).write("ledger.jsonl.head", head);
    world.run(&FIT.replace("model.safetensors", "third.safetensors")).succeeds();
}

/// Another process holds the ledger's lock: who waits for it says so, and goes on when it is free.
#[test]
fn who_waits_for_the_lock_says_so() {
    use std::io::{BufRead, BufReader};
    let world = world();
    world.run(FIT).succeeds();
    let held = std::fs::File::open(world.path("ledger.jsonl")).unwrap();
    held.lock().unwrap();
    let mut command = world.command(&FIT.replace("model.safetensors", "second.safetensors"));
    let mut fit = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(fit.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("another process holds the ledger's lock")), "it waits without a word");
    assert!(fit.try_wait().unwrap().is_none() && !world.path("second.safetensors").exists());
    held.unlock().unwrap();
    said.for_each(drop);
    assert!(fit.wait().unwrap().success() && world.path("second.safetensors").exists());
}

/// A folder that cannot have a ledger is told, and where else it may lie.
#[test]
fn a_ledger_that_cannot_be_written_names_the_way_out() {
    let world = world();
    std::fs::create_dir(world.path("ledger.jsonl")).unwrap();
    world.run(FIT).exits(1).says(&["the ledger cannot be written", "--ledger"]);
    assert!(!world.path("model.safetensors").exists());
    world.run(&format!("{FIT} --ledger other.jsonl")).succeeds();
}

/// A ledger of version 0.1.0, as it wrote it: two fits, of which one was resumed twice, and one that was refused.
const OLDER: &str = include_str!("../../fixtures/ledger/version-0.1.0.jsonl");

/// It is read and gone on with, its fits count against every source, and `check` names them.
#[test]
fn fits_of_affected_versions_are_named() {
    let world = world();
    let older = OLDER.lines().count();
    let last: serde_json::Value = serde_json::from_str(OLDER.lines().last().unwrap()).unwrap();
    world.write("ledger.jsonl", OLDER).write("schema.toml", named("visits", 3.0));
    world.write("ledger.jsonl.head", format!("{older} {}\n", last["hash"].as_str().unwrap()));
    world.run(FIT).succeeds();
    world.run(&FIT.replace("model.safetensors", "second.safetensors")).exits(4);
    let ledger = world.text("ledger.jsonl");
    assert!(
        ledger.starts_with(OLDER) && ledger.lines().nth(older).unwrap().contains(r#""kind":"continued","version":4"#)
    );
    let checked = world.run("ledger check ledger.jsonl --json").succeeds().json();
    let fits = checked["fits"].as_array().unwrap();
    let holes = |fit: usize| -> Vec<u64> {
        fits[fit]["findings"].as_array().unwrap().iter().map(|finding| finding["hole"].as_u64().unwrap()).collect()
    };
    assert_eq!([0, 1, 2].map(holes), [vec![1, 5], vec![1, 2, 3, 5, 6], vec![]], "{checked}");
    assert_eq!((fits.len(), &fits[2]["version"]), (3, &env!("CARGO_PKG_VERSION").into()));
    let figure = |fit: usize, hole: u64| {
        let finding = fits[fit]["findings"].as_array().unwrap().iter().find(|finding| finding["hole"] == hole).unwrap();
        [&finding["epsilon"], &finding["delta"]].map(|figure| figure.as_f64().unwrap())
    };
    // Histograms alone, with sqrt(2) of their sensitivity.
    let [epsilon, delta] = figure(0, 5);
    assert!((1.4..1.5).contains(&(epsilon / 0.499956)) && delta == 1e-5, "{epsilon}");
    // Three releases, and twice the group.
    let [three, twice] = [figure(1, 3), figure(1, 5)];
    assert!((three[0] / 1.499867 - 3.0).abs() < 1e-4 && (three[1] / 3e-5 - 1.0).abs() < 1e-9, "{three:?}");
    assert!((twice[0] / 1.499867 - 2.0).abs() < 1e-4 && twice[1] > 5e-5, "{twice:?}");
    let text = world.run("ledger check ledger.jsonl").succeeds().stdout;
    assert!(text.contains("2 of 3 fits") && text.contains("advisory"), "{text}");
    // A process of that version showed files before it named them.
    world.write("schema.toml", SCHEMA);
    world.run("ledger show ledger.jsonl").succeeds();
}

/// Throwaway fits for an audit are on record, apart, and no cap counts them; an audit without fits needs no ledger.
#[test]
fn throwaway_fits_are_on_record_and_no_cap_counts_them() {
    let world = world();
    world.write("schema.toml", named("visits", 1.0)).run("ledger open schema.toml").succeeds();
    world.write("visits.csv", Hospital::new(400, FIRST_PATIENT).csv());
    world.write("holdout.csv", Hospital::new(200, 5_000_001).csv());
    world.run(FIT).succeeds();
    world.run("generate model.safetensors --rows 400 -o cohort.csv").succeeds();
    let audit = "audit --members visits.csv --holdout holdout.csv --synthetic cohort.csv --schema schema.toml";
    let before = world.text("ledger.jsonl");
    world.run(audit).runs();
    assert_eq!(world.text("ledger.jsonl"), before, "an audit without fits leaves no line");
    let elsewhere = format!("{audit} --model model.safetensors --canaries 40");
    world.run(&format!("{elsewhere} --ledger none.jsonl")).exits(3).says(&["throwaway fits", "none.jsonl", "--ledger"]);
    world.run(&elsewhere).runs();
    let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
    let last = shown["lines"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["kind"], &last["test"], &last["fits"]), (&"rehearsed".into(), &"canaries".into(), &1.into()));
    assert!(shown["epsilon"].as_f64().unwrap() <= 1.0 && last["epsilon"].as_f64().unwrap() > 0.9, "{shown}");
    let text = world.run("ledger show ledger.jsonl").succeeds().stdout;
    assert!(text.contains("no cap counts them") && text.contains("canaries: at most 1 fits at epsilon"), "{text}");
}
