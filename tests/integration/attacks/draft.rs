//! What a draft reads from rows is marked, and nothing so marked reaches a model.

use crate::hospital::{FIRST_PATIENT, Hospital};
use crate::world::World;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::DataType;
use parquet::arrow::ArrowWriter;
use std::sync::Arc;

const MARK: &str = "# read from rows";

/// A draft without what says that it was read from the rows: remarks, fields with all their lines, whole constraints.
fn unmarked(draft: &str) -> String {
    let mut kept = String::new();
    let mut lines = draft.lines().filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('[') && line.ends_with(MARK) {
            while lines.next_if(|line| !line.starts_with("[[")).is_some() {}
        } else if line.ends_with(MARK) {
            if line.contains("= [ ") {
                while lines.next_if(|line| *line != "]").is_some() {}
                lines.next();
            }
        } else if !line.starts_with(MARK) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Cells that make a column another one.
const HOSTILE: [&str; 13] = [
    "zq-new",
    "-1e300",
    "",
    "NA",
    "007",
    "1999-12-31T23:59:59Z",
    "true",
    "999-12-3456",
    "a long text of many words here",
    "\"1,5\"",
    "<0.5",
    "12 %",
    "31/12/1999",
];

type Table = Vec<Vec<String>>;

/// People of 24 rows, so that one row more changes what most rules say.
fn people() -> Table {
    let head = ["key", "whose", "sex", "code", "cost", "day", "flag", "city", "note", "none", "mail", "from", "until"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for n in 0..24 {
        let row = [
            format!("k-{:04}", n * 37),
            format!("{}", 100 + n / 2),
            ["F", "M"][usize::from(n % 3 == 0)].to_owned(),
            format!("{}", n % 2 + 1),
            format!("{}.5", n * n),
            format!("2020-01-{:02}", n + 1),
            (n % 2 == 0).to_string(),
            ["York", "Bath", "Hull", "Leeds"][n % 4].to_owned(),
            format!("seen on day {n} by the nurse"),
            String::new(),
            format!("p{n}@clinic.example"),
            format!("{n}"),
            format!("{}", n + 3),
        ];
        table.push(row.to_vec());
    }
    table
}

/// The table with one person more, whose rows stand at this place.
fn with_unit(table: &Table, cells: &[&str], unit: Option<usize>, rows: usize, place: usize) -> Table {
    let row = |n: usize| -> Vec<String> {
        let cell = |column: usize| match unit {
            Some(unit) if unit == column => "4711".to_owned(),
            _ => cells[(column + n) % cells.len()].to_owned(),
        };
        (0..table[0].len()).map(cell).collect()
    };
    let mut longer = table.clone();
    longer.splice(place..place, (0..rows).map(row));
    longer
}

fn csv(table: &Table) -> String {
    table.iter().map(|row| row.join(",") + "\n").collect()
}

/// The same table as a file that has types of its own.
fn parquet(table: &Table) -> Vec<u8> {
    let types = [
        DataType::Utf8,
        DataType::Int64,
        DataType::Utf8,
        DataType::Int32,
        DataType::Float64,
        DataType::Date32,
        DataType::Boolean,
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Float32,
        DataType::Utf8,
        DataType::Int16,
        DataType::Int64,
    ];
    let columns = types.iter().enumerate().map(|(index, data_type)| {
        let texts = table[1..].iter().map(|row| Some(row[index].as_str()).filter(|cell| !cell.is_empty()));
        let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
        // What is no cell of the type becomes a missing one.
        (table[0][index].clone(), arrow_cast::cast(&texts, data_type).unwrap(), true)
    });
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// One row after the header, one in the middle, and one at the end.
fn places(table: &Table) -> [usize; 3] {
    [1, table.len() / 2, table.len()]
}

/// Every hostile cell in each column in turn, and a person of nothing but one of them.
fn hostile() -> Vec<Vec<&'static str>> {
    let turned = (0..HOSTILE.len()).map(|first| [&HOSTILE[first..], &HOSTILE[..first]].concat());
    turned.chain(HOSTILE.map(|cell| vec![cell])).collect()
}

/// A draft, but for its source, which is drawn anew for each.
fn draft(world: &World, arguments: &str) -> String {
    let draft = world.run(&format!("inspect {arguments} --quiet")).succeeds().stdout;
    let (mut lines, count) = (Vec::new(), draft.lines().count());
    let is_source = |line: &&str| line.split('=').next().is_some_and(|key| key.trim() == "source");
    lines.extend(draft.lines().filter(|line| !is_source(line)));
    assert_eq!(lines.len(), count - 1, "one source");
    lines.join("\n") + "\n"
}

/// The draft of a table and of one person more are the same but for what is marked, and the marks are needed.
fn differs_in_marks_alone(name: &str, unit: &str, rows: usize, write: impl Fn(&Table) -> Vec<u8>) {
    let world = World::new();
    let table = people();
    let unit_column = table[0].iter().position(|column| column == unit);
    let arguments = format!("{name} --unit {unit}");
    let drafted = |table: &Table| {
        world.write(name, write(table));
        draft(&world, &arguments)
    };
    let own = drafted(&table);
    let bare = unmarked(&own);
    for line in bare.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        let field = line.split(' ').next().unwrap();
        let said = ["name", "privacy_unit", "max_rows_per_unit", "missing", "domain_from", "type"];
        assert!(said.contains(&field), "{line}");
    }
    assert_eq!(bare.matches("\ndomain_from = \"data\"").count(), table[0].len(), "{bare}");
    let mut changed = 0;
    for (number, cells) in hostile().iter().enumerate() {
        let place = places(&table)[number % 3];
        let other = drafted(&with_unit(&table, cells, unit_column, rows, place));
        assert_eq!(unmarked(&other), bare, "{cells:?} at {place}");
        changed += usize::from(other != own);
    }
    assert!(changed > HOSTILE.len(), "the hostile people change what is marked: {changed}");
}

#[test]
fn one_person_more_changes_nothing_in_a_draft_that_is_not_marked() {
    differs_in_marks_alone("people.csv", "row", 1, |table| csv(table).into_bytes());
    differs_in_marks_alone("visits.csv", "whose", 3, |table| csv(table).into_bytes());
    differs_in_marks_alone("visits.parquet", "whose", 3, parquet);
}

/// Patients, their stays, and tests of the stays; a table of wards, and one of letters of which the keys are not there.
fn folder(world: &World, more: &[(&str, &str)]) {
    let _ = std::fs::create_dir(world.path("hospital"));
    let patients: String = (0..30).map(|n| format!("p{n:03},{}-03-01,{}\n", 1930 + n, ["F", "M"][n % 2])).collect();
    let stays: String =
        (0..60).map(|n| format!("s{n:03},p{:03},2020-01-{:02},{},7.5\n", n % 30, n % 28 + 1, n % 3)).collect();
    let tests: String =
        (0..120).map(|n| format!("s{:03},2020-01-{:02},{},code {}\n", n % 60, n % 28 + 1, n % 4, n % 4)).collect();
    let letters: String =
        (0..40).map(|n| format!("p{:03},text {n}\n", n % 30 + if n % 4 == 0 { 0 } else { 500 })).collect();
    for (name, head, rows) in [
        ("patients", "Id,born,sex", patients),
        ("stays", "Id,patient,start,ward,cost", stays),
        ("tests", "stay,day,code,code_text", tests),
        ("letters", "patient,words", letters),
        ("wards", "Id,name", "0,surgery\n1,birth\n2,other\n".to_owned()),
    ] {
        let own: String = more.iter().filter(|(table, _)| *table == name).map(|(_, row)| format!("{row}\n")).collect();
        world.write(&format!("hospital/{name}.csv"), format!("{head}\n{own}{rows}"));
    }
}

/// A folder's draft says of its tables what they are called, and what columns they have; all else is marked.
#[test]
fn one_person_more_changes_nothing_in_the_draft_of_a_folder_that_is_not_marked() {
    let world = World::new();
    folder(&world, &[]);
    let own = draft(&world, "hospital");
    let bare = unmarked(&own);
    assert!(
        bare.contains("structure_from = \"data\"") && own.contains("parent         = \"patients\"   # read"),
        "{own}"
    );
    let many: Vec<(&str, &str)> = std::iter::repeat_n(("tests", "s999,,9,zq"), 400).collect();
    let hostile: [Vec<(&str, &str)>; 7] = [
        vec![("patients", "x,,")],
        vec![("patients", "7,born in May,1e300")],
        // Stays without a moment, so that rows follow each other by none; under keys of nobody.
        (0..9).map(|_| ("stays", "s999,p998,,,")).collect(),
        // So many rows of nobody's stays that the table hangs on nothing.
        many,
        // The keys that were missing are there.
        vec![("patients", "p501,1950-01-01,F"), ("patients", "p502,1950-01-01,F"), ("letters", "p501,zq")],
        vec![("patients", "0,1950-01-01,F"), ("stays", "s998,0,2035-01-01,5,-1"), ("tests", "s998,2035-01-01,zq,zq")],
        vec![("tests", "s001,2020-01-01,0,another text")],
    ];
    let mut changed = 0;
    for more in &hostile {
        folder(&world, more);
        let other = draft(&world, "hospital");
        assert_eq!(unmarked(&other), bare, "{more:?}");
        changed += usize::from(other != own);
    }
    assert_eq!(changed, hostile.len());
}

/// Of two rare categories one patient more turned the order round, and with it the model's header.
#[test]
fn categories_are_in_an_order_of_their_own_whatever_their_counts() {
    let world = World::new();
    let rows = |syphilis: usize| {
        let rare = |name: &str, rows: usize| format!("{name},40\n").repeat(rows);
        let common: String = (0..400).map(|n| format!("{},{}\n", ["well", "asthma"][n % 2], 20 + n % 60)).collect();
        format!("finding,age\n{}{}{common}", rare("hiv", 3), rare("syphilis", syphilis))
    };
    let header = |syphilis: usize| {
        world.write("people.csv", rows(syphilis));
        let draft = draft(&world, "people.csv --unit row");
        world.write("schema.toml", draft.replace("domain_from = \"data\"", "domain_from = \"public\""));
        let name = format!("model-{syphilis}.safetensors");
        let fit = "fit people.csv --schema schema.toml --epsilon 1 --delta 1e-5 --model independent --json -o";
        world.run(&format!("{fit} {name}")).succeeds().json()["schema"].clone()
    };
    let [fewer, same, more] = [2, 3, 4].map(header);
    assert_eq!(fewer["column"][0]["categories"], serde_json::json!(["asthma", "hiv", "syphilis", "well"]));
    assert!(fewer == same && same == more, "{fewer}\n{more}");
}

/// A column's mark is gone where somebody vouches for it, and nowhere else: of identifiers and of what is left out, too.
#[test]
fn a_fit_refuses_every_column_for_which_nobody_vouches() {
    let world = World::new();
    world.write("visits.csv", Hospital::new(300, FIRST_PATIENT).csv());
    let draft = draft(&world, "visits.csv --unit patient");
    let fit = "fit visits.csv --schema schema.toml --epsilon 2 --delta 1e-5 --model independent -o m.safetensors";
    let marks = draft.matches("\ndomain_from = \"data\"").count();
    assert_eq!(marks, 12);
    for number in 0..marks {
        let mut schema = draft.replace("domain_from = \"data\"", "domain_from = \"public\"");
        let (place, found) = schema.match_indices("\ndomain_from = \"public\"").nth(number).unwrap();
        schema.replace_range(place..place + found.len(), "\ndomain_from = \"data\"");
        world.write("schema.toml", schema);
        world.refuses(3, fit, &["was read from the rows", "domain_from = \"public\""]);
        world.refuses(3, &format!("{fit} --discover-epsilon 1"), &["read from the rows", "kind_from = \"public\""]);
    }
    world.write("schema.toml", &draft);
    world.refuses(3, &format!("{fit} --discover-epsilon 1"), &["and those of 11 others", "--kinds-public"]);
}

/// What a budget pays for are ranges and lists. Of identifiers and what is left out nothing is read from the rows.
#[test]
fn a_discovered_header_says_nothing_of_keys_and_of_what_is_left_out() {
    let world = World::new();
    let header = |missing: bool| {
        let mut hospital = Hospital::new(400, FIRST_PATIENT);
        if missing {
            *hospital.cell(0, "visit") = None;
            *hospital.cell(0, "note") = None;
        }
        world.write("visits.csv", hospital.csv());
        world.write("schema.toml", draft(&world, "visits.csv --unit patient --kinds-public"));
        let fit = "fit visits.csv --schema schema.toml --epsilon 20 --discover-epsilon 10 --delta 1e-5 --json";
        let fitted = world.run(&format!("{fit} --model independent -o {missing}.safetensors")).succeeds().json();
        let columns = fitted["schema"]["column"].as_array().unwrap().clone();
        let bare = columns.into_iter().filter(|column| column["kind"] == "identifier");
        bare.collect::<Vec<_>>()
    };
    let [without, with] = [false, true].map(header);
    assert!(without == with && without.len() == 3, "{without:?}\n{with:?}");
    assert!(without.iter().all(|column| column["nullable"] == false), "{without:?}");
    let dropped = without.iter().find(|column| column["drop"] == true).unwrap();
    assert!(dropped.get("type").is_none(), "{dropped}");
}
