//! Manners: nothing is overwritten, errors are JSON where JSON is asked for, rows go where they are sent, and words are plain.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::schemas::assert_valid;
use crate::world::{Outcome, World};
use std::io::Read;
use std::sync::LazyLock;

const FIT: &str =
    "fit visits.csv --schema schema.toml --epsilon 2 --delta 1e-5 --model independent -o model.safetensors";
const RUN: &str = "[input]\ntable = \"visits.csv\"\nschema = \"schema.toml\"\nholdout = \"holdout.csv\"\n\n[fit]\n\
                   model = \"independent\"\nepsilon = 2.0\ndelta = 1e-5\n\n[cohort]\nrows = 100\n";

/// A model of a hospital, made once.
static FITTED: LazyLock<World> = LazyLock::new(|| {
    let world = World::shared("manners").of_few_steps();
    world.write("visits.csv", Hospital::new(200, FIRST_PATIENT).csv()).write("schema.toml", SCHEMA);
    world.write("holdout.csv", Hospital::new(100, 5_000_001).csv()).write("run.toml", RUN);
    world.run_carefully(FIT).succeeds();
    world
});

/// A world of its own with all that.
fn fitted() -> World {
    let world = World::new().of_few_steps();
    for (path, content) in FITTED.files() {
        world.write(path.file_name().unwrap().to_str().unwrap(), content);
    }
    world
}

/// A schema that somebody edited above all, and a model that a fit would be paid for again.
#[test]
fn nothing_is_overwritten_unless_it_is_said() {
    let world = fitted();
    let tables = "--holdout holdout.csv --synthetic cohort.csv --schema schema.toml";
    world.run_carefully("generate model.safetensors --rows 100 -o cohort.csv").succeeds();
    for name in ["evaluation.json", "audit.json", "scores.csv"] {
        world.write(name, "mine");
    }
    let before = world.files();
    for (command, name) in [
        ("inspect visits.csv --unit patient -o schema.toml", "schema.toml"),
        ("generate model.safetensors --rows 9 -o cohort.csv", "cohort.csv"),
        (FIT, "model.safetensors"),
        (&format!("evaluate --real visits.csv {tables} -o evaluation.json"), "evaluation.json"),
        (&format!("audit --members visits.csv {tables} -o audit.json"), "audit.json"),
        ("infer model.safetensors visits.csv --score -o scores.csv", "scores.csv"),
    ] {
        world.run_carefully(command).exits(1).says(&[name, "is there already", "--force"]);
    }
    assert!(world.files() == before, "a file was changed, or a line written");
    for command in
        ["inspect visits.csv --unit patient -o schema.toml", "generate model.safetensors --rows 9 -o cohort.csv"]
    {
        world.run_carefully(&format!("{command} --force")).succeeds();
    }
    assert!(world.text("schema.toml") != SCHEMA && world.text("cohort.csv").lines().count() == 10);
}

/// A run writes over no other; it is planned as it would be made.
#[test]
fn a_run_writes_over_no_other() {
    let world = fitted();
    std::fs::create_dir(world.path("out")).unwrap();
    world.write("out/notes.txt", "of somebody").write("out/report.html", "of another run");
    let before = world.files();
    world.run_carefully("run run.toml -o out").exits(1).says(&["report.html", "of another run", "--force", "--resume"]);
    let planned = world.run_carefully("plan run.toml -o out").exits(1);
    assert!(planned.stdout.contains("report.html: is there already"), "{planned}");
    assert!(world.files() == before);
    std::fs::remove_file(world.path("out/report.html")).unwrap();
    world.run_carefully("run run.toml -o out").runs();
    world.run_carefully("run run.toml -o out --force").runs();
    assert_eq!(world.text("out/notes.txt"), "of somebody");
    assert_eq!(world.text("ledger.jsonl").matches(r#""kind":"intent""#).count(), 3);
}

/// One object on standard output, whatever goes wrong; a verdict is told in the answer and not twice.
#[test]
fn an_error_is_json_where_json_is_asked_for() {
    let world = fitted();
    let told = |outcome: &Outcome| {
        let told = outcome.json();
        assert_valid("error.json", &told);
        told["error"].clone()
    };
    let error =
        told(&world.run_carefully(&format!("{} --json --force", FIT.replace("visits.csv", "nowhere.csv"))).exits(3));
    assert_eq!(
        (&error["kind"], &error["exit_code"], &error["file"]),
        (&"bad_input".into(), &3.into(), &"nowhere.csv".into())
    );
    assert!(error["what"] == "there is no such file" && error["remedy"].is_string(), "{error}");
    let table = world.text("visits.csv").replacen(",F,", ",zq-secret-7741,", 1);
    world.write("wrong.csv", table.replace("900001", "x,y"));
    let error =
        told(&world.run_carefully("fit wrong.csv --schema schema.toml --epsilon 1 -o m.safetensors --json").exits(3));
    assert!(error["row"].is_u64() && !error.to_string().contains("zq-secret"), "{error}");
    let error = told(&world.run_carefully("generate model.safetensors --row 9 -o c.csv --json").exits(2));
    assert!(error["kind"] == "usage" && error["what"].as_str().unwrap().contains("--row"), "{error}");
    let cap = SCHEMA.replace("[table]\n", "[table]\nepsilon_cap = 1.0\n");
    world.write("capped.toml", cap);
    let error = told(
        &world.run_carefully(&FIT.replace("schema.toml", "capped.toml --json").replace("model.s", "m.s")).exits(4),
    );
    assert_eq!(error["kind"], "budget_refused");
    // A plan that something is missing from is an answer.
    world.write("run.toml", RUN.replace("holdout.csv", "nowhere.csv"));
    assert_valid("plan.json", &world.run_carefully("plan run.toml --json").exits(3).json());
}

#[test]
fn rows_go_to_standard_output_and_into_gzip() {
    let world = fitted();
    let generate =
        |more: &str| world.run_carefully(&format!("generate model.safetensors --rows 50 --seed 3 -q {more}"));
    generate("-o cohort.csv").succeeds();
    let rows = world.text("cohort.csv");
    assert_eq!(generate("-o -").succeeds().stdout, rows);
    generate("-o cohort.csv.gz").succeeds();
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&world.read("cohort.csv.gz")[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, rows);
    generate("-o - --json").exits(2).says(&["--json"]);
    generate("-o cohort.parquet.gz").exits(2).says(&[".csv.gz", "-o -"]);
    let scored = world.run_carefully("infer model.safetensors cohort.csv.gz --score -o -").succeeds();
    assert!(scored.stdout.lines().count() == 51 && scored.stderr.contains("mean cross-entropy"), "{scored}");
    world.run_carefully(&format!("{FIT} --force").replace("model.safetensors", "-")).exits(2).says(&["to a file"]);
    let first = world.shell("synthward generate model.safetensors --rows 100000 -q -o - | head -1").succeeds();
    assert_eq!(first.stdout.lines().collect::<Vec<_>>(), rows.lines().take(1).collect::<Vec<_>>());
}

/// Where the environment names nobody, the system's number does; tables of one file name are told apart by their folders.
#[cfg(unix)]
#[test]
fn the_ledger_knows_who_and_which_table() {
    let world = fitted();
    for folder in ["a", "b"] {
        std::fs::create_dir(world.path(folder)).unwrap();
        std::fs::copy(world.path("visits.csv"), world.path(&format!("{folder}/visits.csv"))).unwrap();
        let source = folder.repeat(32);
        let named = SCHEMA.replace("name = \"visits\"", &format!("name = \"visits {folder}\"\nsource = \"{source}\""));
        world.write(&format!("{folder}.toml"), named);
        let fit = FIT
            .replace("visits.csv", &format!("{folder}/visits.csv"))
            .replace("schema.toml", &format!("{folder}.toml"));
        let mut command = world.command(&format!("{fit} --ledger l.jsonl --force"));
        for name in ["USER", "LOGNAME", "USERNAME"] {
            command.env_remove(name);
        }
        assert!(command.output().unwrap().status.success());
    }
    let shown = world.run_carefully("ledger show l.jsonl").succeeds().stdout;
    for words in
        ["uid ", "to a/visits.csv", "to b/visits.csv", "of visits a (aaaaaaaa...)", "of visits b (bbbbbbbb...)"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

/// Before a row is read: how far counts will be off, that the table is too small for that, and that epsilon promises little.
#[test]
fn what_noise_will_leave_is_told_before_anything_is_spent() {
    let world = fitted();
    world.write("schema.toml", SCHEMA.replacen("missing =", "units = 200\nmissing =", 1));
    let first = |outcome: &Outcome, words: &str| {
        let place = |words: &str| outcome.stderr.find(words).unwrap_or_else(|| panic!("{words}: {outcome}"));
        assert!(place("counts of a column will be wrong by about") < place("wrote"), "{outcome}");
        assert!(place(words) < place("wrote"), "{outcome}");
    };
    let fit = |epsilon: &str| world.run_carefully(&format!("{FIT} --force").replace("--epsilon 2", epsilon)).succeeds();
    first(&fit("--epsilon 0.5"), "the table is too small for this epsilon: of the units that are declared");
    let weak = fit("--epsilon 12");
    first(&weak, "epsilon 12.0 promises little");
    assert!(!weak.stderr.contains("protects nobody"), "{weak}");
    let private = || world.run_carefully("generate model.safetensors --rows 9 -o - -q").succeeds();
    private();
    let json = |name: &str| {
        world.run_carefully(&format!("generate model.safetensors --rows 9 -o {name} --json")).succeeds().json()
    };
    assert_eq!(json("weak.parquet")["private"], true);
    fit("--epsilon 25").says(&["protects nobody"]);
    assert_eq!(json("nominal.parquet")["private"], false);
    let nominal = world.read("nominal.parquet");
    assert!(nominal.windows(22).any(|part| part == b"an epsilon above 20 pr"));
    // Where their number is private, the operator alone is told, before anything is drawn.
    world.write("schema.toml", SCHEMA);
    fit("--epsilon 0.5").says(&["too small for this epsilon: of the units of this table"]);
    world.write("run.toml", RUN.replace("epsilon = 2.0", "epsilon = 0.5"));
    let planned = world.run_carefully("plan run.toml").succeeds().stdout;
    assert!(planned.contains("counts wrong by about"), "{planned}");
}

/// What is public is checked before there is an intent: it leaves no line.
#[test]
fn a_delta_out_of_range_leaves_no_line() {
    let world = fitted();
    let ledger = world.read("ledger.jsonl");
    for delta in ["0.01", "1", "0"] {
        let fit = format!("{FIT} --force").replace("1e-5", delta);
        world.run_carefully(&fit).exits(3).says(&[format!("delta = {delta} is not usable").as_str()]);
    }
    world.write("run.toml", RUN.replace("delta = 1e-5", "delta = 0.01")).run_carefully("run run.toml -o out").exits(3);
    assert_eq!(world.read("ledger.jsonl"), ledger);
}

/// A plan fits 80 columns, and says what a stranger understands.
#[test]
fn a_plan_is_plain() {
    let world = fitted();
    world.write("schema.toml", SCHEMA.replacen("domain_from = \"public\"", "domain_from = \"data\"", 1));
    let planned = world.run_carefully("plan run.toml").exits(3).stdout;
    assert!(planned.contains("1 column: nobody vouches, and no budget pays"), "{planned}");
    world.write("schema.toml", SCHEMA);
    world.write("run.toml", RUN.replace("independent", "vae"));
    let planned = world.run_carefully("plan run.toml").succeeds().stdout;
    assert!(planned.contains("clipped gradient sums") && !planned.contains("1 columns"), "{planned}");
    for line in planned.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

/// Not "entity not found", and no number in the notation of machines where a plain one will do.
#[test]
fn words_are_plain() {
    let world = fitted();
    for command in ["ledger show nowhere.jsonl", "generate nowhere.safetensors --rows 9 -o c.csv", "plan nowhere.toml"]
    {
        let outcome = world.run_carefully(command).exits(3).says(&["there is no such file"]);
        assert!(!outcome.stderr.contains("entity"), "{outcome}");
    }
    world
        .run_carefully("generate model.safetensors --rows 9 -o nowhere/c.csv")
        .exits(1)
        .says(&["there is no such file or folder"]);
    let all = world.run_carefully("generate model.safetensors --rows 9 --where age>=0 -o all.csv").succeeds();
    assert!(all.stderr.contains("probability 1 ") && !all.stderr.contains("e0"), "{all}");
}
