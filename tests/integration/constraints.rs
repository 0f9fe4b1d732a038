//! Rules of the schema: declared, suggested, counted in real rows, and held by generated ones.

use crate::world::{Outcome, World};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use synthward::ingest::{Source, count_broken, load};
use synthward::schema::Schema;

const COLUMNS: &str = r#"
[table]
name = "stays"
privacy_unit = "patient"
max_rows_per_unit = 3
missing = [""]

[[column]]
name = "patient"
kind = "identifier"
type = "int64"
nullable = false

[[column]]
name = "admitted"
kind = "datetime"
type = "date32"
min = "2021-01-01"
max = "2021-12-31"
nullable = false
domain_from = "public"

[[column]]
name = "discharged"
kind = "datetime"
type = "timestamp[ms]"
resolution = "hour"
min = "2021-01-01"
max = "2022-01-31"
domain_from = "public"

[[column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
nullable = false
domain_from = "public"

[[column]]
name = "pregnant"
kind = "boolean"
type = "boolean"

[[column]]
name = "ward"
kind = "categorical"
categories = ["birth", "child", "heart"]
nullable = false
domain_from = "public"

[[column]]
name = "drugs"
kind = "real"
type = "float64"
decimals = 2
min = 0
max = 40
nullable = false
domain_from = "public"

[[column]]
name = "nights"
kind = "integer"
type = "int16"
min = 0
max = 60
nullable = false
domain_from = "public"

[[column]]
name = "cost"
kind = "real"
type = "decimal128(8, 2)"
decimals = 2
min = 0
max = 80
nullable = false
domain_from = "public"

[[column]]
name = "degree"
kind = "categorical"
categories = ["none", "school", "college", "doctor"]
nullable = false
domain_from = "public"

[[column]]
name = "years"
kind = "integer"
type = "int64"
min = 0
max = 30
nullable = false
domain_from = "public"
"#;

const RULES: &str = r#"
[[constraint]]
name = "stay"
kind = "inequality"
low = "admitted"
high = "discharged"
strict = true

[[constraint]]
name = "men"
kind = "implication"
when = "sex = 'M'"
then = "pregnant = false"

[[constraint]]
name = "births"
kind = "forbidden"
never = "ward = 'birth' and sex = 'M'"

[[constraint]]
name = "bill"
kind = "sum"
total = "cost"
parts = ["drugs", "nights"]

[[constraint]]
name = "one a day"
kind = "unique"
columns = ["patient", "admitted"]

[[constraint]]
name = "school years"
kind = "dependency"
of = "years"
on = "degree"
map = { doctor = 20 }
"#;

/// A table that holds every rule, but for `broken` rows that break the first one.
fn table(patients: usize, broken: usize) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut text = "patient,admitted,discharged,sex,pregnant,ward,drugs,nights,cost,degree,years\n".to_owned();
    let mut left = broken;
    for patient in 1..=patients {
        let is_man = rng.random_bool(0.5);
        let first = rng.random_range(0..300u64);
        for visit in 0..rng.random_range(1..=3u64) {
            let day = |n: u64| chrono::NaiveDate::from_ymd_opt(2021, 1, 1).unwrap() + chrono::Days::new(n);
            let admitted = first + 20 * visit;
            let nights = rng.random_range(0..20u64);
            let discharged = day(if left > 0 { admitted.saturating_sub(5) } else { admitted + nights });
            left = left.saturating_sub(1);
            let hour = rng.random_range(1..24);
            let ward = if is_man {
                ["child", "heart"][rng.random_range(0..2)]
            } else {
                ["birth", "heart"][rng.random_range(0..2)]
            };
            let pregnant = !is_man && (ward == "birth" || rng.random_bool(0.2));
            let cents = rng.random_range(0..4000u64);
            let cost = cents + 100 * nights;
            let degree = rng.random_range(0..4usize);
            let leaves = if rng.random_bool(0.05) { String::new() } else { format!("{discharged} {hour:02}:00:00") };
            text += &format!(
                "{patient},{},{leaves},{},{pregnant},{ward},{}.{:02},{nights},{}.{:02},{},{}\n",
                day(admitted),
                if is_man { "M" } else { "F" },
                cents / 100,
                cents % 100,
                cost / 100,
                cost % 100,
                ["none", "school", "college", "doctor"][degree],
                [0, 10, 15, 20][degree],
            );
        }
    }
    text
}

fn fitted(model: &str) -> World {
    let world = World::shared(&format!("constraints-{model}"));
    world.write("stays.csv", table(1500, 0)).write("schema.toml", COLUMNS.to_owned() + RULES);
    let fit = "fit stays.csv --schema schema.toml --epsilon 8 --delta 1e-5 -o model.safetensors --model";
    let outcome = world.run(&format!("{fit} {model}")).succeeds();
    assert!(!outcome.stderr.contains("rows break it"), "{outcome}");
    world
}

static INDEPENDENT: LazyLock<World> = LazyLock::new(|| fitted("independent"));
static MARGINAL: LazyLock<World> = LazyLock::new(|| fitted("marginal"));

fn draw(world: &World, condition: Option<&str>, name: &str, options: &[&str]) -> Outcome {
    let mut words = vec!["generate", "model.safetensors", "--rows", "2500", "-o", name];
    words.extend(condition.iter().flat_map(|condition| ["--where", condition]));
    world.run_words(&[&words, options].concat())
}

type Row = HashMap<String, String>;

fn rows(world: &World, name: &str) -> Vec<Row> {
    csv::Reader::from_reader(world.text(name).as_bytes()).deserialize().map(Result::unwrap).collect()
}

/// The rules said in Rust, of the text of a row.
fn holds(row: &Row) -> bool {
    let cents = |name: &str| (row[name].parse::<f64>().unwrap() * 100.0).round() as i64;
    let years: HashMap<&str, &str> = [("none", "0"), ("school", "10"), ("college", "15"), ("doctor", "20")].into();
    (row["discharged"].is_empty() || format!("{} 00:00:00", row["admitted"]) < row["discharged"].replace('T', " "))
        && (row["sex"] != "M" || row["pregnant"] != "true")
        && (row["ward"] != "birth" || row["sex"] != "M")
        && cents("cost") == cents("drugs") + cents("nights")
        && (row["degree"] != "doctor" || row["years"] == years["doctor"])
}

/// A condition, and the same said in Rust.
type Case = (Option<&'static str>, fn(&Row) -> bool);

const CONDITIONS: [Case; 4] = [
    (None, |_| true),
    (Some("sex = 'M' and years >= 15"), |r| r["sex"] == "M" && r["years"].parse::<i64>().unwrap() >= 15),
    (Some("cost > 35 and ward != 'heart'"), |r| r["cost"].parse::<f64>().unwrap() > 35.0 && r["ward"] != "heart"),
    (Some("admitted = '2021-03-05' and discharged < '2021-03-07'"), |r| {
        r["admitted"] == "2021-03-05" && r["discharged"].as_str() < "2021-03-07"
    }),
];

#[test]
fn every_row_holds_every_constraint_with_and_without_a_condition() {
    let schema = Schema::from_toml(&(COLUMNS.to_owned() + RULES)).unwrap();
    for world in [&*INDEPENDENT, &*MARGINAL] {
        for (condition, asked) in CONDITIONS {
            for name in ["held.csv", "held.parquet", "held.arrow"] {
                draw(world, condition, name, &[]).succeeds();
                let frame = load(&Source::from(&world.path(name)), &schema).unwrap().for_controller();
                assert_eq!(frame.rows, 2500);
                for (constraint, broken) in count_broken(&frame, &schema) {
                    assert_eq!(broken, 0, "{constraint}, {name}, {condition:?}");
                }
            }
            let rows = rows(world, "held.csv");
            let mut given: HashMap<&str, HashSet<&str>> = HashMap::new();
            let mut days = HashSet::new();
            for row in &rows {
                assert!(holds(row) && asked(row), "{condition:?}: {row:?}");
                assert!(days.insert((&row["patient"], &row["admitted"])), "{row:?}");
                given.entry(&row["degree"]).or_default().insert(&row["years"]);
            }
            assert!(given.values().all(|years| years.len() == 1), "{given:?}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_bytes_at_any_number_of_threads() {
    for (condition, _) in CONDITIONS {
        for format in ["parquet", "csv"] {
            let name = |run: &str| format!("seed-{run}.{format}");
            draw(&MARGINAL, condition, &name("one"), &["--seed", "3", "--threads", "1"]).succeeds();
            draw(&MARGINAL, condition, &name("two"), &["--seed", "3", "--threads", "2"]).succeeds();
            draw(&MARGINAL, condition, &name("other"), &["--seed", "4", "--threads", "2"]).succeeds();
            assert!(MARGINAL.read(&name("one")) == MARGINAL.read(&name("two")));
            assert!(MARGINAL.read(&name("one")) != MARGINAL.read(&name("other")));
        }
    }
}

#[test]
fn constraints_and_a_condition_that_exclude_each_other_are_refused() {
    let world = &*MARGINAL;
    for (condition, words) in [
        ("ward = 'birth' and sex = 'M'", &["cannot be held together", "remedy"][..]),
        ("years = 20 and degree = 'none'", &["no row satisfies the condition and holds the constraints", "remedy"]),
        ("discharged < '2021-03-05' and admitted >= '2021-03-05'", &["cannot be held together"]),
        ("admitted = '2021-03-05' and \"rows of the unit\" = 2", &["no further row differs", "remedy"]),
    ] {
        let outcome = draw(world, Some(condition), "none.csv", &[]).exits(3).says(words);
        assert!(outcome.stdout.is_empty() && !world.path("none.csv").exists(), "{outcome}");
    }
}

#[test]
fn filled_rows_hold_the_constraints() {
    let world = &*MARGINAL;
    let schema = Schema::from_toml(&(COLUMNS.to_owned() + RULES)).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let holes = |line: &str| {
        let cells = line.split(',').enumerate();
        let cell = |(j, cell)| if j > 0 && rng.random_bool(0.3) { "" } else { cell };
        cells.map(cell).collect::<Vec<&str>>().join(",")
    };
    let full = table(300, 0);
    let (header, lines) = full.split_once('\n').unwrap();
    let lines: Vec<String> = lines.lines().map(holes).collect();
    world.write("holes.csv", format!("{header}\n{}\n", lines.join("\n")));
    world.run("infer model.safetensors holes.csv --fill -o full.csv").succeeds();
    let read = load(&Source::from(&world.path("full.csv")), &schema).unwrap().for_controller();
    for (constraint, broken) in count_broken(&read, &schema) {
        // A dependency cannot be mended where both columns are known, and rows are completed one by one.
        assert!(broken == 0 || constraint == "one a day", "{constraint}: {broken}");
    }
    assert!(rows(world, "full.csv").iter().all(|row| !row["discharged"].is_empty() && holds(row)));
}

#[test]
fn real_rows_that_break_a_constraint_are_told_by_class() {
    let world = World::new();
    world.write("stays.csv", table(300, 4)).write("schema.toml", COLUMNS.to_owned() + RULES);
    let fit = "fit stays.csv --schema schema.toml --epsilon 1 --delta 1e-5 --model independent -o model.safetensors";
    let outcome = world.run(fit).succeeds().says(&["constraint `stay`: fewer than 10 rows break it"]);
    assert!(!outcome.stderr.contains("`bill`"), "{outcome}");
}

/// So with tables that hang together, and with a table with an order: in what is told of a row, of a person, and of both.
#[test]
fn real_rows_of_linked_tables_that_break_a_constraint_are_told_by_class() {
    let world = World::new();
    let rows: String = (0..300).map(|n| format!("{},{},{},{}\n", n / 3, n % 3, n % 3 + 1, 40 + n / 3 % 9)).collect();
    let whole = |name: &str| {
        format!(
            "name = \"{name}\"\nkind = \"integer\"\nmin = 0\nmax = 99\nnullable = false\ndomain_from = \"public\"\n"
        )
    };
    let key = "name = \"who\"\nkind = \"identifier\"\ntype = \"int64\"\n";
    let rule = |low: &str, high: &str| format!("kind = \"inequality\"\nlow = \"{low}\"\nhigh = \"{high}\"\n");
    std::fs::create_dir(world.path("folder")).unwrap();
    world.write("folder/people.csv", "who\n".to_owned() + &(0..100).map(|n| format!("{n}\n")).collect::<String>());
    world.write("folder/rows.csv", format!("who,first,last,age\n7,9,2,50\n{rows}"));
    let columns = |head: &str, names: &[&str]| -> String {
        names.iter().map(|name| format!("{head}\n{}", whole(name))).collect()
    };
    world.write(
        "folder.toml",
        format!(
            "[linked]\nname = \"f\"\n[[table]]\nname = \"people\"\nkey = \"who\"\n[[table.column]]\n{key}[[table]]\n\
             name = \"rows\"\nparent = \"people\"\nlinks = {{ who = \"people\" }}\nmax_rows = 5\n[[table.column]]\n{key}{}\
             [[table.constraint]]\n{}[[table.constraint]]\n{}",
            columns("[[table.column]]", &["first", "last", "age"]),
            rule("first", "last"),
            rule("last", "age")
        ),
    );
    let fit = "--epsilon 5 --delta 1e-5 --model independent -o";
    let outcome = world
        .run(&format!("fit folder --schema folder.toml --ledger folder.jsonl {fit} folder.safetensors"))
        .succeeds();
    let outcome = outcome.says(&["rows: constraint `first <= last`: fewer than 10 rows break it"]);
    assert!(!outcome.stderr.contains("last <= age"), "{outcome}");

    world.write("flat.csv", format!("who,first,last,age\n7,2,99,30\n{rows}"));
    world.write(
        "flat.toml",
        format!(
            "[table]\nname = \"flat\"\nprivacy_unit = \"who\"\norder = \"first\"\n[[column]]\n{key}{}[[constraint]]\n\
             kind = \"constant\"\ncolumns = [\"age\"]\n[[constraint]]\n{}[[constraint]]\n{}",
            columns("[[column]]", &["first", "last", "age"]),
            rule("first", "last"),
            rule("last", "age")
        ),
    );
    let outcome = world.run(&format!("fit flat.csv --schema flat.toml {fit} flat.safetensors")).succeeds();
    let outcome = outcome.says(&["constraint `last <= age`: fewer than 10 rows break it"]);
    assert!(!outcome.stderr.contains("`first <= last`"), "{outcome}");
}

#[test]
fn suggestions_are_refused_until_somebody_vouches_for_them() {
    let world = World::new();
    world.write("stays.csv", table(300, 0));
    world.run("inspect stays.csv --unit patient -o draft.toml").succeeds();
    let draft = world.text("draft.toml");
    assert!(draft.contains("[[constraint]]") && draft.contains("from = \"data\""), "{draft}");
    let schema = Schema::from_toml(&draft).unwrap();
    let titles: Vec<String> = schema.constraints.iter().map(|constraint| constraint.title()).collect();
    assert!(titles.contains(&"admitted <= discharged".to_owned()), "{titles:?}");
    assert!(titles.contains(&"years by degree".to_owned()), "{titles:?}");
    // The domains are vouched for, the constraints are not.
    world.write("schema.toml", draft.replace("domain_from = \"data\"", "domain_from = \"public\""));
    let fit = "fit stays.csv --schema schema.toml --epsilon 1 --delta 1e-5 --model independent -o model.safetensors";
    world.refuses(3, fit, &["constraint `", "was read from the rows", "from = \"public\"", "remedy"]);
    world.run("inspect stays.csv --unit patient --kinds-public -o schema.toml").succeeds();
    world.run(&(fit.to_owned() + " --discover-epsilon 0.5")).succeeds();
    let drawn = world.run("generate model.safetensors --rows 3000 -o cohort.csv").succeeds();
    let shorter = rows(&world, "cohort.csv").iter().filter(|row| row["discharged"] < row["admitted"]).count();
    assert!(shorter > 100, "a constraint that was left out is not held: {drawn}");
    world.run("inspect stays.csv --unit patient --assume-public --source-of schema.toml -o vouched.toml").succeeds();
    assert!(!world.text("vouched.toml").contains("\"data\"\n"));
    world.run(&fit.replace("schema.toml", "vouched.toml").replace("model.s", "vouched.s")).succeeds();
}

#[test]
fn a_constraint_that_cannot_be_is_refused_with_its_place() {
    let world = World::new();
    world.write("stays.csv", table(10, 0));
    for (rule, words) in [
        (
            "kind = \"sum\"\ntotal = \"cost\"\nparts = [\"sex\"]",
            &["line ", "`cost = sex`", "`sex` has kind categorical"][..],
        ),
        ("kind = \"forbidden\"\nnever = \"sex = 'X'\"", &["line ", "`F`, `M`", "remedy"]),
        ("kind = \"inequality\"\nlow = \"admitted\"", &["line ", "lacks `high`"]),
        ("kind = \"between\"", &["line ", "unknown word, expected one of"]),
    ] {
        world.write("schema.toml", format!("{COLUMNS}[[constraint]]\n{rule}\n"));
        let fit = "fit stays.csv --schema schema.toml --epsilon 1 --delta 1e-5 -o model.safetensors";
        world.refuses(3, fit, &[words, &["schema.toml"]].concat());
    }
}
