//! Folders that are bad, that change, and fits of them that were broken off.

use crate::resume::seal_model;
use crate::world::{SECRET, World};
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

const SCHEMA: &str = r#"
[linked]
name = "practice"

[[table]]
name = "people"
key = "id"
origin = "born"

[[table.column]]
name = "id"
kind = "identifier"

[[table.column]]
name = "born"
kind = "datetime"
type = "date32"
min = "1920-01-01"
max = "2005-12-31"
domain_from = "public"

[[table.column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
domain_from = "public"

[[table]]
name = "visits"
parent = "people"
links = { who = "people" }
order = "start"
max_rows = 5

[[table.column]]
name = "who"
kind = "identifier"

[[table.column]]
name = "start"
kind = "datetime"
type = "timestamp[s, UTC]"
resolution = "minute"
min = "2010-01-01T00:00:00Z"
max = "2020-12-31T23:59:00Z"
domain_from = "public"

[[table.column]]
name = "class"
kind = "categorical"
categories = ["a", "b"]
domain_from = "public"
"#;

const FIT: &str =
    "fit train --schema schema.toml --epsilon 5 --delta 1e-5 --model independent --force -o model.safetensors";

/// A folder of sixty people with three visits each.
fn practice(world: &World, folder: &str, first: usize) {
    fs::create_dir(world.path(folder)).unwrap();
    let people = (first..first + 60).map(|n| format!("p{n},19{}-03-01,{}\n", 30 + n % 60, ["F", "M"][n % 2]));
    world.write(&format!("{folder}/people.csv"), format!("id,born,sex\n{}", people.collect::<String>()));
    let visit =
        |n: usize| format!("p{},201{}-0{}-11T08:30:00Z,{}\n", first + n % 60, n % 10, n % 9 + 1, ["a", "b"][n % 2]);
    world.write(
        &format!("{folder}/visits.csv"),
        format!("who,start,class\n{}", (0..180).map(visit).collect::<String>()),
    );
}

fn world() -> World {
    let world = World::new().of_few_steps();
    practice(&world, "train", 0);
    world.write("schema.toml", SCHEMA);
    world
}

/// The first visits are of these moments.
fn with_moments(world: &World, moments: &[&str]) {
    let text = world.text("train/visits.csv");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (line, moment) in lines[1..].iter_mut().zip(moments) {
        let cells: Vec<&str> = line.split(',').collect();
        *line = [cells[0], moment, cells[2]].join(",");
    }
    world.write("train/visits.csv", lines.join("\n") + "\n");
}

/// Moments far outside of the range are moved into it as any value is, and those with a zone are read in UTC.
#[test]
fn moments_of_all_years_and_zones_are_read() {
    let world = world();
    let moments = [
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2015-06-01T10:00:00+02:00",
        "2015-06-01T10:00:00-11:30",
        "2015-06-01 10:00",
        "2015-06-01",
        "",
    ];
    with_moments(&world, &moments);
    let told = "column `start`: fewer than 10 values outside the domain were moved";
    // At epsilon 5 the noise of sixty people leaves a whole column missing in one fit of ten.
    world.run(&FIT.replace("--epsilon 5", "--epsilon 200")).succeeds().says(&[told]);
    world.run("generate model.safetensors --rows 60 --format csv -o cohort").succeeds();
    let cohort = world.text("cohort/visits.csv");
    let years = cohort.lines().skip(1).filter_map(|line| line.split(',').nth(1)?.get(..4)?.parse::<i32>().ok());
    assert!(years.clone().count() > 0 && years.clone().all(|year| (2010..=2020).contains(&year)), "{cohort}");
    world.run("infer model.safetensors train --score -o scores.csv").succeeds();
    let scores = world.text("scores.csv");
    assert!(!scores.contains("NaN"), "{scores}");
    world.run("inspect train --assume-public -o drafted.toml").succeeds();
    world.run(&FIT.replace("schema.toml", "drafted.toml").replace("-o model", "--ledger l.jsonl -o drafted")).runs();
    world.run("generate drafted.safetensors --rows 60 --format parquet -o far").succeeds();
}

#[test]
fn a_moment_that_is_none_is_named() {
    let world = world();
    for moment in
        [SECRET, "2015-02-30T00:00:00Z", "2015-06-01T10:00:00 CEST", "10000-01-01T00:00:00Z", "99999999999999999999"]
    {
        with_moments(&world, &["2015-06-01T10:00:00Z", moment]);
        world.refuses(3, FIT, &["visits.csv", "row 2", "`start`", "not of kind datetime", "remedy"]);
    }
    let format = "resolution = \"minute\"\nformat = \"%Y-%m-%dT%H:%M:%SZ\"";
    world.write("schema.toml", SCHEMA.replacen("resolution = \"minute\"", format, 1));
    with_moments(&world, &["2015-06-01T10:00:00Z", "2015-06-01T10:00:00+02:00"]);
    world.refuses(3, FIT, &["visits.csv", "row 2", "`start`", "not of kind datetime"]);
}

/// A table is replaced once the ledger has its line, so that fit and audit could see two of them.
#[test]
fn a_folder_that_is_changed_during_a_run_is_refused() {
    let world = world();
    practice(&world, "holdout", 200);
    world.write(
        "run.toml",
        "[input]\ntable = \"train\"\nschema = \"schema.toml\"\nholdout = \"holdout\"\n\
         [fit]\nepsilon = 5\ndelta = 1e-5\n[cohort]\nrows = 60\n",
    );
    world.write("other.csv", world.text("train/visits.csv").replace(",a\n", ",b\n"));
    let run = world.command("run run.toml -o out").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !world.path("ledger.jsonl").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing happened");
        std::thread::sleep(Duration::from_millis(2));
    }
    fs::rename(world.path("other.csv"), world.path("train/visits.csv")).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("visits.csv: the table was changed while the run read it"), "{said}");
    assert!(!world.path("out/report.html").exists());
    // It is gone on with by the tables that it began with alone.
    world.run("run run.toml -o out --resume").exits(3).says(&["no unfinished fit of this request"]);
}

/// A fit that was killed before its model got its name is ended where the ledger names the model: nothing is drawn and nothing
/// is spent again. Where the ledger does not name it, nobody can read it, and nothing was told of what was not kept: the fit
/// goes on.
#[test]
fn a_fit_that_was_broken_off_is_ended() {
    let world = world();
    world.run(FIT).succeeds();
    let (ledger, model) = (world.text("ledger.jsonl"), world.read("model.safetensors"));
    let lines: Vec<&str> = ledger.lines().collect();
    let [opened, table, intent, drawn, kept, _] = lines[..] else { panic!("{ledger}") };
    let intent_of: serde_json::Value = serde_json::from_str(intent).unwrap();
    let next = format!("model.safetensors.{}.next", intent_of["fit"].as_str().unwrap());
    seal_model(&world, &next);
    let sealed = world.read(&next);
    let refused = world.run(FIT).exits(3).says(&["an unfinished fit left this file", "--resume"]);
    assert!(refused.stderr.contains(&next), "{refused}");
    world.run(&format!("{FIT} --resume")).succeeds();
    assert!(world.read("model.safetensors") == model && !world.path(&next).exists());
    let spent = || {
        let told = world.run("ledger show ledger.jsonl --json").succeeds().json();
        told["epsilon"].as_f64().is_some_and(|spent| spent > 4.9 && spent <= 5.0)
    };
    assert!(spent());
    assert_eq!(world.text("ledger.jsonl"), ledger);

    fs::remove_file(world.path("model.safetensors")).unwrap();
    world.run(&format!("{FIT} --resume")).exits(3).says(&["the fit is spent", "costs its epsilon again"]);
    let cut = |lines: &[&str], next: &str| {
        let next: serde_json::Value = serde_json::from_str(next).unwrap();
        world.write("ledger.jsonl", lines.join("\n") + "\n");
        world.write("ledger.jsonl.head", format!("{} {}\n", lines.len(), next["previous"].as_str().unwrap()));
    };
    // As it was before the model was named; what the ledger names then is gone.
    cut(&[opened, table, intent, drawn, kept], lines[5]);
    world.write(&next, sealed);
    world.run(&format!("{FIT} --resume")).exits(3).says(&["the checkpoint that the ledger names", "the fit is spent"]);
    // As it was before anything was kept.
    cut(&[opened, table, intent, drawn], kept);
    world.run(&format!("{FIT} --resume")).succeeds();
    assert!(world.read("model.safetensors") != model && spent());
}
