//! The net: fits of neighbouring tables, with the same noise, that may differ in nothing that anybody gets.
//!
//! A fit of a random table is recorded: each mechanism's value before noise. Then a unit is put in at a random place, a
//! hostile one as often as not, and the fit is made again with the same noise and told what the first one released. Each
//! mechanism says how far its own value lies from the recorded one, in parts of the sensitivity that its noise pays for:
//! never more than 1. And the model, the cohort, the exit codes and what is printed for others have to be the same, byte
//! for byte: what differs got past the mechanisms.
//!
//! `SYNTHWARD_NIGHT=N` makes N schemas of each kind instead of five, each with every hostile unit instead of one.

mod tables;

use crate::world::{Outcome, World as Folder};
use std::collections::BTreeMap;
use tables::{Hostile, Shape, World};

/// Rounding of the distance itself.
const ROUNDING: f64 = 1e-9;

const STEPS: &str = "6";

/// Schemas of each kind.
fn schemas() -> u64 {
    std::env::var("SYNTHWARD_NIGHT").ok().and_then(|count| count.parse().ok()).unwrap_or(5)
}

/// The hostile units of a schema.
fn hostile(number: u64) -> Vec<Hostile> {
    let all = Hostile::ALL;
    if std::env::var("SYNTHWARD_NIGHT").is_ok() { all.to_vec() } else { vec![all[number as usize % all.len()]] }
}

struct Fit<'a> {
    folder: &'a Folder,
    model: &'a str,
    discover: bool,
    shape: Shape,
}

impl Fit<'_> {
    fn table(&self) -> &str {
        if self.shape == Shape::Folder { "folder" } else { "table.csv" }
    }

    fn run(&self, arguments: &str, tape: &str) -> Outcome {
        let mut command = self.folder.command(arguments);
        command.env("SYNTHWARD_TEST_NOISE", "11");
        command.env("SYNTHWARD_TEST_STEPS", STEPS).env("SYNTHWARD_TEST_MIXTURE_STEPS", STEPS);
        command.env("SYNTHWARD_TEST_DRAWN_UNITS", "500");
        command.env("SYNTHWARD_TEST_TAPE", format!("{tape}:{}", self.folder.path("tape").display()));
        Outcome::new(arguments.into(), command.output().unwrap())
    }

    /// What somebody gets who is given the model and the cohort: by name.
    fn received(&self, texts: &[String], world: &World, tape: &str) -> BTreeMap<&'static str, Vec<u8>> {
        for ((name, _), text) in world.files.iter().zip(texts) {
            self.folder.write(name, text);
        }
        let discover = if self.discover { " --discover-epsilon 1" } else { "" };
        let fit = format!(
            "fit {} --schema schema.toml --model {} --epsilon 3 --delta 1e-6{discover} --ledger {tape}.jsonl --json -o model",
            self.table(),
            self.model
        );
        let fitted = self.run(&fit, tape);
        let code = format!("{:?}", fitted.code).into_bytes();
        if fitted.code != Some(0) {
            return BTreeMap::from([("exit code", code), ("refusal", fitted.stderr.into_bytes())]);
        }
        let model = self.folder.read("model");
        let cohort = if self.shape == Shape::Folder { "cohort" } else { "cohort.csv" };
        let drawn = self.folder.run(&format!("generate model --rows 20 --seed 3 -o {cohort}"));
        let files = self.folder.files().into_iter().filter(|(path, _)| path.starts_with(self.folder.path(cohort)));
        let cohort: Vec<u8> = files.flat_map(|(_, bytes)| bytes).collect();
        let said = [fitted.stdout, drawn.stdout, drawn.stderr].concat().into_bytes();
        for name in ["model", "cohort", "cohort.csv"] {
            let path = self.folder.path(name);
            let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
        BTreeMap::from([("exit code", code), ("model", model), ("cohort", cohort), ("messages", said)])
    }
}

/// How far the releases of each mechanism moved, at most.
fn farthest(moved: &serde_json::Value) -> BTreeMap<String, f64> {
    moved.as_array().unwrap().iter().fold(BTreeMap::new(), |mut farthest, one| {
        let most = farthest.entry(one["mechanism"].as_str().unwrap().to_owned()).or_insert(0.0f64);
        // JSON has no infinity.
        *most = most.max(one["distance"].as_f64().unwrap_or(f64::INFINITY));
        farthest
    })
}

/// Every model and discovery on or off, for one shape.
fn neighbours(shape: Shape, models: &[&str], discovery: &[bool]) {
    let mut largest: BTreeMap<String, f64> = BTreeMap::new();
    let (mut pairs, mut faults) = (0, Vec::new());
    for (kind, (&model, &discover)) in
        models.iter().flat_map(|model| discovery.iter().map(move |d| (model, d))).enumerate()
    {
        for number in 0..schemas() {
            let seed = 1000 * kind as u64 + number;
            let mut world = World::new(shape, discover, seed);
            let folder = Folder::new();
            std::fs::create_dir(folder.path("folder")).unwrap();
            folder.write("schema.toml", &world.schema);
            let fit = Fit { folder: &folder, model, discover, shape };
            let first = fit.received(&world.texts(), &world, "record");
            let name = format!("{shape:?} {model} discover={discover} schema {seed}");
            assert!(first.contains_key("model"), "{name}: {}", String::from_utf8_lossy(&first["refusal"]));
            for hostile in hostile(seed) {
                pairs += 1;
                let texts = world.with(hostile);
                let second = fit.received(&texts, &world, "replay");
                let name = format!("{name} {hostile:?}");
                if let Some(refusal) = second.get("refusal") {
                    faults.push(format!("{name}: refused: {}", String::from_utf8_lossy(refusal)));
                    continue;
                }
                for what in second.keys().filter(|what| first[*what] != second[*what]) {
                    faults.push(format!("{name}: another {what}"));
                }
                for (mechanism, distance) in farthest(&folder.json("tape.moved")) {
                    if distance > 1.0 + ROUNDING {
                        faults.push(format!("{name}: a {mechanism} moved by {distance} of its sensitivity"));
                    }
                    let most = largest.entry(mechanism).or_default();
                    *most = most.max(distance);
                }
            }
        }
    }
    println!("{shape:?}: {pairs} pairs; the farthest move, in parts of what was paid: {largest:?}");
    assert!(faults.is_empty(), "{} faults in {pairs} pairs\n{}", faults.len(), faults.join("\n"));
    assert!(largest.values().all(|&most| most > 0.0), "a unit that moves nothing tests nothing: {largest:?}");
}

const MODELS: [&str; 4] = ["independent", "marginal", "vae", "diffusion"];

#[test]
fn rows_that_are_persons() {
    neighbours(Shape::Flat, &MODELS, &[false, true]);
}

#[test]
fn several_rows_a_person() {
    neighbours(Shape::Bag, &MODELS, &[false, true]);
}

/// What `run` puts down for recipients, its report among it. The exit code is left out: it tells the verdict of an audit of
/// the real rows, to whoever ran it.
#[test]
fn what_goes_with_a_cohort() {
    for (number, shape) in [Shape::Flat, Shape::Bag, Shape::History, Shape::Folder].into_iter().enumerate() {
        let mut world = World::new(shape, false, 70 + number as u64);
        let folder = Folder::new();
        std::fs::create_dir(folder.path("folder")).unwrap();
        folder.write("schema.toml", &world.schema);
        let fit = Fit { folder: &folder, model: "marginal", discover: false, shape };
        let holdout = World::holdout(shape, 70 + number as u64);
        std::fs::create_dir(folder.path("holdout")).unwrap();
        for ((name, _), text) in holdout.files.iter().zip(holdout.texts()) {
            let name = name.trim_start_matches("folder/");
            folder.write(&format!("holdout/{name}"), text);
        }
        let holdout = if shape == Shape::Folder { "holdout" } else { "holdout/table.csv" };
        folder.write(
            "run.toml",
            format!(
                "[input]\ntable = \"{}\"\nholdout = \"{holdout}\"\nschema = \"schema.toml\"\n\
                 [fit]\nepsilon = 3.0\ndelta = 1e-6\nmodel = \"{}\"\n[cohort]\nrows = 60\nseed = 3\n",
                fit.table(),
                fit.model
            ),
        );
        let names: Vec<&str> = world.files.iter().map(|file| file.0).collect();
        let kit = |texts: &[String], tape: &str| {
            for (name, text) in names.iter().zip(texts) {
                folder.write(name, text);
            }
            let ran = fit.run(&format!("run run.toml --ledger {tape}.jsonl -o out"), tape);
            assert!(matches!(ran.code, Some(0 | 5 | 6)), "{ran}");
            let mut files = folder.files();
            files.retain(|path, _| {
                let path = path.strip_prefix(folder.path("out")).ok();
                let name = path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
                ["model.safetensors", "cohort", "release."].iter().any(|kind| name.starts_with(kind))
            });
            std::fs::remove_dir_all(folder.path("out")).unwrap();
            files
        };
        let first = kit(&world.texts(), "record");
        assert!(first.len() >= 4, "a model, a cohort and two reports: {:?}", first.keys());
        let texts = world.with(Hostile::ALL[number]);
        let second = kit(&texts, "replay");
        let differing: Vec<_> = first.iter().filter(|(path, bytes)| second.get(*path) != Some(*bytes)).collect();
        assert!(differing.is_empty() && first.len() == second.len(), "{shape:?}: {:?}", differing[0].0);
    }
}

#[test]
fn histories() {
    neighbours(Shape::History, &MODELS[..3], &[false]);
}

#[test]
fn folders() {
    neighbours(Shape::Folder, &MODELS[..3], &[false]);
}
