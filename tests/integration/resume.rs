//! A fit that is stopped at any moment: what it leaves, and how it goes on.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::{World, sha256};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use synthward::model::AnyModel;
use synthward_privacy::ledger::{DRAWN_SINCE, Ledger, Record};

const SMALL: &str = r#"
[table]
name = "stays"
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
const FIT: &str = "fit stays.csv --schema schema.toml --epsilon 2 --threads 1 -q -o model.safetensors --model";
/// Before this, a process that should have ended hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the number of units is to be learnt, and with it whether they are few.
fn learning() -> String {
    SMALL.replace("units = 120\n", "")
}

/// A table that a fit is soon done with.
fn world() -> World {
    let world = World::new();
    let rows = (0..120).map(|i| format!("{},{}\n", i * 37 % 100, if i % 3 == 0 { "F" } else { "M" }));
    world.write("stays.csv", format!("age,sex\n{}", rows.collect::<String>()));
    world.write("schema.toml", SMALL);
    world
}

fn start(world: &World, arguments: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_synthward"))
        .args(arguments.split_whitespace())
        .current_dir(world.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A network is trained: after the counts, a step was kept.
fn trains(world: &World) -> bool {
    std::fs::read_to_string(world.path("ledger.jsonl")).is_ok_and(|ledger| ledger.matches("\"checkpoint\"").count() > 1)
}

/// Waits until it is so, or the process has ended.
fn wait_until(process: &mut Child, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while process.try_wait().unwrap().is_none() && !is_so() {
        assert!(began.elapsed() < PATIENCE, "it hangs");
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// The file that the fit keeps beside its model, with this at the end of its name.
fn beside(world: &World, ending: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(world.path(".")).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.strip_prefix("model.safetensors.")
            .is_some_and(|rest| rest.split_once('.').is_some_and(|(_, e)| e == ending))
    };
    entries.into_iter().find(is_it)
}

/// How many lines of each kind the ledger has, after it was verified.
fn lines(world: &World) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    if world.path("ledger.jsonl").exists() {
        world.run("ledger verify ledger.jsonl").succeeds();
        let ledger = world.run("ledger show ledger.jsonl --json").succeeds().json();
        for line in ledger["lines"].as_array().unwrap() {
            *count.entry(line["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    count
}

/// A model under its own name is whole, and the ledger names it: a line counts once it stands in the head.
fn assert_whole(world: &World) {
    if world.path("model.safetensors").exists() {
        AnyModel::read(&world.path("model.safetensors")).unwrap();
        let ledger = world.text("ledger.jsonl") + &world.text("ledger.jsonl.head");
        assert!(ledger.contains(&sha256(&world.read("model.safetensors"))));
    }
}

/// The fit has ended, was paid for once, and has left nothing but what it is for.
fn assert_done(world: &World) {
    assert_whole(world);
    let lines = lines(world);
    assert_eq!((lines["intent"], lines["outcome"]), (1, 1), "{lines:?}");
    let spent = world.run("ledger show ledger.jsonl --json").succeeds().json()["epsilon"].as_f64().unwrap();
    assert!(spent > 1.99 && spent <= 2.0, "{spent}");
    let mut names: Vec<String> = std::fs::read_dir(world.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with(".synthward-"))
        .collect();
    names.sort();
    assert_eq!(names, ["ledger.jsonl", "ledger.jsonl.head", "model.safetensors", "schema.toml", "stays.csv"]);
    world.run("generate model.safetensors --rows 50 --seed 1 -o cohort.parquet").succeeds();
}

/// Processes are killed again and again: after a random time, or the moment a file appears or the ledger grows. Each is
/// gone on with. `SYNTHWARD_KILLS` asks for another number of kills.
#[test]
fn a_fit_may_be_killed_at_any_moment() {
    let kills: usize = std::env::var("SYNTHWARD_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(25);
    let mut rng = ChaCha8Rng::seed_from_u64(50);
    let (mut killed, mut fits) = (0, 0);
    let mut moments: BTreeMap<&str, usize> = BTreeMap::new();
    while killed < kills {
        let world = world();
        let (model, schema) = [
            ("vae", SMALL.to_owned()),
            ("marginal", learning()),
            ("independent", learning()),
            ("diffusion", SMALL.to_owned()),
        ][fits % 4]
            .clone();
        world.write("schema.toml", schema);
        fits += 1;
        // After so many kills of one fit it is let be.
        for attempt in 0.. {
            let resume = if lines(&world).contains_key("intent") { "--resume" } else { "" };
            let mut process = start(&world, &format!("{FIT} {model} {resume}"));
            if killed < kills && attempt < 10 {
                let size = |name: &str| std::fs::metadata(world.path(name)).map_or(0, |file| file.len());
                let ledger = size("ledger.jsonl");
                let moment = match rng.random_range(0..5) {
                    0 => "the ledger grows",
                    1 => "a checkpoint is written",
                    2 => "the model is written",
                    _ => "some time has passed",
                };
                let time = Duration::from_millis(rng.random_range(0..800));
                let began = Instant::now();
                wait_until(&mut process, || match moment {
                    "the ledger grows" => size("ledger.jsonl") > ledger,
                    "a checkpoint is written" => beside(&world, "checkpoint.next").is_some(),
                    "the model is written" => beside(&world, "next").is_some(),
                    _ => began.elapsed() >= time,
                });
                if process.try_wait().unwrap().is_none() {
                    process.kill().unwrap();
                    *moments.entry(moment).or_default() += 1;
                    killed += 1;
                }
            }
            let ended = process.wait_with_output().unwrap();
            assert!(lines(&world).get("intent").is_none_or(|&intents| intents == 1));
            assert_whole(&world);
            match ended.status.code() {
                Some(0) => {
                    assert_done(&world);
                    break;
                }
                Some(code) => panic!("exit code {code}: {}", String::from_utf8_lossy(&ended.stderr)),
                None => {}
            }
        }
    }
    println!("{killed} kills of {fits} fits: {moments:?}");
}

/// Ctrl-C: the step is taken to its end, the training is kept, and the user is told how to go on.
#[cfg(unix)]
#[test]
fn a_training_that_is_interrupted_is_kept() {
    let world = world();
    let mut process = start(&world, &format!("{FIT} vae"));
    wait_until(&mut process, || trains(&world));
    let checkpoint = beside(&world, "checkpoint").unwrap();
    let name = checkpoint.file_name().unwrap().to_str().unwrap();
    interrupt(&process);
    let ended = process.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("steps are kept") && said.contains("--resume"), "{said}");
    assert_private(&checkpoint);
    world.run(&format!("{FIT} vae")).exits(3).says(&["unfinished", "--resume"]);
    world.run(&format!("{FIT} vae --resume --seed 1")).exits(3).says(&["no unfinished fit"]);
    world.run(&format!("{FIT} marginal --resume")).exits(3).says(&["no unfinished fit"]);
    world.run(&format!("generate {name} --rows 9 --seed 1 -o c.parquet")).exits(3).says(&["not a model"]);
    // As if it had died while it wrote the next one.
    world.write(&format!("{name}.next"), "half of a checkpoi");
    world.run(&format!("{FIT} vae --resume")).succeeds();
    let before = world.read("model.safetensors");
    // As if it had died before the model got its name.
    seal_model(&world, &name.replace("checkpoint", "next"));
    world.run(&format!("{FIT} vae --resume")).succeeds();
    world.run(&format!("{FIT} vae --resume")).succeeds();
    assert!(world.read("model.safetensors") == before, "a fit that has ended is left as it is");
    let lines = lines(&world);
    assert!(lines["resumed"] == 1 && lines["checkpoint"] >= 2, "{lines:?}");
    assert_done(&world);
}

/// A checkpoint that is not the last one that the ledger names would take steps again that somebody may have seen.
#[cfg(unix)]
#[test]
fn an_old_checkpoint_is_refused() {
    let world = world();
    let interrupted = |resume: &str| {
        let ledger = world.path("ledger.jsonl");
        let kept = || std::fs::read_to_string(&ledger).unwrap_or_default().matches("\"checkpoint\"").count();
        let before = kept();
        let mut process = start(&world, &format!("{FIT} vae {resume}"));
        // The first that is kept are the counts, before there is a training.
        wait_until(&mut process, || kept() > before + usize::from(before == 0));
        interrupt(&process);
        assert_eq!(process.wait().unwrap().code(), Some(130));
        std::fs::read(beside(&world, "checkpoint").unwrap()).unwrap()
    };
    let old = interrupted("");
    let new = interrupted("--resume");
    let checkpoint = beside(&world, "checkpoint").unwrap();
    std::fs::write(&checkpoint, &old).unwrap();
    world.run(&format!("{FIT} vae --resume")).exits(3).says(&["names last", "the fit is spent"]);
    // As if it had died before the new one got its name.
    std::fs::write(checkpoint.with_extension("checkpoint.next"), &new).unwrap();
    world.run(&format!("{FIT} vae --resume")).succeeds();
    assert_done(&world);
}

/// While a process works, another goes on with its fit: the first one writes nothing any more.
#[cfg(unix)]
#[test]
fn who_goes_on_with_a_fit_shuts_out_the_others() {
    let world = world();
    let mut first = start(&world, &format!("{FIT} vae"));
    wait_until(&mut first, || trains(&world));
    // Until it has let the ledger go.
    std::thread::sleep(Duration::from_millis(100));
    signal(&first, "-STOP");
    world.run(&format!("{FIT} vae --resume")).succeeds();
    let model = world.read("model.safetensors");
    signal(&first, "-CONT");
    let ended = first.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("another process"));
    assert!(world.read("model.safetensors") == model);
    assert_eq!(lines(&world)["outcome"], 1);
}

/// The ledger and its head as they were before the last line, as if the process had died before it wrote that.
fn without_last_line(world: &World) {
    let ledger = world.text("ledger.jsonl");
    let lines: Vec<&str> = ledger.lines().collect();
    let (last, before) = lines.split_last().unwrap();
    let previous = serde_json::from_str::<serde_json::Value>(last).unwrap()["previous"].as_str().unwrap().to_owned();
    world.write("ledger.jsonl", before.join("\n") + "\n");
    world.write("ledger.jsonl.head", format!("{} {previous}\n", before.len()));
}

/// The model as it lay before it got its name: sealed under the key that the ledger's last line tells.
pub fn seal_model(world: &World, next: &str) {
    let ledger = world.text("ledger.jsonl");
    let outcome: serde_json::Value = serde_json::from_str(ledger.lines().last().unwrap()).unwrap();
    world.write(next, unsealed(&world.read("model.safetensors"), outcome["key"].as_str().unwrap()));
    std::fs::remove_file(world.path("model.safetensors")).unwrap();
}

/// Bytes under a key, or what they were before: ChaCha20 does both.
pub fn unsealed(bytes: &[u8], key: &str) -> Vec<u8> {
    let byte = |place: usize| u8::from_str_radix(&key[2 * place..2 * place + 2], 16).unwrap();
    let mut pad = vec![0; bytes.len()];
    ChaCha20Rng::from_seed(std::array::from_fn(byte)).fill_bytes(&mut pad);
    bytes.iter().zip(pad).map(|(byte, pad)| byte ^ pad).collect()
}

/// What the ledger names is published, and nothing is drawn anew. What it does not name nobody can read: the fit goes on from
/// what was named before.
#[cfg(unix)]
#[test]
fn what_the_ledger_names_is_not_made_again() {
    let world = world();
    world.run(&format!("{FIT} marginal")).succeeds();
    let model = world.read("model.safetensors");
    let ledger = world.run("ledger show ledger.jsonl --json").succeeds().json();
    let fit = ledger["lines"].as_array().unwrap().last().unwrap()["fit"].as_str().unwrap().to_owned();
    let next = format!("model.safetensors.{fit}.next");
    seal_model(&world, &next);
    let sealed = world.read(&next);
    world.run(&format!("{FIT} marginal --resume")).succeeds();
    assert!(world.read("model.safetensors") == model);
    assert_done(&world);

    // As if it had died once the ledger's head had the line that names it, or while the ledger got it: somebody may have read it.
    let ledger = world.text("ledger.jsonl");
    let before = ledger.lines().take(5).map(|line| format!("{line}\n")).collect::<String>();
    for cut in [before.len(), before.len() + 50, ledger.len() - 1] {
        std::fs::remove_file(world.path("model.safetensors")).unwrap();
        world.write("ledger.jsonl", &ledger[..cut]);
        world.run(&format!("{FIT} marginal --resume")).exits(3).says(&["the fit is spent"]);
        world.write(&next, &sealed);
        world.run(&format!("{FIT} marginal --resume")).succeeds();
        assert!(world.read("model.safetensors") == model);
    }

    // Before that, nobody could; nor what was kept before it.
    std::fs::remove_file(world.path("model.safetensors")).unwrap();
    std::fs::remove_file(world.path("cohort.parquet")).unwrap();
    without_last_line(&world);
    without_last_line(&world);
    world.write(&next, sealed);
    world.run(&format!("{FIT} marginal --resume")).succeeds();
    assert!(world.read("model.safetensors") != model);
    assert_done(&world);

    let world = self::world();
    let mut process = start(&world, &format!("{FIT} vae"));
    wait_until(&mut process, || trains(&world));
    interrupt(&process);
    process.wait().unwrap();
    let checkpoint = beside(&world, "checkpoint").unwrap();
    std::fs::rename(&checkpoint, checkpoint.with_extension("checkpoint.next")).unwrap();
    let before = lines(&world)["checkpoint"];
    world.run(&format!("{FIT} vae --resume")).succeeds();
    assert!(lines(&world)["checkpoint"] > before);
    assert_done(&world);
}

/// What a fit learns is told once it is kept, and not before: a disk that has room for the ledger and not for what was learnt
/// stands for a crash between the two. So the fit goes on, and tells one draw alone: that delta allows publishing one of 67 people,
/// and of 120 there are counted fewer in less than one fit of a million.
#[cfg(unix)]
#[test]
fn what_a_fit_learns_is_kept_before_it_is_told() {
    let world = world();
    let discovered = SMALL.replace("units = 120", "at_least_units = 50").replace("min = 0\nmax = 99\n", "");
    let discovered = discovered.replacen("domain_from = \"public\"", "kind_from = \"public\"", 1);
    let codes: String = (0..2000).map(|code| format!(", \"code {code}\"")).collect();
    world.write("schema.toml", discovered.replace(r#""F", "M""#, &format!(r#""F", "M"{codes}"#)));
    let told = ["as they were counted", "values outside the domain"];
    for model in ["independent", "marginal"] {
        let fit = format!("{} {model} --discover-epsilon 0.5 --delta 1.5e-2", FIT.replace(" -q", ""));
        let script = format!("trap '' XFSZ; ulimit -f 24; synthward {fit}");
        let broken = world.shell(&script).exits(1).says(&["checkpoint.next", "cannot be written"]);
        assert!(told.iter().all(|word| !broken.stderr.contains(word)), "{broken}");
        let kinds = lines(&world);
        assert!(kinds["drawn"] == 1 && !kinds.contains_key("checkpoint"), "{kinds:?}");
        world.run(&format!("{fit} --resume")).succeeds().says(&told[..1]);
        assert_done(&world);
        for name in ["model.safetensors", "cohort.parquet", "ledger.jsonl", "ledger.jsonl.head"] {
            std::fs::remove_file(world.path(name)).unwrap();
        }
    }
}

/// Killed once the intent is there, before or after the line that says that noise is drawn: the fit goes on, though it has a
/// number of units to learn.
#[cfg(unix)]
#[test]
fn a_fit_that_learns_goes_on() {
    for (moment, model) in [("intent", "independent"), ("drawn", "marginal"), ("checkpoint", "independent")] {
        let world = world();
        world.write("schema.toml", learning());
        let mut process = start(&world, &format!("{FIT} {model}"));
        let kind = format!(r#""kind":"{moment}""#);
        wait_until(&mut process, || {
            std::fs::read_to_string(world.path("ledger.jsonl")).is_ok_and(|ledger| ledger.contains(&kind))
        });
        signal(&process, "-KILL");
        process.wait().unwrap();
        world.run(&format!("{FIT} {model} --resume")).succeeds();
        assert_done(&world);
    }
}

/// A fit that an earlier version began told what it learnt before it kept it: it is not begun twice.
#[cfg(unix)]
#[test]
fn what_an_earlier_version_may_have_told_is_not_learnt_again() {
    let world = world();
    world.write("schema.toml", learning());
    world.run(&format!("{FIT} marginal")).succeeds();
    let ledger = Ledger::parse(&world.text("ledger.jsonl")).unwrap();
    let before = ledger.lines().iter().take_while(|line| !matches!(line.record, Record::Drawn { .. }));
    let (mut old, mut text) = (Ledger::default(), String::new());
    for line in before {
        let record = match &line.record {
            Record::Opened { table, .. } => Record::Opened { version: DRAWN_SINCE - 1, table: table.clone() },
            record => record.clone(),
        };
        text += &(old.append(record, line.time.clone(), line.who.clone()) + "\n");
    }
    world.write("ledger.jsonl", text).write("ledger.jsonl.head", old.head());
    std::fs::remove_file(world.path("model.safetensors")).unwrap();
    world.run(&format!("{FIT} marginal --resume")).exits(3).says(&["an earlier version", "the fit is spent"]);
}

/// Ctrl-C before anything is drawn: the table is not even there as a whole. The intent is taken back, and does not count.
#[cfg(unix)]
#[test]
fn a_fit_that_drew_nothing_is_taken_back() {
    let world = world();
    let mut process = Command::new(env!("CARGO_BIN_EXE_synthward"))
        .args(format!("{FIT} marginal").replace("stays.csv", "-").split_whitespace())
        .current_dir(world.path("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(&mut process, || {
        std::fs::read_to_string(world.path("ledger.jsonl")).is_ok_and(|l| l.contains("intent"))
    });
    // Until it has let the ledger go. The table never ends.
    std::thread::sleep(Duration::from_millis(100));
    let table = process.stdin.take();
    interrupt(&process);
    let ended = process.wait_with_output().unwrap();
    drop(table);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("nothing was drawn, and nothing is spent"), "{said}");
    let lines = lines(&world);
    assert!(lines["refused"] == 1 && !lines.contains_key("drawn"), "{lines:?}");
    assert_eq!(world.run("ledger show ledger.jsonl --json").succeeds().json()["epsilon"], 0.0);
    // There is nothing to go on with, and nothing was spent: it begins.
    world.run(&format!("{} marginal --resume", FIT.replace(" -q", ""))).succeeds().says(&["a new one begins"]);
    let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
    assert!(shown["epsilon"].as_f64().is_some_and(|spent| spent > 1.99 && spent <= 2.0), "{shown}");
}

/// Ctrl-C once something is drawn: it counts, the user is told how to go on, and the counts that were kept are not taken again.
#[cfg(unix)]
#[test]
fn a_default_fit_that_is_interrupted_goes_on() {
    let world = world();
    let fit = FIT.replace(" -q", "").replace(" --model", "");
    let mut process = start(&world, &fit);
    wait_until(&mut process, || {
        std::fs::read_to_string(world.path("ledger.jsonl")).is_ok_and(|l| l.contains(r#""kind":"drawn""#))
    });
    signal(&process, "-STOP");
    interrupt(&process);
    signal(&process, "-CONT");
    let ended = process.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("the epsilon of the fit counts") && said.contains("--resume"), "{said}");
    world.run(&format!("{fit} --resume")).succeeds();
    assert_done(&world);
}

/// A training over whole trajectories is kept, too.
#[cfg(unix)]
#[test]
fn a_training_over_trajectories_goes_on() {
    let world = world();
    let rows = (0..120).map(|i| format!("p{},{},{}\n", i % 60, i * 37 % 100, if i % 3 == 0 { "F" } else { "M" }));
    world.write("stays.csv", format!("who,age,sex\n{}", rows.collect::<String>()));
    let history = SMALL.replace(
        "privacy_unit = \"row\"\nunits = 120\n",
        "privacy_unit = \"who\"\nunits = 60\nmax_rows_per_unit = 2\norder = \"age\"\n\n[[column]]\nname = \"who\"\nkind = \"identifier\"\n",
    );
    world.write("schema.toml", history);
    let mut process = start(&world, &format!("{FIT} vae"));
    wait_until(&mut process, || trains(&world));
    interrupt(&process);
    let ended = process.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("steps are kept"), "{said}");
    world.run(&format!("{FIT} vae --resume")).succeeds();
    assert_done(&world);
}

/// A row of the holdout that does not fit the schema is found before anything is drawn, and the run goes on with a schema that
/// does: one fit is paid for.
#[cfg(unix)]
#[test]
fn a_run_is_gone_on_with_by_a_corrected_schema() {
    let world = World::new();
    let holdout = Hospital::new(200, 5_000_001).csv();
    let rows: Vec<&str> = holdout.lines().collect();
    let (last, before) = rows.split_last().unwrap();
    let place = rows[0].split(',').position(|name| name == "age").unwrap();
    let mut cells: Vec<&str> = last.split(',').collect();
    cells[place] = "61.5";
    world.write("holdout.csv", format!("{}\n{}\n", before.join("\n"), cells.join(",")));
    world.write("visits.csv", Hospital::new(200, FIRST_PATIENT).csv()).write("schema.toml", SCHEMA);
    world.write(
        "run.toml",
        "[input]\ntable = \"visits.csv\"\nschema = \"schema.toml\"\nholdout = \"holdout.csv\"\n\n[fit]\nepsilon = 2.0\n\
         delta = 1e-5\nmodel = \"independent\"\n\n[cohort]\nrows = 300\n",
    );
    let row = (rows.len() - 1).to_string();
    let refused = world.run("run run.toml -o out").exits(3);
    let refused = refused.says(&["holdout.csv", &format!("row {row}"), "`age`", "nothing is spent"]);
    assert!(!refused.stderr.contains("61.5"), "{refused}");
    assert_eq!(world.run("ledger show ledger.jsonl --json").succeeds().json()["epsilon"], 0.0);
    let corrected = SCHEMA.replace(
        "name = \"age\"\nkind = \"integer\"\ntype = \"int16\"",
        "name = \"age\"\nkind = \"real\"\ntype = \"float64\"\ndecimals = 1",
    );
    assert_ne!(corrected, SCHEMA);
    world.write("schema.toml", corrected);
    world.run("run run.toml -o out --resume").runs();
    let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
    assert!(shown["epsilon"].as_f64().is_some_and(|spent| spent > 1.9 && spent <= 2.0), "{shown}");
}

/// A run that is gone on with takes the model that is there; by another table the audit would ask for people who are not in
/// it.
#[cfg(unix)]
#[test]
fn a_run_goes_on_with_its_own_tables() {
    let world = World::new();
    let table = Hospital::new(200, FIRST_PATIENT).csv();
    world.write("visits.csv", &table).write("holdout.csv", Hospital::new(200, 5_000_001).csv());
    world.write("schema.toml", SCHEMA.replacen("missing =", "units = 200\nmissing =", 1));
    world.write(
        "run.toml",
        "[input]\ntable = \"visits.csv\"\nschema = \"schema.toml\"\nholdout = \"holdout.csv\"\n\n[fit]\nepsilon = 2.0\n\
         delta = 1e-5\nmodel = \"independent\"\n\n[cohort]\nrows = 300\n",
    );
    world.run("run run.toml -o out").runs();
    let model = world.read("out/model.safetensors");
    std::fs::remove_file(world.path("out/report.html")).unwrap();
    world.run("run run.toml -o out --resume").runs();
    assert!(world.read("out/model.safetensors") == model && world.path("out/report.html").exists());
    assert_eq!(world.text("ledger.jsonl").matches("\"intent\"").count(), 1);
    // Nobody who knows the tables can find their trace in the ledger.
    assert_private(&world.path("out/tables.salt"));
    world.run("run run.toml -o other").runs();
    let ledger = world.run("ledger show ledger.jsonl --json").succeeds().json();
    let requests = ledger["lines"].as_array().unwrap().iter().filter_map(|line| line["request"].as_str());
    let [one, other] = requests.collect::<Vec<_>>()[..] else { panic!("{ledger}") };
    assert_ne!(one, other);
    world.write("visits.csv", Hospital::new(200, FIRST_PATIENT + 1).csv());
    world.run("run run.toml -o out --resume").exits(3).says(&["no unfinished fit", "tables"]);
}

#[cfg(unix)]
fn interrupt(process: &Child) {
    signal(process, "-INT");
}

#[cfg(unix)]
fn signal(process: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap().success());
}

#[cfg(unix)]
fn assert_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}
