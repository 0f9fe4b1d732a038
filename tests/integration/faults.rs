//! A full disk, a folder that cannot be written, readers that go away, files that change, kills, a wrong clock: nothing is
//! lost that was written, nothing half-written is left in its place, and the exit code is the documented one.
#![cfg(unix)]

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use synthward_privacy::ledger::{LEDGER_VERSION, Ledger, Record};

const FIT: &str = "fit visits.csv --schema schema.toml --epsilon 5 --delta 1e-5 --model independent";

const RUN: &str = r#"
[input]
table = "visits.csv"
schema = "schema.toml"
holdout = "holdout.csv"

[fit]
model = "independent"
epsilon = 5.0
delta = 1e-5

[cohort]
rows = 300
"#;

/// A model and its ledger, made once.
static FITTED: LazyLock<World> = LazyLock::new(|| {
    let world = World::shared("faults");
    table(&world);
    world.run(&format!("{FIT} -o model.safetensors")).succeeds();
    world
});

fn table(world: &World) {
    world.write("visits.csv", Hospital::new(200, FIRST_PATIENT).csv()).write("schema.toml", SCHEMA);
    world.write("holdout.csv", Hospital::new(200, 5_000_001).csv()).write("run.toml", RUN);
}

/// A world of its own with the model and the ledger.
fn fitted() -> World {
    let world = World::new();
    for (path, content) in FITTED.files() {
        world.write(path.file_name().unwrap().to_str().unwrap(), content);
    }
    world
}

/// Files that are not whole, under their temporary names.
fn unfinished(world: &World) -> Vec<PathBuf> {
    let is_unfinished = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".synthward-");
    world.files().into_keys().filter(is_unfinished).collect()
}

/// Waits until something is so, for a minute at most.
fn wait_until(mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing happened");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

/// A file that may not grow beyond some blocks of 512 bytes stands for a full disk: the write fails half-way.
fn on_a_full_disk(world: &World, blocks: u64, command: &str) -> crate::world::Outcome {
    world.shell(&format!("trap '' XFSZ; ulimit -f {blocks}; synthward {command}"))
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let world = fitted();
    for name in ["cohort.parquet", "cohort.csv", "cohort.arrow"] {
        world.write(name, "old");
        let generate = format!("generate model.safetensors --rows 20000 --force -o {name}");
        on_a_full_disk(&world, 16, &generate).exits(1).says(&["cannot be written", "remedy"]);
        assert_eq!(world.read(name), b"old", "{name}");
    }
    assert_eq!(unfinished(&world), Vec::<PathBuf>::new());
}

#[test]
fn without_room_for_its_record_no_fit_starts() {
    let world = World::new();
    table(&world);
    on_a_full_disk(&world, 0, &format!("{FIT} -o model.safetensors"))
        .exits(1)
        .says(&["ledger cannot be written", "remedy"]);
    assert!(!world.path("model.safetensors").exists());
}

/// The disk is full in the middle of the ledger's next line, wherever that is: the line is taken back, and once there is
/// room the ledger goes on.
#[test]
fn a_full_disk_does_not_tear_the_ledger() {
    let world = fitted();
    let before = world.read("ledger.jsonl");
    let block = before.len() as u64 / 512 + 1;
    on_a_full_disk(&world, block, &format!("{FIT} -o second.safetensors")).exits(1).says(&["ledger cannot be written"]);
    assert_eq!(world.read("ledger.jsonl"), before);
    assert!(!world.path("second.safetensors").exists());
    world.run("ledger verify ledger.jsonl").succeeds();
    world.run(&format!("{FIT} -o second.safetensors")).succeeds();
    world.run("ledger verify ledger.jsonl").succeeds();
    assert!(world.read("ledger.jsonl").starts_with(&before));
}

/// A fit whose model has no room was charged: its releases were made.
#[test]
fn a_fit_without_room_for_its_model_is_charged() {
    let world = World::new();
    table(&world);
    let record = FITTED.read("ledger.jsonl").len() as u64 / 512 + 1;
    let outcome = on_a_full_disk(&world, record, &format!("{FIT} -o model.safetensors"));
    outcome.exits(1).says(&["model.safetensors", "cannot be written"]);
    world.run("ledger verify ledger.jsonl").succeeds();
    let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
    assert!(shown["epsilon"].as_f64().unwrap() > 4.9, "{shown}");
    assert_eq!(unfinished(&world), Vec::<PathBuf>::new());
}

/// What a crash leaves of a line: the next command says so and goes on; what verifies not at all is refused.
#[test]
fn a_line_that_a_crash_cut_short_does_not_count() {
    let world = fitted();
    let (before, head) = (world.text("ledger.jsonl"), world.text("ledger.jsonl.head"));
    world.run(&format!("{FIT} -o second.safetensors")).succeeds();
    let after = world.text("ledger.jsonl");
    let cut = before.len() + (after.len() - before.len()) / 3;
    world.write("ledger.jsonl", &after[..cut]).write("ledger.jsonl.head", head);
    world.run("ledger verify ledger.jsonl").succeeds().says(&["not whole", "does not count"]);
    world.run(&format!("{FIT} -o third.safetensors")).succeeds().says(&["not whole"]);
    let whole = world.run("ledger verify ledger.jsonl").succeeds();
    assert!(!whole.stderr.contains("not whole"), "{whole}");
    assert!(world.text("ledger.jsonl").starts_with(&before));
    world.write("ledger.jsonl", format!("{}\n", &after[..cut]));
    world.run("ledger verify ledger.jsonl").exits(3).says(&["ledger line"]);
}

/// Standard output on a full disk is a failure that is told; standard error is nothing that a command depends on.
#[cfg(target_os = "linux")]
#[test]
fn full_standard_streams() {
    let world = fitted();
    for command in
        ["account --sampling-rate 0.1 --noise-multiplier 2 --steps 9 --delta 1e-5", "ledger show ledger.jsonl"]
    {
        world.shell(&format!("synthward {command} > /dev/full")).exits(1).says(&["standard output cannot be written"]);
        world.shell(&format!("synthward {command} -v -v 2> /dev/full")).succeeds();
    }
    world.shell("synthward ledger show nowhere.jsonl 2> /dev/full").exits(3);
    world.shell("synthward inspect visits.csv --unit patient -o draft.toml 2> /dev/full").succeeds();
    world.shell(&format!("synthward {FIT} -v -v -o m.safetensors 2> /dev/full")).succeeds();
}

/// A reader that has seen enough is no failure, and no panic.
#[test]
fn readers_that_go_away() {
    let world = fitted();
    for command in [
        "inspect visits.csv --unit patient --json",
        "ledger show ledger.jsonl",
        "--help",
        "selftest",
        "completions bash",
    ] {
        for [kept, closed] in [["2", "1"], ["1", "2"]] {
            // The reader ends at once; `sleep` makes sure that it is gone before something is written.
            let script = format!(
                "{{ sleep 0.1; synthward {command} {closed}>&3 3>&-; echo $? >&{kept}; }} 3>&1 {kept}>code | true"
            );
            world.shell(&script).succeeds();
            let code = world.text("code");
            assert_eq!(code.lines().last(), Some("0"), "{script}: {code}");
            assert!(!code.contains("please report") && !code.contains("panic"), "{script}: {code}");
        }
    }
    let one = world.shell("synthward ledger show ledger.jsonl | head -1").succeeds();
    assert!(one.stdout.ends_with("  opened\n") && one.stdout.lines().count() == 1 && one.stderr.is_empty(), "{one}");
}

#[test]
fn a_folder_that_may_not_be_written_to() {
    let world = fitted();
    let folder = world.path("shut");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(folder.join("probe"), "").is_ok() {
        eprintln!("skipped: whoever runs this test may write everywhere");
        return;
    }
    let before = world.read("ledger.jsonl");
    for command in [
        "generate model.safetensors --rows 10 -o shut/cohort.csv".to_owned(),
        format!("{FIT} --ledger ledger.jsonl -o shut/model.safetensors"),
        format!("{FIT} --ledger shut/ledger.jsonl -o second.safetensors"),
        "inspect visits.csv --unit patient -o shut/schema.toml".to_owned(),
        "run run.toml -o shut/out".to_owned(),
    ] {
        world.run(&command).exits(1).says(&["shut", "remedy"]);
    }
    assert_eq!(world.read("ledger.jsonl"), before, "a fit was charged that could not be kept");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A killed program leaves a file that only its owner may read; the next command in the folder removes it, but not that of
/// a program which is still writing.
#[cfg(target_os = "linux")]
#[test]
fn what_a_killed_program_left_behind_goes_with_the_next_command() {
    let world = fitted();
    world.write("cohort.csv", "old");
    let generate = || {
        let mut command =
            world.command("generate model.safetensors --rows 1000000000 --threads 1 --force -o cohort.csv");
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let killed = generate();
    wait_until(|| unfinished(&world).len() == 1);
    kill(killed);
    let [left] = &unfinished(&world)[..] else { panic!("nothing was left") };
    assert_eq!(fs::metadata(left).unwrap().permissions().mode() & 0o777, 0o600);
    let alive = generate();
    wait_until(|| !left.exists() && unfinished(&world).len() == 1);
    world.run("generate model.safetensors --rows 10 -o other.csv").succeeds();
    assert_eq!(unfinished(&world).len(), 1, "the file of a living program was removed");
    kill(alive);
    world.run("generate model.safetensors --rows 10 --force -o other.csv").succeeds();
    assert_eq!(unfinished(&world), Vec::<PathBuf>::new());
    assert_eq!(world.read("cohort.csv"), b"old");
}

/// No core file, although the user asks for it: it would hold the rows. The program waits for its input meanwhile.
#[cfg(target_os = "linux")]
#[test]
fn a_crash_leaves_no_core_file() {
    let world = World::new();
    table(&world);
    let program = env!("CARGO_BIN_EXE_synthward");
    let script = format!("ulimit -S -c $(ulimit -H -c); exec '{program}' inspect - --unit patient -o draft.toml");
    let mut child = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(world.path("."))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let limits = || fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap_or_default();
    let is_zero = |line: &str| line.split_whitespace().eq("Max core file size 0 0 bytes".split_whitespace());
    wait_until(|| limits().lines().any(is_zero));
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), &world.read("visits.csv")).unwrap();
    world.shell(&format!("kill -ABRT {}", child.id())).succeeds();
    let status = child.wait().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    assert!(world.files().keys().all(|path| !path.file_name().unwrap().to_string_lossy().starts_with("core")));
}

/// The training table is replaced once the ledger has its line, so that fit and evaluation could see two tables.
#[test]
fn a_table_that_is_replaced_during_a_run() {
    let world = World::new();
    table(&world);
    world.write("other.csv", Hospital::new(200, FIRST_PATIENT + 1).csv());
    let run = world.command("run run.toml -o out").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_until(|| world.path("ledger.jsonl").exists());
    fs::rename(world.path("other.csv"), world.path("visits.csv")).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("visits.csv: the table was changed while the run read it"), "{said}");
    assert!(!world.path("out/report.html").exists() && !world.path("out/report.json").exists());
    world.run("ledger verify ledger.jsonl").succeeds();
}

/// A ledger that was written when the clock stood later: the order of the lines is in their hashes, times are only told.
#[test]
fn a_clock_that_was_set_back() {
    let world = World::new();
    table(&world);
    let mut ledger = Ledger::default();
    let record = Record::Opened { version: LEDGER_VERSION, table: None };
    let line = ledger.append(record, "2099-12-31T23:59:59Z".into(), "somebody".into());
    world.write("ledger.jsonl", format!("{line}\n")).write("ledger.jsonl.head", ledger.head());
    world.run(&format!("{FIT} -o model.safetensors")).succeeds();
    world.run("ledger verify ledger.jsonl").succeeds();
    let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
    let times: Vec<&str> = shown["lines"].as_array().unwrap().iter().map(|l| l["time"].as_str().unwrap()).collect();
    assert!(times.len() > 4 && times[1] < times[0], "{times:?}");
    assert!(shown["epsilon"].as_f64().unwrap() > 4.9);
}
