//! The number of units is declared or paid for. Tables that differ by one person were once refused or fitted by their exact
//! count, so that no two neighbours were both accepted, and the count could be probed at no cost.

use crate::world::{Outcome, World};
use serde_json::Value;

const COLUMNS: &str = r#"
[[column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
nullable = false
domain_from = "public"

[[column]]
name = "age"
kind = "integer"
min = 0
max = 99
nullable = false
domain_from = "public"
"#;

/// Each shape of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// A row is a person.
    Flat,
    /// Several rows of a person.
    Several,
    /// Those follow each other.
    History,
    /// Linked tables.
    Folder,
}

const SHAPES: [Shape; 4] = [Shape::Flat, Shape::Several, Shape::History, Shape::Folder];

impl Shape {
    /// A schema that says this of the number of units.
    fn schema(self, units: &str) -> String {
        let of_persons = |more: &str| {
            format!(
                "[table]\nname = \"t\"\nprivacy_unit = \"who\"\nmax_rows_per_unit = 3\n{more}{units}\n\
                 [[column]]\nname = \"who\"\nkind = \"identifier\"\ntype = \"int64\"\n{COLUMNS}"
            )
        };
        match self {
            Self::Flat => format!("[table]\nname = \"t\"\nprivacy_unit = \"row\"\n{units}\n{COLUMNS}"),
            Self::Several => of_persons(""),
            Self::History => of_persons("order = \"age\"\n"),
            Self::Folder => {
                let columns: Vec<String> =
                    COLUMNS.split("[[column]]").skip(1).map(|column| format!("[[table.column]]{column}")).collect();
                format!(
                    "[linked]\nname = \"t\"\n{units}\n[[table]]\nname = \"people\"\nkey = \"who\"\n\
                     [[table.column]]\nname = \"who\"\nkind = \"identifier\"\n{}\
                     [[table]]\nname = \"rows\"\nparent = \"people\"\nlinks = {{ who = \"people\" }}\n\
                     [[table.column]]\nname = \"who\"\nkind = \"identifier\"\n{}",
                    columns[0], columns[1]
                )
            }
        }
    }

    /// A folder with a table of so many persons, a schema that says this of their number, and the table's name.
    fn world(self, persons: u32, units: &str) -> (World, &'static str) {
        let world = World::new();
        world.write("schema.toml", self.schema(units));
        let sex = |who: u32| ["F", "M"][who as usize % 2];
        let rows = |who: u32| (0..1 + who % 2).map(move |row| (who * 37 + row * 11) % 90);
        let persons = 0..persons;
        if self == Self::Folder {
            std::fs::create_dir(world.path("t")).unwrap();
            let people: String = persons.clone().map(|who| format!("{who},{}\n", sex(who))).collect();
            let below: String = persons.flat_map(|who| rows(who).map(move |age| format!("{who},{age}\n"))).collect();
            world.write("t/people.csv", format!("who,sex\n{people}")).write("t/rows.csv", format!("who,age\n{below}"));
            return (world, "t");
        }
        let lines: String = match self {
            Self::Flat => persons.map(|who| format!("{},{}\n", sex(who), who * 37 % 90)).collect(),
            _ => persons.flat_map(|who| rows(who).map(move |age| format!("{who},{},{age}\n", sex(who)))).collect(),
        };
        let header = if self == Self::Flat { "sex,age" } else { "who,sex,age" };
        world.write("t.csv", format!("{header}\n{lines}"));
        (world, "t.csv")
    }
}

fn fit((world, table): &(World, &str), more: &str) -> Outcome {
    world.run(&format!("fit {table} --schema schema.toml --model independent -o model.safetensors --json {more}"))
}

/// What a recipient, the ledger and a script that calls the program are told before a mechanism speaks.
fn told(world: &World, fitted: &Value) -> Value {
    let ledger = world.run("ledger show ledger.jsonl --json").succeeds().json();
    let lines = ledger["lines"].as_array().unwrap().iter();
    let kinds: Vec<&Value> = lines.clone().map(|line| &line["kind"]).collect();
    let requests: Vec<&Value> = lines.map(|line| &line["request"]).collect();
    let public =
        ["epsilon", "delta", "events", "settings", "schema", "linked", "stories", "unit"].map(|key| &fitted[key]);
    serde_json::json!([kinds, requests, public, ledger["epsilon"]])
}

/// One more, a third more or a third fewer than declared: all are fitted alike, and the terminal alone is told, in words.
#[test]
fn a_table_of_another_number_of_persons_is_fitted_alike() {
    for shape in SHAPES {
        let fitted = |persons: u32| {
            let world = shape.world(persons, "units = 300");
            let outcome = fit(&world, "--epsilon 1");
            let outcome = outcome.succeeds();
            let mut words = outcome.stderr.split(|c: char| !c.is_ascii_alphanumeric());
            assert!(words.all(|word| word != persons.to_string()), "{outcome}");
            (told(&world.0, &outcome.json()), outcome)
        };
        let (declared, outcome) = fitted(300);
        assert!(!outcome.stderr.contains("noticeably"), "{shape:?}: {outcome}");
        for (persons, words) in [(301, None), (420, Some("noticeably more")), (200, Some("noticeably fewer"))] {
            let (other, outcome) = fitted(persons);
            assert_eq!(declared, other, "{shape:?}, {persons} persons");
            assert_eq!(words.is_some(), outcome.stderr.contains("noticeably"), "{outcome}");
            assert!(words.is_none_or(|words| outcome.stderr.contains(words)), "{outcome}");
        }
    }
}

/// Shares of a number that is far off would not add up to one: what the counts say is taken, which costs nothing.
#[test]
fn a_wrong_number_does_not_bend_the_cohort() {
    let (world, table) = Shape::Flat.world(2000, "units = 400");
    world.run(&format!("fit {table} --schema schema.toml --epsilon 20 -o model.safetensors")).succeeds();
    world.run("generate model.safetensors --rows 4000 --seed 1 -o cohort.csv").succeeds();
    let cohort = world.text("cohort.csv");
    let women = cohort.lines().filter(|line| line.starts_with("F,")).count();
    let young = cohort.lines().filter_map(|line| line.split(',').nth(1)?.parse::<u32>().ok()).filter(|&age| age < 9);
    // A half and a tenth: standard deviations 32 and 19; noise at epsilon 20 is far below.
    assert!((1800..2200).contains(&women), "{women}");
    let young = young.count();
    assert!((300..500).contains(&young), "{young}");
}

/// Once a model was drawn and paid for, a large noisy count refused it.
#[test]
fn delta_is_held_against_public_facts_before_anything_is_spent() {
    for shape in SHAPES {
        let refused = |units: &str, delta: &str| {
            let world = shape.world(60, units);
            let outcome = fit(&world, &format!("--epsilon 1 --delta {delta}")).exits(3).says(&["delta"]);
            assert!(!world.0.path("ledger.jsonl").exists(), "{shape:?}: {outcome}");
        };
        refused("", "2e-5");
        refused("at_least_units = 1000", "1e-3");
        refused("units = 1000", "1e-3");
    }
    // Of six hundred people a count of at least a hundred and one is certain; a smaller one has a probability below 1e-12.
    let world = Shape::Several.world(600, "at_least_units = 50");
    fit(&world, "--epsilon 50 --delta 1e-2").succeeds().says(&["delta is not below 1 / (number of units)"]);
    assert!(world.0.path("model.safetensors").exists(), "what was spent is spent, and buys a model");
}

/// The fewest units are asked of the declared number, alike for every shape; what a noisy count says comes too late to
/// refuse.
#[test]
fn few_units_are_refused_by_their_declared_number_alone() {
    for shape in SHAPES {
        let world = shape.world(300, "units = 9");
        fit(&world, "--epsilon 1").exits(3).says(&["fewer units", "at least 10 units", "remedy"]);
        for world in [shape.world(300, "units = 10"), shape.world(4, "units = 300"), shape.world(20, "")] {
            fit(&world, "--epsilon 1").succeeds();
        }
    }
}

/// What was learnt privately is known now: the audit takes it from the model, and the plan, too.
#[test]
fn a_model_of_learnt_domains_is_audited_with_canaries() {
    let (world, table) = Shape::Several.world(400, "units = 400");
    let other = Shape::Several.world(400, "").0.text("t.csv");
    let others: String = other
        .lines()
        .map(|line| if line.starts_with("who") { format!("{line}\n") } else { format!("9000{line}\n") })
        .collect();
    world.write("holdout.csv", others);
    world.write(
        "schema.toml",
        world.text("schema.toml").replace("domain_from = \"public\"", "domain_from = \"data\"\nkind_from = \"public\""),
    );
    let fitted = world
        .run(&format!(
            "fit {table} --schema schema.toml --epsilon 20 --discover-epsilon 8 --model marginal -o model.safetensors --json"
        ))
        .succeeds()
        .json();
    assert!(fitted["schema"]["column"][1]["domain_from"] == "discovered", "{fitted}");
    world.run("generate model.safetensors --rows 600 --seed 1 -o cohort.csv").succeeds();
    let audited = world.run(&format!(
        "audit --members {table} --holdout holdout.csv --synthetic cohort.csv --schema schema.toml \
         --model model.safetensors --canaries 20 -o audit.json"
    ));
    assert!(matches!(audited.code, Some(0 | 5 | 6)), "{audited}");
    let found = &world.json("audit.json")["white_box"];
    assert_eq!((&found["canaries"], &found["claimed_epsilon"]), (&20.into(), &fitted["epsilon"]), "{audited}");
    assert_eq!(found["conformity"].as_array().unwrap().len(), 2, "{found}");
}

/// With no secret bytes at all the hashes of the tables could be guessed.
#[test]
fn an_empty_salt_is_refused_before_anything_is_spent() {
    for shape in [Shape::Flat, Shape::Folder] {
        let (world, table) = shape.world(300, "units = 300");
        let run = format!(
            "[input]\ntable = \"{table}\"\nschema = \"schema.toml\"\nholdout = \"{table}\"\n[fit]\nepsilon = 1.0\n\
             model = \"independent\"\n[cohort]\nrows = 50\n"
        );
        world.write(
            "run.toml",
            if shape == Shape::Folder { run.replace("holdout = \"t\"", "holdout = \"h\"") } else { run },
        );
        if shape == Shape::Folder {
            std::fs::create_dir(world.path("h")).unwrap();
            let moved = |text: &str| {
                text.lines().map(|line| format!("9000{line}\n")).collect::<String>().replace("9000who", "who")
            };
            world.write("h/people.csv", moved(&world.text("t/people.csv")));
            world.write("h/rows.csv", moved(&world.text("t/rows.csv")));
        }
        std::fs::create_dir(world.path("out")).unwrap();
        world.write("out/tables.salt", "");
        world.refuses(3, "run run.toml -o out", &["tables.salt", "not whole", "32 bytes", "remedy"]);
    }
}
