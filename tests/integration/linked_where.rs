//! Cohorts of persons who satisfy a condition, with everything below them.

use crate::schemas::assert_valid;
use crate::world::{Outcome, World};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::LazyLock;

const SCHEMA: &str = r#"
[linked]
name = "clinic"

[[table]]
name = "persons"
key = "id"
origin = "born"
end = "died"

[[table.column]]
name = "id"
kind = "identifier"
type = "utf8"

[[table.column]]
name = "born"
kind = "datetime"
type = "date32"
min = "1950-01-01"
max = "1999-12-31"
nullable = false
domain_from = "public"

[[table.column]]
name = "died"
kind = "datetime"
type = "date32"
min = "2010-01-01"
max = "2024-12-31"
domain_from = "public"

[[table.column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
nullable = false
domain_from = "public"

[[table.column]]
name = "word"
kind = "categorical"
categories = ["woman", "man"]
nullable = false
domain_from = "public"

[[table.column]]
name = "pregnant"
kind = "boolean"
nullable = false

[[table.column]]
name = "weight"
kind = "integer"
min = 40
max = 140
domain_from = "public"

[[table.constraint]]
kind = "dependency"
of = "word"
on = "sex"
map = { F = "woman", M = "man" }

[[table.constraint]]
kind = "implication"
when = "sex = 'M'"
then = "pregnant = false"

[[table]]
name = "visits"
parent = "persons"
links = { id = "persons" }
order = "at"
since = "calendar"
max_rows = 10

[[table.column]]
name = "id"
kind = "identifier"
type = "utf8"

[[table.column]]
name = "at"
kind = "datetime"
type = "date32"
min = "2010-01-01"
max = "2020-12-31"
nullable = false
domain_from = "public"

[[table.column]]
name = "ward"
kind = "categorical"
categories = ["birth", "heart"]
nullable = false
domain_from = "public"
"#;

/// A thousand persons; every fifth woman is pregnant, and the ward is of birth for those and of the heart for the others.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let world = World::shared("linked-where");
    let mut persons = "id,born,died,sex,word,pregnant,weight\n".to_owned();
    let mut visits = "id,at,ward\n".to_owned();
    for n in 0..1000 {
        let (sex, word) = [("F", "woman"), ("M", "man")][n % 2];
        let pregnant = n % 10 == 0;
        let died = if n % 7 == 0 { "2021-03-04" } else { "" };
        let weight = if n % 3 == 0 { String::new() } else { (50 + n % 61).to_string() };
        let _ = writeln!(persons, "real-{n},{}-05-17,{died},{sex},{word},{pregnant},{weight}", 1950 + n % 49);
        for visit in 0..1 + n % 4 {
            let ward = if pregnant { "birth" } else { "heart" };
            let _ = writeln!(visits, "real-{n},{}-0{}-11,{ward}", 2010 + visit, 1 + n % 9);
        }
    }
    std::fs::create_dir(world.path("clinic")).unwrap();
    world.write("clinic/persons.csv", persons).write("clinic/visits.csv", visits).write("schema.toml", SCHEMA);
    world.run("fit clinic --schema schema.toml --epsilon 10 --delta 1e-5 -o model.safetensors").succeeds();
    world
});

fn draw(persons: usize, condition: &str, folder: &str, options: &[&str]) -> Outcome {
    let persons = persons.to_string();
    let words = ["generate", "model.safetensors", "--rows", &persons, "--where", condition, "-o", folder];
    WORLD.run_words(&[&words, options].concat())
}

type Row = HashMap<String, String>;

fn rows(file: &str) -> Vec<Row> {
    let text = WORLD.text(file);
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

/// A condition and the same said in Rust.
type Case = (&'static str, fn(&Row) -> bool);

fn weight(row: &Row) -> Option<u32> {
    row["weight"].parse().ok()
}

#[test]
fn every_person_satisfies_the_condition_and_the_constraints() {
    let cases: [Case; 6] = [
        ("sex = 'F'", |row| row["sex"] == "F"),
        ("pregnant = true", |row| row["sex"] == "F" && row["pregnant"] == "true"),
        ("word = 'man' and weight >= 71", |row| row["sex"] == "M" && weight(row) >= Some(71)),
        ("weight is null and born between '1970-02-01' and '1980-12-31'", |row| {
            weight(row).is_none() && ("1970-02-01"..="1980-12-31").contains(&row["born"].as_str())
        }),
        ("(sex = 'F' and weight < 60) or (sex = 'M' and born < '1960-01-01') or weight in (99, 100)", |row| {
            row["sex"] == "F" && weight(row).is_some_and(|weight| weight < 60)
                || row["sex"] == "M" && *row["born"] < *"1960-01-01"
                || [Some(99), Some(100)].contains(&weight(row))
        }),
        ("not (sex = 'M' or pregnant = false)", |row| row["pregnant"] == "true"),
    ];
    for (number, (condition, holds)) in cases.iter().enumerate() {
        let folder = format!("case-{number}");
        draw(301, condition, &folder, &["--format", "csv"]).succeeds();
        let (persons, visits) = (rows(&format!("{folder}/persons.csv")), rows(&format!("{folder}/visits.csv")));
        assert_eq!(persons.len(), 301, "{condition}");
        for row in &persons {
            assert!(holds(row), "{condition}: {row:?}");
            assert_eq!(row["word"] == "woman", row["sex"] == "F", "{condition}: {row:?}");
            assert!(row["sex"] == "F" || row["pregnant"] == "false", "{condition}: {row:?}");
        }
        let ids: HashSet<&String> = persons.iter().map(|row| &row["id"]).collect();
        assert!(!visits.is_empty() && visits.iter().all(|row| ids.contains(&row["id"])), "{condition}");
    }
}

/// The rows below follow from the persons that were drawn. Of 301 pregnant persons' about 750 visits nearly all are in the
/// ward of birth, of the others' nearly none: a hundred of a thousand persons are pregnant, and the noise at epsilon 10 is a
/// few persons, so that a share on the wrong side of one half would be tens of its standard deviations away.
#[test]
fn what_is_below_follows_from_the_persons_drawn() {
    let of_birth = |condition: &str, folder: &str| {
        draw(301, condition, folder, &["--format", "csv"]).succeeds();
        let visits = rows(&format!("{folder}/visits.csv"));
        visits.iter().filter(|row| row["ward"] == "birth").count() as f64 / visits.len() as f64
    };
    assert!(of_birth("pregnant = true", "pregnant") > 0.5);
    assert!(of_birth("pregnant = false", "others") < 0.5);
}

#[test]
fn a_seed_gives_the_same_folder_at_any_number_of_threads() {
    let condition = "sex = 'F' or weight > 100";
    draw(400, condition, "seed-one", &["--seed", "3", "--threads", "1", "--format", "csv"]).succeeds();
    draw(400, condition, "seed-two", &["--seed", "3", "--threads", "2", "--format", "csv"]).succeeds();
    for table in ["persons", "visits"] {
        assert!(WORLD.read(&format!("seed-one/{table}.csv")) == WORLD.read(&format!("seed-two/{table}.csv")));
    }
    let sexes: HashSet<String> = rows("seed-one/persons.csv").into_iter().map(|row| row["sex"].clone()).collect();
    assert_eq!(sexes.len(), 2, "all cases of the condition are there");
}

#[test]
fn rarity_is_reported_and_written_into_the_cohort() {
    for (condition, share) in [("pregnant = true", 0.1), ("word = 'woman'", 0.5)] {
        let folder = format!("told-{share}");
        let told = draw(10, condition, &folder, &["--json"]).succeeds().says(&["persons, give or take"]);
        let said = told.json();
        assert_valid("generate_folder.json", &said);
        assert_eq!(said["where"]["condition"], condition);
        // Of a thousand persons; the noise at epsilon 10 is a few of them.
        let probability = said["where"]["rarity"]["probability"].as_f64().unwrap();
        assert!((probability - share).abs() < 0.06, "{said}");
        let bytes = WORLD.read(&format!("{folder}/visits.parquet"));
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("synthward.where") && text.contains(condition));
    }
}

#[test]
fn conditions_that_cannot_be_are_refused() {
    for (condition, code, words) in [
        ("sex =", 2, &["character 6"][..]),
        ("died is null", 3, &["`died`", "told as passed time", "`persons`", "`born`", "remedy"]),
        ("ward = 'heart'", 3, &["`ward`", "a column of table `visits`", "`pregnant`"]),
        ("\"number of visits\" > 2", 3, &["a number of rows"]),
        ("id = 'real-1'", 3, &["not modelled"]),
        ("sexx = 'F'", 3, &["`sex`", "spelling"]),
        ("sex = 'X'", 3, &["does not have this value"]),
        ("sex = 'F' and sex = 'M'", 3, &["impossible"]),
        ("sex = 'F' and word = 'man'", 3, &["holds the constraints", "remedy"]),
        ("sex = 'M' and pregnant = true", 3, &["constraints and the condition", "remedy"]),
    ] {
        draw(10, condition, "refused", &[]).exits(code).says(words);
        assert!(!WORLD.path("refused").exists(), "{condition}");
    }
}
