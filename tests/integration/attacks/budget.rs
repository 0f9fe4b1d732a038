//! A cap that guarded a folder: another output, another copy of the schema, another draft or a lost ledger gave a new budget.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;
use std::fs;

const SOURCE: &str = "00112233445566778899aabbccddeeff";
const RUN: &str = "[input]\ntable = \"visits.csv\"\nschema = \"schema.toml\"\nholdout = \"holdout.csv\"\n\n[fit]\n\
                   model = \"independent\"\nepsilon = 2.0\ndelta = 1e-5\n\n[cohort]\nrows = 100\n";

/// A table whose source may spend 3.
fn world() -> World {
    let world = World::new();
    world.write("visits.csv", Hospital::new(200, FIRST_PATIENT).csv()).write("run.toml", RUN);
    world.write("holdout.csv", Hospital::new(200, 5_000_001).csv());
    world.write("schema.toml", of(SOURCE, "visits", "epsilon_cap = 3.0"));
    world
}

fn of(source: &str, name: &str, more: &str) -> String {
    SCHEMA.replace("name = \"visits\"", &format!("name = \"{name}\"\nsource = \"{source}\"\n{more}"))
}

fn fit(schema: &str, epsilon: f64, output: &str) -> String {
    format!("fit visits.csv --schema {schema} --epsilon {epsilon} --delta 1e-5 --model independent -o {output}")
}

/// Two folders, two budgets, in version 0.1.0.
#[test]
fn another_output_is_no_other_budget() {
    let world = world();
    world.run("ledger open schema.toml").succeeds();
    fs::create_dir(world.path("elsewhere")).unwrap();
    world.run("run run.toml -o one").runs();
    for command in ["run run.toml -o two", &fit("schema.toml", 2.0, "elsewhere/model.safetensors")] {
        world.run(command).exits(4).says(&["left under the cap", "remedy"]);
    }
    assert!(!world.path("two/model.safetensors").exists() && !world.path("elsewhere/model.safetensors").exists());
    world.run("plan run.toml -o three").exits(4);
    // What was read from standard input has the schema's budget, too.
    let piped = fit("schema.toml", 2.0, "piped.safetensors").replace("fit visits.csv", "fit -");
    world.pipe("visits.csv", &piped).exits(4).says(&["left under the cap"]);
}

/// An excerpt under another name, with a schema of the same source, in the same ledger or beside another schema.
#[test]
fn an_excerpt_has_the_budget_of_its_source() {
    let world = world();
    world.run("ledger open schema.toml").succeeds();
    world.write("excerpt.toml", of(SOURCE, "old visits", "epsilon_cap = 3.0"));
    world.run(&fit("schema.toml", 2.0, "a.safetensors")).succeeds();
    world.run(&fit("excerpt.toml", 2.0, "b.safetensors")).exits(4).says(&["than the 1.00", "have the data's owner"]);
    // Another source has its own.
    world.write("others.toml", of("ffeeddccbbaa99887766554433221100", "births", ""));
    world.run(&fit("others.toml", 2.5, "c.safetensors")).succeeds();
    let shown = world.run("ledger show ledger.jsonl --json").succeeds().json();
    let spent: Vec<(f64, Option<f64>)> = shown["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["epsilon"].as_f64().unwrap(), table["cap"].as_f64()))
        .collect();
    assert!(matches!(spent[..], [(visits, Some(3.0)), (births, None)] if visits <= 2.0 && births > 2.4), "{shown}");
    // A schema that names no source may be of either.
    world.write("nameless.toml", SCHEMA.replace("name = \"visits\"", "name = \"nameless\"\nepsilon_cap = 5.0"));
    let refused = world.run(&fit("nameless.toml", 1.0, "d.safetensors")).exits(4);
    refused.says(&["does not name its source", "write source = \"", "0.5"]);
}

/// A ledger that is lost, and a schema that is taken to another folder, leave a cap that nobody can hold: it is refused, not
/// begun anew.
#[test]
fn a_cap_without_its_ledger_is_refused() {
    let world = world();
    let refused = world.run(&fit("schema.toml", 1.0, "a.safetensors")).exits(4);
    refused.says(&["no ledger of the source", "--ledger", "synthward ledger open"]);
    assert!(!world.path("ledger.jsonl").exists());
    world.run("run run.toml -o out").exits(4).says(&["no ledger of the source"]);
    world.run("ledger open schema.toml").succeeds();
    world.run(&fit("schema.toml", 1.0, "a.safetensors")).succeeds();
    fs::create_dir(world.path("copy")).unwrap();
    fs::copy(world.path("schema.toml"), world.path("copy/schema.toml")).unwrap();
    world.run(&fit("copy/schema.toml", 1.0, "b.safetensors")).exits(4).says(&["copy/ledger.jsonl", "no ledger"]);
    // The ledger of somebody else's table is not its own.
    world.write("births.toml", of("ffeeddccbbaa99887766554433221100", "births", ""));
    world.run("ledger open births.toml --ledger copy/ledger.jsonl").succeeds();
    world.run(&fit("copy/schema.toml", 1.0, "b.safetensors")).exits(4).says(&["no ledger"]);
    world.run(&format!("{} --ledger ledger.jsonl", fit("copy/schema.toml", 1.0, "b.safetensors"))).succeeds();
    world.run(&format!("{} --ledger ledger.jsonl", fit("copy/schema.toml", 1.5, "c.safetensors"))).exits(4);
    world.run("ledger open schema.toml --ledger second.jsonl").exits(3).says(&["kept here already", "ledger.jsonl"]);
    for name in ["ledger.jsonl", "ledger.jsonl.head"] {
        fs::remove_file(world.path(name)).unwrap();
    }
    world.run(&fit("schema.toml", 1.0, "d.safetensors")).exits(4).says(&["no ledger of the source"]);
}

/// A draft names its source by chance, so a second draft of the same table would have a second budget: it inherits the
/// identifier of what it replaces, or of the schema that it is told, and is refused where it has neither.
#[test]
fn a_second_draft_is_no_second_budget() {
    let world = World::new();
    world.write("visits.csv", Hospital::new(200, FIRST_PATIENT).csv());
    let inspect = "inspect visits.csv --unit patient --assume-public -q -o";
    let source = |schema: &str| {
        let line = world.text(schema).lines().find(|line| line.starts_with("source ")).unwrap().to_owned();
        line.split('"').nth(1).unwrap().to_owned()
    };
    world.run(&format!("{inspect} a.toml")).succeeds();
    let first = source("a.toml");
    assert!(first.len() == 32 && first.bytes().all(|c| c.is_ascii_hexdigit()), "{first}");
    world.run(&fit("a.toml", 1.0, "a.safetensors")).succeeds();
    world.run(&format!("{inspect} a.toml --force")).succeeds();
    assert_eq!(source("a.toml"), first, "drafted anew in its place");
    world.run(&format!("{inspect} b.toml --source-of a.toml")).succeeds();
    assert_eq!(source("b.toml"), first);
    world.run(&format!("{inspect} c.toml")).succeeds();
    assert_ne!(source("c.toml"), first, "nothing of the rows is in it");
    let refused = world.run(&fit("c.toml", 1.0, "c.safetensors")).exits(3);
    refused.says(&["under another source", &first, "--source-of"]);
    world.write("d.toml", SCHEMA);
    world.run(&format!("{inspect} e.toml --source-of d.toml")).exits(3).says(&["d.toml", "does not name its source"]);
}

/// Neither the source nor the cap, nor anybody's name, goes into what leaves the house; the ledger and the report, which stay,
/// say who ran the program.
#[test]
fn what_is_released_names_neither_source_nor_staff() {
    let world = world();
    world.write("linked.toml", LINKED).run("ledger open schema.toml").succeeds();
    fs::create_dir(world.path("practice")).unwrap();
    let people = (0..200).map(|n| format!("p{n},{}\n", ["F", "M"][n % 2])).collect::<String>();
    world.write("practice/people.csv", format!("id,sex\n{people}"));
    let staff = "zq-steward-4482";
    let run = |command: &str| world.run_with("USER", staff, command);
    run("run run.toml -o out").runs();
    run("generate out/model.safetensors --rows 50 -o out/cohort.csv").succeeds();
    run("generate out/model.safetensors --rows 50 -o out/cohort.arrow").succeeds();
    run("fit practice --schema linked.toml --epsilon 2 --delta 1e-5 -o out/linked.safetensors").succeeds();
    run("generate out/linked.safetensors --rows 50 --format parquet -o out/linked").succeeds();
    let has = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
    for (path, bytes) in world.files().into_iter().filter(|(path, _)| path.starts_with(world.path("out"))) {
        let name = path.display().to_string();
        for word in [SOURCE, "epsilon_cap"] {
            assert!(!has(&bytes, word), "{name} has {word}");
        }
        assert_eq!(has(&bytes, staff), name.contains("report."), "{name}");
    }
    assert!(has(&world.read("ledger.jsonl"), staff) && has(&world.read("ledger.jsonl"), SOURCE));
}

const LINKED: &str = r#"
[linked]
name = "practice"
source = "00112233445566778899aabbccddeeff"

[[table]]
name = "people"
key = "id"

[[table.column]]
name = "id"
kind = "identifier"

[[table.column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
domain_from = "public"
"#;
