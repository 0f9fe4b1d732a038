//! `split`: training rows and a holdout, by person; and runs that have no holdout.

use crate::hospital::{FIRST_PATIENT, Hospital};
use crate::world::World;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeSet;

fn rows(world: &World, name: &str) -> RecordBatch {
    let bytes = bytes::Bytes::from(world.read(name));
    let batches: Vec<RecordBatch> =
        ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(Result::unwrap).collect();
    arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn texts(rows: &RecordBatch, column: &str) -> Vec<String> {
    rows[column].as_string::<i32>().iter().map(|cell| cell.unwrap_or_default().to_owned()).collect()
}

fn drafted(world: &World, table: &str, unit: &str) {
    world.run_carefully(&format!("inspect {table} --unit {unit} --assume-public -o schema.toml")).succeeds();
}

/// The people of both sides, once a table was divided.
fn sides(world: &World, table: &str, seed: u64, folder: &str) -> [BTreeSet<String>; 2] {
    let split = format!("split {table} --schema schema.toml --holdout 0.3 --seed {seed} -o {folder}");
    world.run_carefully(&split).succeeds();
    ["train", "holdout"]
        .map(|side| texts(&rows(world, &format!("{folder}/{side}.parquet")), "patient").into_iter().collect())
}

const ROWS: &str = "[table]\nname = \"rows\"\nprivacy_unit = \"row\"\n\
    [[column]]\nname = \"id\"\nkind = \"identifier\"\ntype = \"utf8\"\n\
    [[column]]\nname = \"age\"\nkind = \"integer\"\nmin = 0\nmax = 99\n\
    [[column]]\nname = \"ward\"\nkind = \"categorical\"\ncategories = [\"a\", \"b\", \"c\"]\n\
    [[column]]\nname = \"note\"\nkind = \"identifier\"\ndrop = true\n";

/// Where each row is a person: what one more brings to the file (another order of keys, a key of its own, a cell that makes a
/// column unreadable, all rows numbered anew) moves nobody else to the other side.
#[test]
fn no_row_moves_another_one_to_the_other_side() {
    let world = World::new();
    world.write("schema.toml", ROWS);
    // Of rows that are alike, the number among them tells the side: the one more is like none.
    let cells = |n: usize| (if n == 400 { 95 } else { n * 7 % 90 }, ["a", "b", "c"][n % 3]);
    let object = |n: usize| {
        let (age, ward) = cells(n);
        format!("{{\"id\":\"p{n}\",\"age\":{age},\"ward\":\"{ward}\",\"note\":\"n{n}\"}}\n")
    };
    let objects: String = (0..400).map(object).collect();
    let numbered = |rows: std::ops::Range<usize>| -> String {
        let line = |(number, n): (usize, usize)| {
            let (age, ward) = cells(n);
            format!("{number},p{n},{age},{ward},n{n}\n")
        };
        std::iter::once(",id,age,ward,note\n".to_owned()).chain(rows.rev().enumerate().map(line)).collect()
    };
    let sides = |file: &str, text: String| -> [BTreeSet<String>; 2] {
        world.write(file, text);
        let _ = std::fs::remove_dir_all(world.path("sides"));
        world.run(&format!("split {file} --schema schema.toml --holdout 0.3 -o sides")).succeeds();
        ["train", "holdout"].map(|side| {
            let people = texts(&rows(&world, &format!("sides/{side}.parquet")), "id");
            people.into_iter().filter(|id| id != "p400" && id != "new").collect()
        })
    };
    let before = sides("t.ndjson", objects.clone());
    assert!(before[1].len() > 80 && before[0].len() + before[1].len() == 400);
    for one_more in [
        "{\"ward\":\"a\",\"note\":\"x\",\"age\":95,\"id\":\"new\"}",
        "{\"mine\":1,\"id\":\"new\",\"age\":95,\"ward\":\"a\"}",
        "{\"id\":\"new\",\"age\":95,\"ward\":\"a\",\"note\":[1]}",
    ] {
        assert_eq!(sides("t.ndjson", format!("{one_more}\n{objects}")), before, "{one_more}");
    }
    // The last row comes first: one more has number 0, and all others another number.
    assert_eq!(sides("t.csv", numbered(0..400)), sides("t.csv", numbered(0..401)));
}

/// All rows of a person are on one side, no row is lost, and whoever is added, everybody else stays where they are.
#[test]
fn people_are_divided_each_by_themselves() {
    let world = World::new();
    let hospital = Hospital::new(400, FIRST_PATIENT);
    world.write("visits.csv", hospital.csv());
    drafted(&world, "visits.csv", "patient");
    let [train, holdout] = sides(&world, "visits.csv", 1, "one");
    let all = rows(&world, "one/train.parquet").num_rows() + rows(&world, "one/holdout.parquet").num_rows();
    assert_eq!(all, hospital.csv().lines().count() - 1);
    assert!(train.is_disjoint(&holdout));
    // 0.3 of 400, within four standard deviations of the binomial law; a fixed seed.
    assert!(holdout.len().abs_diff(120) < 37, "{}", holdout.len());
    assert_eq!(sides(&world, "visits.csv", 1, "again"), [train.clone(), holdout.clone()]);
    assert_ne!(sides(&world, "visits.csv", 2, "other")[1], holdout);
    // One person more, in front of all others.
    let csv = hospital.csv();
    let (head, rest) = csv.split_once('\n').unwrap();
    let first = rest.lines().next().unwrap();
    let place = head.split(',').position(|name| name == "patient").unwrap();
    let mut cells: Vec<&str> = first.split(',').collect();
    cells[place] = "999999";
    world.write("visits.csv", format!("{head}\n{}\n{rest}", cells.join(",")));
    let longer = sides(&world, "visits.csv", 1, "longer").map(|mut side| {
        side.remove("999999");
        side
    });
    assert_eq!(longer, [train, holdout]);
}

/// Where each row is a person, so does a row; equal rows are told apart by their number.
#[test]
fn rows_that_are_people_are_divided_by_what_they_are() {
    let world = World::new();
    let table: Vec<String> = (0..200).map(|n| format!("{},{}", n % 50, ["F", "M"][n % 2])).collect();
    let write = |rows: &[String]| world.write("people.csv", format!("age,sex\n{}\n", rows.join("\n")));
    let counted = |folder: &str| {
        world.run_carefully(&format!("split people.csv --schema schema.toml -o {folder}")).succeeds();
        ["train", "holdout"].map(|side| {
            let rows = rows(&world, &format!("{folder}/{side}.parquet"));
            let mut rows: Vec<String> =
                texts(&rows, "age").into_iter().zip(texts(&rows, "sex")).map(|(a, s)| a + &s).collect();
            rows.sort();
            rows
        })
    };
    write(&table);
    drafted(&world, "people.csv", "row");
    let before = counted("one");
    assert!(before[1].len() > 15 && before[1].len() < 70, "{}", before[1].len());
    let mut turned = table.clone();
    turned.reverse();
    turned.insert(7, "3,M".into());
    write(&turned);
    let after = counted("two");
    let more = |side: usize| after[side].len() - before[side].len();
    assert_eq!(more(0) + more(1), 1, "one row more on one side, and all others as they were");
    let side = usize::from(more(1) == 1);
    let mut left = after[side].clone();
    left.remove(left.iter().position(|row| row == "3M").unwrap());
    assert_eq!((left, &after[1 - side]), (before[side].clone(), &before[1 - side]));
}

/// The copies are their owner's alone, named beside the ledger, and gone with `--clean`; a file that somebody changed is left.
#[test]
fn copies_are_private_named_and_removed() {
    let world = World::new();
    world.write("visits.csv", Hospital::new(60, FIRST_PATIENT).csv());
    drafted(&world, "visits.csv", "patient");
    let split = "split visits.csv --schema schema.toml -o split";
    let answer = world.run_carefully(&format!("{split} --json")).succeeds().json();
    crate::schemas::assert_valid("split.json", &answer);
    #[cfg(unix)]
    for name in ["split/train.parquet", "split/holdout.parquet", "ledger.jsonl.copies"] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let named = world.text("ledger.jsonl.copies");
    assert!(named.contains("split/train.parquet") && named.contains("split/holdout.parquet"), "{named}");
    world.refuses(1, split, &["is there already"]);
    world.write("split/holdout.parquet", "mine");
    world.run_carefully("split --clean --schema schema.toml").exits(1).says(&["is not what `split` wrote any more"]);
    assert!(!world.path("split/train.parquet").exists() && world.text("split/holdout.parquet") == "mine");
    std::fs::remove_file(world.path("split/holdout.parquet")).unwrap();
    let answer = world.run_carefully("split --clean --schema schema.toml --json").succeeds().json();
    crate::schemas::assert_valid("split_clean.json", &answer);
    assert!(!world.path("ledger.jsonl.copies").exists());
    for (arguments, words) in [
        ("split visits.csv --schema schema.toml --holdout 1 -o s", "between 0 and 1"),
        ("split --schema schema.toml", "required"),
        ("split visits.csv --clean --schema schema.toml", "cannot be used with"),
    ] {
        world.refuses(2, arguments, &[words]);
    }
    world.write("one.csv", Hospital::new(1, FIRST_PATIENT).csv());
    world.refuses(3, "split one.csv --schema schema.toml -o s", &["one side would have nobody"]);
}

/// A table that is not plain is divided into plain ones, which its schema reads alike.
#[test]
fn a_table_in_another_spelling_is_divided_into_plain_ones() {
    let world = World::new();
    let rows: String = (0..80).map(|n| format!("{};{},5;{} %\n", n, 50 + n % 40, n % 100)).collect();
    world.write("people.csv", format!("id;weight;share\n{rows}"));
    drafted(&world, "people.csv", "id");
    world.run_carefully("split people.csv --schema schema.toml -o split").succeeds();
    world.run_carefully("generate --help").succeeds();
    let fit =
        "fit split/train.parquet --schema schema.toml --epsilon 5 --delta 1e-5 --model independent -o m.safetensors";
    world.run_carefully(fit).succeeds();
    assert!(texts(&self::rows(&world, "split/train.parquet"), "weight").iter().all(|weight| weight.ends_with(".5")));
}

/// Persons of a folder with all that hangs on them.
#[test]
fn a_folder_is_divided_by_person() {
    let world = World::new();
    std::fs::create_dir(world.path("ward")).unwrap();
    let patients: String = (0..60).map(|n| format!("p{n:03},{},{}\n", 1930 + n, ["F", "M"][n % 2])).collect();
    let stays: String =
        (0..180).map(|n| format!("s{n:03},p{:03},2020-01-{:02},{}\n", n % 60, n % 28 + 1, n % 3)).collect();
    world.write("ward/patients.csv", format!("Id,born,sex\n{patients}"));
    world.write("ward/stays.csv", format!("Id,patient,start,ward\n{stays}"));
    world.write("ward/wards.csv", "Id,name\n0,surgery\n1,birth\n2,other\n");
    world.run_carefully("inspect ward --assume-public --reference wards -o schema.toml").succeeds();
    world.run_carefully("split ward --schema schema.toml --holdout 0.4 -o split").succeeds();
    let people = |side: &str, table: &str, column: &str| -> BTreeSet<String> {
        texts(&rows(&world, &format!("split/{side}/{table}.parquet")), column).into_iter().collect()
    };
    for side in ["train", "holdout"] {
        assert_eq!(people(side, "patients", "Id"), people(side, "stays", "patient"), "{side}");
        let stays = rows(&world, &format!("split/{side}/stays.parquet")).num_rows();
        assert_eq!(stays, 3 * people(side, "patients", "Id").len());
        assert_eq!(world.text(&format!("split/{side}/wards.csv")), world.text("ward/wards.csv"));
    }
    assert!(people("train", "patients", "Id").is_disjoint(&people("holdout", "patients", "Id")));
    let fit = "fit split/train --schema schema.toml --epsilon 5 --delta 1e-5 --model independent -o m.safetensors";
    world.run_carefully(fit).succeeds();
    world.run_carefully("split --clean --schema schema.toml").succeeds();
    assert!(!world.path("split/train/wards.csv").exists() && world.path("ward/wards.csv").exists());
}

/// A run without a holdout divides its table, says what that costs, draws as many rows as the model knows of, and leaves no
/// copy behind.
#[test]
fn a_run_without_a_holdout_divides_its_table() {
    let world = World::new();
    world.write("visits.csv", Hospital::new(400, FIRST_PATIENT).csv());
    drafted(&world, "visits.csv", "patient");
    // Without the rules that the draft suggests: other tests are about them.
    let schema = world.text("schema.toml");
    world.write("schema.toml", &schema[..schema.find("\n[[constraint]]").unwrap_or(schema.len())]);
    world.write(
        "run.toml",
        "[input]\ntable = \"visits.csv\"\nschema = \"schema.toml\"\n\n[fit]\nmodel = \"independent\"\nepsilon = 5.0\ndelta = 1e-5\n",
    );
    let wrong = |share: &str| {
        let run = world.text("run.toml").replace("[input]", &format!("[input]\nholdout_share = {share}"));
        world.write("wrong.toml", run);
        world.run("plan wrong.toml").exits(3).says(&["wrong.toml", "holdout_share", "remedy"]);
    };
    for share in ["0", "1.0", "nan", "0.3\nholdout = \"visits.csv\""] {
        wrong(share);
    }
    let third = world.text("run.toml").replace("[input]", "[input]\nholdout_share = 0.33");
    world.write("third.toml", third);
    let plan = world.run_carefully("plan third.toml --json").succeeds().json();
    let (all, held) = (plan["estimate"]["rows"].as_f64().unwrap(), plan["estimate"]["holdout_rows"].as_f64().unwrap());
    assert!((held / (all + held) - 0.33).abs() < 0.02, "{plan}");
    let plan = world.run_carefully("plan run.toml --json").succeeds().json();
    let (all, held) = (plan["estimate"]["rows"].as_f64().unwrap(), plan["estimate"]["holdout_rows"].as_f64().unwrap());
    assert!((held / (all + held) - 0.2).abs() < 0.02, "{plan}");
    world.run_carefully("run run.toml -o out").runs().says(&["no holdout is given", "are held out", "noise weighs"]);
    assert!(!world.path("out/split").exists() && !world.path("ledger.jsonl.copies").exists());
    let report = world.json("out/report.json");
    assert!(report["stated"]["split"].as_str().unwrap().contains("20 % of the people"), "{}", report["stated"]);
    // Four fifths of the people with as many rows as they have on average, as the noisy counts say: within a third.
    let (drawn, real) =
        (rows(&world, "out/cohort.parquet").num_rows() as f64, world.text("visits.csv").lines().count() as f64 - 1.0);
    let expected = 0.8 * real;
    assert!((drawn / expected - 1.0).abs() < 0.34, "{drawn} of {expected}");
    // It can be gone on with: the same people are held out.
    std::fs::remove_file(world.path("out/report.html")).unwrap();
    world.run_carefully("run run.toml -o out --resume").runs();
}
