//! A table with several rows a person that follow each other, from its rows to a cohort of the same kind.

use crate::plan::assert_estimated;
use crate::world::{SECRET, World};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// The order is put in by the tests; the constraints stand last.
const SCHEMA: &str = r#"
[table]
name = "stays"
privacy_unit = "who"
max_rows_per_unit = 8
order = "stay"

[[column]]
name = "stay"
kind = "identifier"
type = "int64"

[[column]]
name = "ward"
kind = "categorical"
categories = ["eye", "heart", "skin"]
nullable = false
domain_from = "public"

[[column]]
name = "who"
kind = "identifier"
type = "utf8"

[[column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
domain_from = "public"

[[column]]
name = "note"
kind = "categorical"
drop = true

[[column]]
name = "age"
kind = "integer"
type = "int16"
min = 0
max = 99
domain_from = "public"

[[column]]
name = "stage"
kind = "ordinal"
categories = ["I", "II", "III", "IV"]
nullable = false
domain_from = "public"

[[column]]
name = "day"
kind = "datetime"
type = "date32"
min = "2015-01-01"
max = "2025-12-31"
nullable = false
domain_from = "public"

[[constraint]]
kind = "constant"
columns = ["sex"]

[[constraint]]
kind = "ascending"
columns = ["age", "stage", "day"]

[[constraint]]
kind = "forbidden"
never = "age < 18 and ward = 'heart'"

[[constraint]]
kind = "implication"
when = "sex = 'M'"
then = "ward != 'skin'"
"#;

const WARDS: [&str; 3] = ["eye", "heart", "skin"];
const STAGES: [&str; 4] = ["I", "II", "III", "IV"];

/// The stays of these people, which stand in the file in no order. Nearly all stays of a person are in one ward.
fn stays(people: std::ops::Range<usize>) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(people.start as u64);
    let mut rows = Vec::new();
    for who in people {
        let mut ward = rng.random_range(0..3);
        let (mut age, mut stage, mut day) = (rng.random_range(20..80), 0, rng.random_range(0..2_000));
        let sex = ["F", "M"][rng.random_range(0..2)];
        for visit in 0..rng.random_range(1..=9) {
            if rng.random_bool(0.04) {
                ward = rng.random_range(0..3);
            }
            let date = chrono::NaiveDate::from_ymd_opt(2015, 1, 1).unwrap() + chrono::Days::new(day);
            let (id, ward, at) = (who * 100 + visit, WARDS[ward], STAGES[stage]);
            rows.push(format!("{id},{ward},real-{who},{sex},{SECRET},{age},{at},{date}\n"));
            age += usize::from(rng.random_bool(0.3));
            stage = (stage + usize::from(rng.random_bool(0.2))).min(3);
            day += rng.random_range(0..90);
        }
    }
    rows.sort_by_key(|row| row.bytes().rev().fold(0u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte)));
    format!("stay,ward,who,sex,note,age,stage,day\n{}", rows.concat())
}

const FIT: &str = "fit train.csv --schema schema.toml --epsilon 10 --delta 1e-5";

/// Eight hundred people, a model of them, and two cohorts.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let world = World::shared("history").of_few_steps();
    world.write("train.csv", stays(0..800)).write("holdout.csv", stays(1_000..1_400)).write("schema.toml", SCHEMA);
    world.run(&format!("{FIT} -o model.safetensors")).succeeds().says(&["rows above max_rows_per_unit are left out"]);
    let generate = "generate model.safetensors --rows 3000 --seed 3";
    world.run(&format!("{generate} --threads 1 -o cohort.csv")).succeeds();
    world.run(&format!("{generate} --threads 2 -o again.csv")).succeeds();
    world
});

type Rows = Vec<HashMap<String, String>>;

fn rows(text: &str) -> Rows {
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    lines.map(|line| header.iter().cloned().zip(line).collect()).collect()
}

fn cohort() -> Rows {
    rows(&WORLD.text("cohort.csv"))
}

/// Successive rows of a person.
fn successive(rows: &Rows) -> impl Iterator<Item = &[HashMap<String, String>]> {
    rows.windows(2).filter(|pair| pair[0]["who"] == pair[1]["who"])
}

/// Panics where a cell that is there is below that of the row before; numbers and dates are written alike.
fn ascends(rows: &Rows, column: &str, value: impl Fn(&str) -> i64) {
    for pair in successive(rows).filter(|pair| !pair[0][column].is_empty() && !pair[1][column].is_empty()) {
        assert!(value(&pair[0][column]) <= value(&pair[1][column]), "{column}: {pair:?}");
    }
}

fn number(text: &str) -> i64 {
    text.replace('-', "").parse().unwrap()
}

fn stage(text: &str) -> i64 {
    STAGES.iter().position(|stage| *stage == text).unwrap() as i64
}

#[test]
fn a_cohort_is_one_table_and_holds_what_the_schema_says() {
    let rows = cohort();
    assert_eq!(WORLD.text("cohort.csv").lines().next(), Some("stay,ward,who,sex,age,stage,day"));
    assert_eq!(rows.len(), 3_000);
    let people: HashSet<&String> = rows.iter().map(|row| &row["who"]).collect();
    assert_eq!(rows.len() - successive(&rows).count(), people.len(), "the rows of a person stand together");
    let mut sexes: HashMap<&String, &String> = HashMap::new();
    assert!(rows.iter().all(|row| *sexes.entry(&row["who"]).or_insert(&row["sex"]) == &row["sex"]));
    ascends(&rows, "stay", number);
    ascends(&rows, "age", number);
    ascends(&rows, "day", number);
    ascends(&rows, "stage", stage);
    assert!(rows.iter().all(|row| row["ward"] != "heart" || row["age"].is_empty() || number(&row["age"]) >= 18));
    assert!(rows.iter().all(|row| row["sex"] != "M" || row["ward"] != "skin"), "though some real rows are so");
    let text = WORLD.text("cohort.csv");
    assert!(!text.contains("real-") && !text.contains(SECRET));
    assert!(text == WORLD.text("again.csv"), "a seed means the same cohort at any number of threads");
    WORLD.run("generate model.safetensors --rows 500 --seed 3 -o few.csv").succeeds();
    assert!(text.starts_with(&WORLD.text("few.csv")), "fewer rows are the first of more");
    WORLD.run("generate model.safetensors --rows 500 --seed 4 -o other.csv").succeeds();
    assert!(WORLD.text("few.csv") != WORLD.text("other.csv"));
}

/// How a row follows from the one before it is learnt: of successive stays 97 % are in one ward, of independent ones 34 %
/// would be; people have 4.9 stays of those that are kept. The cohort's share stands 0.01 and its mean 0.1 around that of the
/// model, by chance; what noise does to the model at epsilon 10 is small beside the margins.
#[test]
fn the_history_of_a_person_is_told() {
    let rows = cohort();
    let pairs: Vec<_> = successive(&rows).collect();
    let same = pairs.iter().filter(|pair| pair[0]["ward"] == pair[1]["ward"]).count() as f64 / pairs.len() as f64;
    let people = (rows.len() - pairs.len()) as f64;
    let a_person = rows.len() as f64 / people;
    println!("same {same:.3}, rows {a_person:.2}");
    assert!(same > 0.75, "{same}");
    assert!((4.0..5.8).contains(&a_person), "{a_person}");
    let days = |row: &HashMap<String, String>| row["day"].parse::<chrono::NaiveDate>().unwrap();
    let gaps: Vec<f64> = pairs.iter().map(|pair| (days(&pair[1]) - days(&pair[0])).num_days() as f64).collect();
    assert!(gaps.iter().sum::<f64>() / (gaps.len() as f64) < 500.0, "days are near those of the stay before");
}

/// The person is the unit of the ledger and of what is said, and the model is one of a flat table.
#[test]
fn the_unit_is_the_column() {
    let shown = WORLD.run("ledger show ledger.jsonl --json").succeeds().json().to_string();
    assert!(shown.contains(r#""unit":{"column":"who"}"#), "{shown}");
    WORLD.write("evaluated.toml", SCHEMA);
    let judged = "--holdout holdout.csv --synthetic cohort.csv --schema evaluated.toml";
    let figures = WORLD.run(&format!("evaluate --real train.csv {judged} --json")).succeeds().json();
    let constraints = figures["constraints"].as_array().unwrap();
    assert!(constraints.len() == 4 && constraints.iter().all(|c| c["synthetic"] == 0), "{constraints:?}");
    WORLD.run("generate model.safetensors --rows 50 -o cohort.parquet").succeeds();
    let file = WORLD.read("cohort.parquet");
    let has = |text: &str| file.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(has("synthward.unit") && has("all rows that share one value of `who`"));
    WORLD.run("infer model.safetensors holdout.csv --score -o scores.csv").succeeds();
    assert_eq!(WORLD.text("scores.csv").lines().count(), 401, "a line a person");
}

/// The real mean is 45 days to the next stay; the cohort's stands about 4 around the model's by chance, and noise at epsilon 10
/// adds a tail of some days. Drawn without the row before, the mean would be 700.
#[test]
fn moments_tell_the_order_as_well() {
    let world = World::new();
    world.write("train.csv", stays(0..300)).write("schema.toml", SCHEMA.replace("order = \"stay\"", "order = \"day\""));
    world.run(&format!("{FIT} -o model.safetensors")).succeeds();
    world.run("generate model.safetensors --rows 1000 -o cohort.csv").succeeds();
    let rows = rows(&world.text("cohort.csv"));
    assert_eq!(rows.len(), 1_000);
    ascends(&rows, "day", number);
    ascends(&rows, "age", number);
    ascends(&rows, "stage", stage);
    let gap = |pair: &[HashMap<String, String>]| {
        let day = |row: &HashMap<String, String>| row["day"].parse::<chrono::NaiveDate>().unwrap();
        (day(&pair[1]) - day(&pair[0])).num_days() as f64
    };
    let gaps: Vec<f64> = successive(&rows).map(gap).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    assert!((15.0..200.0).contains(&mean), "{mean} days to the next stay, of 45");
}

#[test]
fn rows_that_disagree_are_told_in_classes() {
    let world = World::new().of_few_steps();
    let text = stays(0..120);
    let first = text.lines().nth(1).unwrap();
    let sex = if first.contains(",F,") { [",F,", ",M,"] } else { [",M,", ",F,"] };
    let who = first.split(',').nth(2).unwrap();
    let later = first.replacen(first.split(',').next().unwrap(), "999999", 1).replace(sex[0], sex[1]);
    world.write("train.csv", format!("{text}{later}\n")).write("schema.toml", SCHEMA.replace("= 8", "= 20"));
    let fitted = world.run(&format!("{FIT} -o model.safetensors")).succeeds();
    let fitted =
        fitted.says(&["fewer than 10 rows disagree with the first row of their `who`", "the first says what it is"]);
    assert!(!fitted.stderr.contains(who) && !fitted.stderr.contains("left out"), "{fitted}");
}

#[test]
fn what_is_not_known_of_a_history_is_refused() {
    let world = World::new();
    world.write("train.csv", stays(0..60));
    let fit = format!("{FIT} -o model.safetensors");
    let refused = |schema: &str, command: &str, code: i32, words: &[&str]| {
        world.write("schema.toml", schema).refuses(code, command, words);
    };
    let order = "order = \"stay\"";
    refused(&SCHEMA.replace("privacy_unit = \"who\"", "privacy_unit = \"row\""), &fit, 3, &["order is given"]);
    refused(
        &SCHEMA.replace(order, "order = \"ward\""),
        &fit,
        3,
        &["has kind categorical", "identifier of whole numbers"],
    );
    refused(&SCHEMA.replace(order, "order = \"who\""), &fit, 3, &["the same in all rows of a person"]);
    refused(&SCHEMA.replace(order, "order = \"note\""), &fit, 3, &["is left out"]);
    let unique = format!("{SCHEMA}[[constraint]]\nkind = \"unique\"\ncolumns = [\"who\", \"day\"]\n");
    refused(&unique, &fit, 3, &["schema.toml", "unique who, day", "cannot be held"]);
    let mixed = format!("{SCHEMA}[[constraint]]\nkind = \"dependency\"\nof = \"ward\"\non = \"sex\"\n");
    refused(&mixed, &fit, 3, &["some of its columns are constant within a person"]);
    refused(SCHEMA, &format!("{fit} --model diffusion"), 3, &["diffusion", "`order` out of the schema"]);
    refused(SCHEMA, &format!("{fit} --discover-epsilon 1"), 2, &["--discover-epsilon", "`order` out of the schema"]);
    for (arguments, words) in [
        ("generate model.safetensors --rows 9 --where ward='eye' -o few.csv", "--where is for models"),
        ("generate model.safetensors --rows 9 --format csv -o few.csv", "--format and --reference"),
        ("infer model.safetensors holdout.csv --fill -o filled.csv", "--fill is for models"),
        (
            "audit --members train.csv --holdout holdout.csv --synthetic cohort.csv --schema schema.toml --model model.safetensors",
            "without an order",
        ),
    ] {
        let outcome = WORLD.run(arguments).exits(2).says(&[words, "remedy"]);
        assert_eq!(outcome.stdout, "");
    }
}

const RUN: &str = r#"
[input]
table = "train.csv"
schema = "schema.toml"
holdout = "holdout.csv"

[fit]
epsilon = 3.0

[cohort]
rows = 500

[report]
purpose = "tests"
recipients = "nobody"
legal_basis = "none is needed: the rows are invented"
release = "none"
conditions = "none"
expiry = "none"
split = "by chance, by person"
"#;

#[test]
fn a_run_makes_one_file_and_one_report() {
    let world = World::new().of_few_steps();
    world.write("train.csv", stays(0..200)).write("holdout.csv", stays(1_000..1_100)).write("schema.toml", SCHEMA);
    world.write("run.toml", RUN);
    let plan = world.run("plan run.toml -o out --json").succeeds().json();
    let facts = [&plan["unit"], &plan["max_rows_per_unit"], &plan["missing"]];
    assert_eq!(facts, [&"who".into(), &8.into(), &serde_json::json!([])]);
    assert_eq!(plan["columns"].as_array().unwrap().len(), 8);
    assert_estimated(&plan);
    let told = plan["estimate"]["rows"].as_u64().unwrap();
    assert!((500..2000).contains(&told), "{told} rows, told from the size of the file; it has 1,000 or so");
    assert!(!world.path("ledger.jsonl").exists(), "planning is not spending");
    world.run("run run.toml -o out").runs();
    let report = world.json("out/report.json");
    let claim = &report["claim"];
    assert_eq!(claim["unit"], "all rows that share one value of `who`");
    assert_eq!(claim["rows_used"], "the first 8 by `stay`; later ones were left out");
    assert_eq!(report["columns"].as_array().unwrap().len(), 8);
    assert!(world.path("out/cohort.parquet").is_file() && world.path("out/report.html").is_file());
    world.run("ledger verify ledger.jsonl").succeeds();
    world.run("run run.toml -o out --resume").runs();
    world.write("run.toml", RUN.replace("[fit]", "[audit]\ncanaries = 40\n[fit]"));
    world.run("run run.toml -o other").exits(3).says(&["canaries", "without an order"]);
}
