//! A model of linked tables asked about persons: scores, and missing cells filled.

use crate::schemas::assert_valid;
use crate::world::{SECRET, World};
use std::sync::LazyLock;

const PATIENTS: usize = 300;
const VISITS: usize = 4;

/// The ward of a visit is that of the patient's group, the kind follows from that of the visit before, and a test's code
/// from the kind.
const SCHEMA: &str = r#"
[linked]
name = "clinic"

[[table]]
name = "patients"
key = "id"
missing = ["?"]

[[table.column]]
name = "id"
kind = "identifier"

[[table.column]]
name = "group"
kind = "categorical"
categories = ["a", "b", "c", "d"]
domain_from = "public"

[[table]]
name = "visits"
key = "id"
parent = "patients"
links = { patient = "patients" }
order = "day"
max_rows = 4
missing = ["?"]

[[table.column]]
name = "id"
kind = "identifier"

[[table.column]]
name = "patient"
kind = "identifier"

[[table.column]]
name = "day"
kind = "datetime"
type = "date32"
min = "2020-01-01"
max = "2020-12-31"
nullable = false
domain_from = "public"

[[table.column]]
name = "ward"
kind = "categorical"
categories = ["A", "B", "C", "D"]
nullable = false
domain_from = "public"

[[table.column]]
name = "kind"
kind = "categorical"
categories = ["x", "y", "z"]
domain_from = "public"

[[table]]
name = "tests"
parent = "visits"
links = { visit = "visits" }
max_rows = 2
missing = ["?"]

[[table.column]]
name = "visit"
kind = "identifier"

[[table.column]]
name = "code"
kind = "categorical"
categories = ["1", "2", "3"]
nullable = false
domain_from = "public"

[[table.column]]
name = "text"
kind = "categorical"
categories = ["blood", "scan", "pressure"]
nullable = false
domain_from = "public"

[[table.column]]
name = "low"
kind = "integer"
min = 0
max = 50
domain_from = "public"

[[table.column]]
name = "high"
kind = "integer"
min = 0
max = 50
domain_from = "public"

[[table.constraint]]
kind = "dependency"
of = "text"
on = "code"
map = { 1 = "blood", 2 = "scan", 3 = "pressure" }

[[table.constraint]]
kind = "inequality"
low = "low"
high = "high"

[[table]]
name = "wards"
reference = true
reference_from = "public"
sha256 = "c3c9770d746e82079c3fa217f1d56003364d5c4eb4908b35c22fc7c4bd637538"
"#;

/// Rows of cells, with the header first.
type Table = Vec<Vec<String>>;

fn csv(table: &Table) -> String {
    table.iter().map(|row| row.join(",") + "\n").collect()
}

fn table(text: &str) -> Table {
    text.lines().map(|line| line.split(',').map(String::from).collect()).collect()
}

fn row<const N: usize>(cells: [String; N]) -> Vec<String> {
    cells.to_vec()
}

/// Patients, visits and tests.
fn clinic() -> [Table; 3] {
    let mut patients = table("id,group");
    let mut visits = table("id,patient,day,ward,kind");
    let mut tests = table("visit,code,text,low,high");
    for n in 0..PATIENTS {
        let group = n * 7 % 4;
        patients.push(row([format!("P{n}"), "abcd"[group..=group].into()]));
        // The last visit stands first: the order is that of the days.
        for place in (0..VISITS).rev() {
            let (kind, day) = ((n + place) % 3, n % 20 + 1);
            let ward = "ABCD"[group..=group].to_owned();
            let visit = format!("V{n}-{place}");
            visits.push(row([
                visit.clone(),
                format!("P{n}"),
                format!("2020-{:02}-{day:02}", 2 * place + 1),
                ward,
                "xyz"[kind..=kind].into(),
            ]));
            for _ in 0..n % 2 + 1 {
                let low = (n * 3 + place) % 40;
                let text = ["blood", "scan", "pressure"][kind];
                let high = low + n % 10;
                tests.push(row([
                    visit.clone(),
                    (kind + 1).to_string(),
                    text.into(),
                    low.to_string(),
                    high.to_string(),
                ]));
            }
        }
    }
    [patients, visits, tests]
}

const NAMES: [&str; 3] = ["patients", "visits", "tests"];

fn write(world: &World, folder: &str, tables: &[Table; 3]) {
    std::fs::create_dir_all(world.path(folder)).unwrap();
    for (name, table) in NAMES.iter().zip(tables) {
        world.write(&format!("{folder}/{name}.csv"), csv(table));
    }
    world.write(&format!("{folder}/wards.csv"), "id\nA\n");
}

static CLINIC: LazyLock<World> = LazyLock::new(|| {
    let world = World::shared("linked-infer");
    world.write("schema.toml", SCHEMA);
    write(&world, "clinic", &clinic());
    let fit = "fit clinic --schema schema.toml --epsilon 10 --delta 1e-5 --model marginal -o model.safetensors";
    world.run(fit).succeeds();
    world
});

#[test]
fn scrambled_visits_make_a_person_less_likely() {
    let world = &*CLINIC;
    let mut scrambled = clinic();
    // Each visit is in the ward of the next one's patient, which is another one's for all that stand last.
    let wards: Vec<String> = scrambled[1][1..].iter().map(|row| row[3].clone()).collect();
    for (n, row) in scrambled[1][1..].iter_mut().enumerate() {
        row[3].clone_from(&wards[(n + VISITS + n % 3 * VISITS) % wards.len()]);
    }
    write(world, "scrambled", &scrambled);
    let told = world.run("infer model.safetensors clinic --score -o real.csv --json --threads 1").succeeds().json();
    assert_valid("infer.json", &told);
    let told_scrambled =
        world.run("infer model.safetensors scrambled --score -o scrambled.csv --json").succeeds().json();
    world.run("infer model.safetensors clinic --score -o again.csv --threads 2").succeeds();
    assert!(world.read("real.csv") == world.read("again.csv"));
    let (real, other) = (table(&world.text("real.csv")), table(&world.text("scrambled.csv")));
    assert_eq!(real[0].join(","), "id,rows,nats,nats_per_row,nats.patients,nats.visits,nats.tests");
    let number = |row: &[String], j: usize| row[j].parse::<f64>().unwrap();
    for (row, n) in real[1..].iter().zip(0..) {
        assert_eq!((&row[0], &row[1]), (&format!("P{n}"), &(1 + VISITS + VISITS * (n % 2 + 1)).to_string()));
        assert!((number(row, 2) - (4..7).map(|j| number(row, j)).sum::<f64>()).abs() < 1e-9);
        assert!((number(row, 3) - number(row, 2) / number(row, 1)).abs() < 1e-9);
    }
    let mean = |rows: &Table, j: usize| rows[1..].iter().map(|row| number(row, j)).sum::<f64>() / PATIENTS as f64;
    assert!((told["nats_per_person"].as_f64().unwrap() - mean(&real, 2)).abs() < 1e-9);
    assert!(mean(&other, 2) > mean(&real, 2) + 1.0, "{} {}", mean(&other, 2), mean(&real, 2));
    assert!(mean(&other, 5) > mean(&real, 5) + 1.0, "the visits are what is scrambled");
    let ward = |told: &serde_json::Value| {
        let columns = told["tables"][1]["columns"].as_array().unwrap();
        columns.iter().find(|column| column["column"] == "ward").unwrap()["perplexity"].as_f64().unwrap()
    };
    assert!(
        ward(&told) < 2.5 && ward(&told_scrambled) > ward(&told) + 0.5,
        "{} {}",
        ward(&told),
        ward(&told_scrambled)
    );
    let columns = told["tables"][2]["columns"].as_array().unwrap();
    assert!(columns.iter().all(|column| column["column"] != "text"), "it follows from the code");
    let printed = world.run("infer model.safetensors clinic --score -o real.csv").succeeds();
    assert!(printed.stdout.contains("nats per person, 300 persons") && printed.stdout.contains("visits: 1200 rows"));
    assert!(printed.stderr.contains("for the data's controller"), "{printed}");
}

#[test]
fn missing_cells_of_all_tables_are_filled() {
    let world = &*CLINIC;
    let (whole, mut gaps) = (clinic(), clinic());
    // A cell of five is taken out of what is no key and no moment.
    for (table, first) in gaps.iter_mut().zip([1, 3, 1]) {
        let width = table[0].len();
        for (n, row) in table[1..].iter_mut().enumerate() {
            for (j, cell) in row.iter_mut().enumerate().skip(first) {
                if (n * 13 + j * 7 + n / width) % 5 == 0 {
                    *cell = "?".into();
                }
            }
        }
    }
    write(world, "gaps", &gaps);
    let fill = "infer model.safetensors gaps --fill";
    world.run(&format!("{fill} -o filled --threads 1")).succeeds();
    world.run(&format!("{fill} -o twin --threads 2")).succeeds();
    world.run(&format!("{fill} -o other --seed 7")).succeeds();
    assert_eq!(world.text("filled/wards.csv"), "id\nA\n", "reference tables are copied");
    let filled = NAMES.map(|name| {
        assert_eq!(world.text(&format!("filled/{name}.csv")), world.text(&format!("twin/{name}.csv")));
        table(&world.text(&format!("filled/{name}.csv")))
    });
    assert!(world.read("filled/visits.csv") != world.read("other/visits.csv"));
    for ((filled, gaps), whole) in filled.iter().zip(&gaps).zip(&whole) {
        assert_eq!(filled.len(), whole.len());
        let mut count = 0;
        for ((filled, gaps), whole) in filled.iter().zip(gaps).zip(whole) {
            for (cell, (gap, known)) in filled.iter().zip(gaps.iter().zip(whole)) {
                if gap == "?" {
                    count += 1;
                    assert!(cell != "?" && !cell.is_empty(), "{filled:?}");
                } else {
                    assert_eq!(cell, known, "a known cell stays");
                }
            }
        }
        assert!(count * 6 > whole.len(), "{count} of {}", whole.len());
    }
    let [patients, visits, tests] = &filled;
    // Wards of patients whose group is known, and kinds, by those of the visits before and after.
    let number = |row: &[String]| row[1][1..].parse::<usize>().unwrap();
    let (mut wards, mut right) = (0, 0);
    for (row, (gap, known)) in visits.iter().zip(gaps[1].iter().zip(&whole[1])).skip(1) {
        let group = &gaps[0][number(row) + 1][1];
        if gap[3] == "?" && group != "?" {
            wards += 1;
            right += usize::from(row[3] == known[3]);
        }
        assert!(["A", "B", "C", "D"].contains(&&*row[3]) && ["x", "y", "z"].contains(&&*row[4]));
    }
    assert!(wards > 100 && right * 10 > wards * 7, "{right} of {wards} wards");
    assert!(patients[1..].iter().all(|row| ["a", "b", "c", "d"].contains(&&*row[1])));
    for row in &tests[1..] {
        let text = ["blood", "scan", "pressure"][row[1].parse::<usize>().unwrap() - 1];
        assert_eq!(row[2], text, "a code that is missing is told from its text, and a text from its code");
        assert!(row[3].parse::<u32>().unwrap() <= row[4].parse::<u32>().unwrap(), "{row:?}");
    }
    world.run(&format!("{fill} -o typed --format parquet --json")).succeeds();
    assert!(world.path("typed/visits.parquet").exists() && world.path("typed/wards.csv").exists());
}

/// A table without rows is filled with none, and a patient without a key is scored and filled as any other.
#[test]
fn an_empty_table_and_a_patient_without_key_are_no_matter() {
    let world = World::new();
    world.write("model.safetensors", CLINIC.read("model.safetensors"));
    let mut tables = clinic();
    tables[0].push(row(["?".into(), "?".into()]));
    tables[2].truncate(1);
    write(&world, "clinic", &tables);
    world.run("infer model.safetensors clinic --score -o scores.csv").succeeds();
    assert_eq!(table(&world.text("scores.csv")).len(), PATIENTS + 2);
    world.run("infer model.safetensors clinic --fill -o filled").succeeds();
    assert_eq!(world.text("filled/tests.csv"), csv(&tables[2]));
    assert!(table(&world.text("filled/patients.csv")).last().unwrap()[1] != "?");
    world.run("infer model.safetensors clinic --fill --format parquet -o typed").succeeds();
    world.run("infer model.safetensors typed --fill --format arrow -o again").succeeds();
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let world = World::new();
    world.write("model.safetensors", CLINIC.read("model.safetensors"));
    write(&world, "clinic", &clinic());
    let mut wrong = clinic();
    wrong[2][3][3] = SECRET.into();
    write(&world, "wrong", &wrong);
    let mut dangling = clinic();
    dangling[1][3][1] = "P-none".into();
    write(&world, "dangling", &dangling);
    std::fs::create_dir(world.path("partial")).unwrap();
    world.write("partial/patients.csv", csv(&clinic()[0]));
    let refuse = |code: i32, options: &str, words: &[&str]| {
        world.refuses(code, &format!("infer model.safetensors {options}"), words);
    };
    refuse(2, "clinic/visits.csv --score -o out.csv", &["is no folder", "linked tables"]);
    refuse(2, "- --fill -o out", &["is no folder", "linked tables"]);
    refuse(2, "clinic --fill --imputations 2 -o out", &["--imputations", "single tables"]);
    refuse(2, "clinic --score -o out.xlsx", &[".parquet"]);
    refuse(2, "clinic --score --format csv -o out.csv", &["cannot be used with"]);
    refuse(2, "clinic --fill --format ndjson -o out", &["FHIR resources", "choose another --format"]);
    refuse(1, "clinic --fill -o clinic", &["no empty folder"]);
    refuse(3, "wrong --fill -o out", &["`low`", "not of kind integer"]);
    refuse(3, "dangling --fill -o out", &["fewer than 10 rows", "hang on a row"]);
    refuse(3, "partial --score -o out.csv", &["no table `visits`"]);
    refuse(3, "absent --score -o out.csv", &["cannot be read"]);
    let single = "[table]\nname = \"t\"\nprivacy_unit = \"row\"\n[[column]]\nname = \"sex\"\nkind = \"categorical\"\n\
                  categories = [\"F\", \"M\"]\nnullable = false\ndomain_from = \"public\"\n";
    world.write("single.toml", single).write("t.csv", format!("sex\n{}", "F\nM\n".repeat(500)));
    world
        .run("fit t.csv --schema single.toml --epsilon 5 --delta 1e-5 --ledger single.jsonl -o single.safetensors")
        .succeeds();
    world.refuses(
        3,
        "infer single.safetensors clinic --score -o out.csv",
        &["tests.csv", "tables of their own", "name one"],
    );
    world.refuses(2, "infer single.safetensors t.csv --fill --format csv -o out.csv", &["--format", "linked tables"]);
}
