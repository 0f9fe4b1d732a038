//! Tables as others write them: separators, marks in numbers, encodings, dates, NDJSON, workbooks.

use crate::world::World;
use std::path::Path;
use synthward::ingest::{Source, Values, Vouched, inspect, load, read_to_inspect};
use synthward::schema::{Column, DomainFrom, Kind, Reading, Schema};

/// How a table of invented people is written.
#[derive(Clone, Copy)]
struct Dialect {
    separator: char,
    decimal: char,
    thousands: &'static str,
    encode: fn(&str) -> Vec<u8>,
}

fn utf8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

fn utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

const PLAIN: Dialect = Dialect { separator: ',', decimal: '.', thousands: "", encode: utf8 };

const HEAD: [&str; 5] = ["city", "weight", "cost", "visits", "admitted"];

/// Text, and numbers: whole ones, of one decimal, and of two above a thousand.
fn people() -> Vec<[String; 5]> {
    let row = |n: usize| {
        [
            ["Köln", "Zürich", "Bath", ""][n % 4].to_owned(),
            format!("{}.{}", 55 + n % 30, n % 10),
            format!("{}.{:02}", 900 + 37 * n, n * 7 % 100),
            (n * 113).to_string(),
            format!("2020-0{}-{:02}", n % 9 + 1, n % 28 + 1),
        ]
    };
    (0..60).map(row).collect()
}

impl Dialect {
    fn number(&self, plain: &str) -> String {
        let (whole, decimals) =
            plain.split_once('.').map_or((plain, None), |(whole, decimals)| (whole, Some(decimals)));
        let mut grouped = String::new();
        for (place, digit) in whole.chars().enumerate() {
            if place > 0 && (whole.len() - place) % 3 == 0 {
                grouped.push_str(self.thousands);
            }
            grouped.push(digit);
        }
        decimals.map_or(grouped.clone(), |decimals| format!("{grouped}{}{decimals}", self.decimal))
    }

    fn table(&self) -> Vec<u8> {
        let separator = self.separator.to_string();
        let quoted = |cell: String| if cell.contains(self.separator) { format!("\"{cell}\"") } else { cell };
        let line = |row: [String; 5]| {
            let [city, weight, cost, visits, admitted] = row;
            let numbers = [weight, cost, visits].map(|plain| self.number(&plain));
            let cells = [vec![city], numbers.to_vec(), vec![admitted]].concat();
            cells.into_iter().map(quoted).collect::<Vec<_>>().join(&separator) + "\n"
        };
        (self.encode)(
            &std::iter::once(HEAD.join(&separator) + "\n").chain(people().into_iter().map(line)).collect::<String>(),
        )
    }
}

/// The schema as it is drafted, everything vouched for, and the cells that are read by it.
fn drafted(path: &Path) -> (Schema, Vec<(String, Values)>) {
    let source = Source::from(path);
    let raw = read_to_inspect(&source, &Reading::default()).unwrap();
    let schema = inspect(&raw, &[], Some("row"), Vouched::All).unwrap().schema;
    let schema = Schema::from_toml(&schema.to_toml()).unwrap();
    let frame = load(&source, &schema).unwrap().for_controller();
    (schema, frame.columns.into_iter().map(|column| (column.name, column.values)).collect())
}

fn same(a: &[(String, Values)], b: &[(String, Values)]) -> bool {
    let same = |a: &Values, b: &Values| match (a, b) {
        (Values::Number(a), Values::Number(b)) => a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()),
        (a, b) => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(|((name, a), (other, b))| name == other && same(a, b))
}

/// However a table is written, its draft says of the columns what that of plain CSV does, and its cells are the same.
#[test]
fn one_table_is_one_table_however_it_is_written() {
    let world = World::new();
    world.write("plain.csv", PLAIN.table());
    let (schema, cells) = drafted(&world.path("plain.csv"));
    assert_eq!(schema.table.reading, Reading::default());
    let kinds: Vec<Kind> = schema.columns.iter().map(|column| column.kind).collect();
    assert_eq!(kinds, [Kind::Categorical, Kind::Real, Kind::Real, Kind::Integer, Kind::Datetime]);
    let objects: String = people()
        .into_iter()
        .map(|[city, weight, cost, visits, admitted]| {
            let city = if city.is_empty() { String::new() } else { format!("\"city\":\"{city}\",") };
            format!("{{{city}\"weight\":{weight},\"cost\":{cost},\"visits\":{visits},\"admitted\":\"{admitted}\"}}\n")
        })
        .collect();
    let dialects = [
        ("semicolons.csv", Dialect { separator: ';', decimal: ',', thousands: ".", encode: latin1 }.table()),
        ("commas.csv", Dialect { decimal: ',', thousands: "", ..PLAIN }.table()),
        ("thousands.csv", Dialect { thousands: ",", ..PLAIN }.table()),
        ("swiss.csv", Dialect { separator: ';', thousands: "'", ..PLAIN }.table()),
        ("french.tsv", Dialect { separator: '\t', decimal: ',', thousands: "\u{a0}", encode: latin1 }.table()),
        ("bars.txt", Dialect { separator: '|', encode: utf16, ..PLAIN }.table()),
        ("objects.ndjson", objects.into_bytes()),
    ];
    for (name, bytes) in dialects {
        world.write(name, bytes);
        let (other, read) = drafted(&world.path(name));
        let first = if name == "objects.ndjson" { "weight" } else { "city" };
        let ordered = |schema: &Schema| -> Vec<Column> {
            let mut columns = schema.columns.clone();
            columns.sort_by(|a, b| a.name.cmp(&b.name));
            columns
        };
        assert!(other.columns[0].name == *first || name == "objects.ndjson", "{name}");
        assert_eq!(ordered(&other), ordered(&schema), "{name}");
        let sorted = |cells: &[(String, Values)]| {
            let mut cells: Vec<_> = cells.iter().map(|(name, cells)| (name.clone(), cells.clone())).collect();
            cells.sort_by(|a, b| a.0.cmp(&b.0));
            cells
        };
        assert!(same(&sorted(&read), &sorted(&cells)), "{name}");
    }
}

/// A sheet is a table, of which the header is the first row.
#[test]
fn a_sheet_of_a_workbook_is_a_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/formats");
    let (schema, cells) = drafted(&folder.join("visits.xlsx"));
    let kinds: Vec<Kind> = schema.columns.iter().map(|column| column.kind).collect();
    let expected = [Kind::Categorical, Kind::Integer, Kind::Categorical, Kind::Real, Kind::Datetime, Kind::Boolean];
    assert_eq!(kinds, expected);
    let numbers = |name: &str| match &cells.iter().find(|(column, _)| column == name).unwrap().1 {
        Values::Number(numbers) => numbers.clone(),
        Values::Text { .. } => panic!("{name}"),
    };
    assert_eq!(numbers("cost")[..3], [0.0, 1000.25, 2000.5]);
    // 2001-03-01 is day 11,382 of 1970's epoch.
    assert_eq!(numbers("admitted")[..2], [11_382.0, 11_383.0]);
    let world = World::new();
    world.write("book.xlsx", std::fs::read(folder.join("two_sheets.xlsx")).unwrap());
    world.refuses(3, "inspect book.xlsx --unit row", &["several sheets", "`visits`, `empty`", "--sheet"]);
    let draft = world.run("inspect book.xlsx --unit patient --sheet visits").succeeds().stdout;
    assert!(draft.contains("reading           = { sheet = \"visits\" }"), "{draft}");
    world.refuses(3, "inspect book.xlsx --sheet other", &["no sheet `other`"]);
}

/// What is told from the cells is marked, and nothing is fitted until somebody vouches for it; what is given is not.
#[test]
fn a_reading_told_from_the_rows_is_vouched_for() {
    let world = World::new();
    world.write("people.csv", Dialect { separator: ';', decimal: ',', thousands: ".", encode: latin1 }.table());
    let draft = world.run("inspect people.csv --unit row").succeeds().stdout;
    let told = "reading           = { separator = \";\", decimal = \",\", thousands = \".\", encoding = \"latin1\", from = \"data\" }   # read from rows";
    assert!(draft.contains(told), "{draft}");
    let fit = "fit people.csv --schema schema.toml --epsilon 1 --delta 1e-5 --model independent -o m.safetensors";
    let vouched = draft.replace("domain_from = \"data\"", "domain_from = \"public\"");
    world.write("schema.toml", &vouched);
    world.refuses(3, fit, &["was told from the rows", "from = \"public\""]);
    world.refuses(3, &format!("{fit} --discover-epsilon 0.5"), &["was told from the rows"]);
    world.write("schema.toml", vouched.replace("from = \"data\" }", "from = \"public\" }"));
    world.run(fit).succeeds();
    let other = Dialect { separator: '\t', ..PLAIN };
    world.write("other.tsv", other.table());
    world.run(&fit.replace("people.csv", "other.tsv")).succeeds().says(&["is separated by '\\t', and not by ';'"]);
    for option in ["--assume-public", "--kinds-public"] {
        let draft = world.run(&format!("inspect people.csv --unit row {option}")).succeeds().stdout;
        assert!(draft.contains("encoding = \"latin1\", from = \"public\" }"), "{draft}");
    }
    let given = "inspect people.csv --unit row --separator ; --decimal , --encoding iso-8859-1";
    let draft = world.run(given).succeeds().stdout;
    assert!(draft.contains("thousands = \".\", encoding = \"iso-8859-1\", from = \"data\" }"), "{draft}");
    world.write("few.csv", "a;b\n1,5;ü\n2,5;x\n");
    let draft = world.run("inspect few.csv --unit row --decimal , --encoding utf-8").succeeds().stdout;
    assert!(draft.contains("{ separator = \";\", decimal = \",\", encoding = \"utf-8\" }"), "{draft}");
    world.refuses(2, "inspect few.csv --encoding klingon", &["encoding is not known"]);
    world.refuses(2, "inspect few.csv --separator xy", &["not one character"]);
}

/// The whole way from a table that nobody prepared; a cohort is plain, in whatever file, and is judged the same.
#[test]
fn a_table_with_semicolons_goes_the_whole_way() {
    let world = World::new();
    let dialect = Dialect { separator: ';', decimal: ',', thousands: ".", encode: latin1 };
    world.write("people.csv", dialect.table()).write("holdout.csv", dialect.table());
    world.run("inspect people.csv --unit row --assume-public -o schema.toml").succeeds();
    let fit = "fit people.csv --schema schema.toml --epsilon 5 --delta 1e-5 --model independent -o m.safetensors";
    world.run(fit).succeeds();
    let judged = ["cohort.csv", "cohort.parquet"].map(|cohort| {
        world.run(&format!("generate m.safetensors --rows 200 --seed 3 -o {cohort}")).succeeds();
        let tables = "--real people.csv --holdout holdout.csv --schema schema.toml";
        world.run(&format!("evaluate {tables} --synthetic {cohort} --json")).succeeds().json()
    });
    assert_eq!(judged[0], judged[1]);
    let cohort = world.text("cohort.csv");
    assert!(cohort.starts_with("city,weight,cost,visits,admitted\n") && cohort.contains("Köln"), "{cohort}");
    // The model knows how its tables are read.
    world.run("infer m.safetensors people.csv --score -o scores.csv").succeeds();
    // A later file in the same spelling with one cell that is none.
    let wrong =
        latin1(&String::from_utf8(Dialect { encode: utf8, ..dialect }.table()).unwrap().replacen("55,0", "55.0.1", 1));
    world.write("wrong.csv", wrong);
    let refused = "evaluate --real people.csv --holdout wrong.csv --schema schema.toml --synthetic cohort.parquet";
    world.refuses(3, refused, &["wrong.csv", "row 1", "column `weight`"]);
}

/// Percent, limits of detection, and dates in which a number above 12 says what comes first.
#[test]
fn columns_say_how_their_cells_are_written() {
    let world = World::new();
    let rows: String = (0..60)
        .map(|n| {
            let crp = if n % 5 == 0 { "<0.5".to_owned() } else { format!("{}.{}", n % 7 + 1, n % 10) };
            let (month, day) = (n % 9 + 1, n % 28 + 1);
            format!("{} %,{crp},{month}/{day}/2020,{}/{}/2020\n", 40 + n % 50, n % 12 + 1, n % 5 + 1)
        })
        .collect();
    world.write("labs.csv", format!("saturation,crp,drawn,told\n{rows}"));
    let (schema, cells) = drafted(&world.path("labs.csv"));
    let [saturation, crp, drawn, told] = &schema.columns[..] else { panic!() };
    assert_eq!((saturation.kind, saturation.suffix.as_deref(), saturation.limits), (Kind::Integer, Some("%"), false));
    assert_eq!((crp.kind, crp.suffix.as_deref(), crp.limits), (Kind::Real, None, true));
    assert_eq!(crp.range(), Some((0.5, 7.8)));
    let formats = [drawn, told].map(|column| column.format.as_deref());
    assert_eq!(formats, [Some("%m/%d/%Y"); 2], "one column shows it, the other follows");
    assert!(matches!(&cells[1].1, Values::Number(numbers) if numbers[0] == 0.5 && numbers[1] == 2.1));
    assert!(schema.columns.iter().all(|column| column.domain_from == Some(DomainFrom::Public)));
    // Without another column that shows it, the day is taken to come first, and the draft says so.
    let rows: String = (0..30).map(|n| format!("{}/{}/2020\n", n % 12 + 1, n % 9 + 1)).collect();
    world.write("dates.csv", format!("day\n{rows}"));
    let draft = world.run("inspect dates.csv --unit row").succeeds().stdout;
    assert!(draft.contains("%d/%m/%Y") && draft.contains("could be exchanged: check the format"), "{draft}");
}

/// What one of two tables shows holds in the draft of both; two spellings have no one schema.
#[test]
fn a_second_table_shows_what_the_first_does_not() {
    let world = World::new();
    let table = |cells: &dyn Fn(usize) -> String| -> String {
        let rows: String = (0..40).map(|n| format!("{}\n", cells(n))).collect();
        format!("crp,day\n{rows}")
    };
    world.write("first.csv", table(&|n| format!("{}.{},{}/{}/2020", n % 7 + 1, n % 10, n % 12 + 1, n % 5 + 1)));
    let limit = |n: usize| if n.is_multiple_of(4) { "<0.5".to_owned() } else { format!("{}.{}", n % 9, n % 10) };
    world.write("second.csv", table(&|n| format!("{},{}/{}/2020", limit(n), n % 12 + 1, n % 28 + 1)));
    let draft = world.run("inspect first.csv --also second.csv --unit row --assume-public -o schema.toml").succeeds();
    assert!(draft.stderr.contains("numbers as text"), "{draft}");
    let schema = Schema::read(world.path("schema.toml")).unwrap();
    assert!(schema.columns[0].limits && schema.columns[1].format.as_deref() == Some("%m/%d/%Y"));
    for name in ["first.csv", "second.csv"] {
        assert!(load(&Source::from(&world.path(name)), &schema).is_ok(), "{name}");
    }
    world.write("third.csv", "crp;day\n0,5;1/2/2020\n1,5;1/3/2020\n");
    world.refuses(3, "inspect first.csv --also third.csv --unit row", &["third.csv", "read otherwise", "--decimal"]);
}

/// R and pandas write the names of rows under no name.
#[test]
fn a_first_column_without_a_name_holds_the_names_of_rows() {
    let world = World::new();
    let rows = |name: &dyn Fn(usize) -> String| -> String {
        (0..40).map(|n| format!("{}{},{}\n", name(n), n % 7, ["F", "M"][n % 2])).collect()
    };
    world.write("r.csv", format!("\"\",\"age\",\"sex\"\n{}", rows(&|n| format!("\"{}\",", n + 1))));
    let (schema, cells) = drafted(&world.path("r.csv"));
    assert!(schema.columns[0].name == "row_names" && schema.columns[0].drop && cells.len() == 2);
    world.write("plain.csv", format!("age,sex\n{}", rows(&|_| String::new())));
    let plain = load(&Source::from(&world.path("plain.csv")), &schema).unwrap().for_controller();
    assert_eq!(plain.columns.len(), 2, "a later file may lack them");
    let (schema, _) = drafted(&world.path("plain.csv"));
    assert!(load(&Source::from(&world.path("r.csv")), &schema).is_ok(), "or have them");
    world.write("two.csv", "a,,b\n1,2,3\n");
    world.refuses(3, "inspect two.csv", &["column number 2 has no name"]);
}

/// Lines that are no objects are told by their number; what is nested can only be left out.
#[test]
fn lines_of_objects_are_told_by_their_number() {
    let world = World::new();
    world.write("t.ndjson", "{\"a\":1,\"b\":{\"c\":\"zq-secret-7741\"}}\n\n{\"a\":2.5,\"d\":true}\n");
    let draft = world.run("inspect t.ndjson --unit row --assume-public -o schema.toml").succeeds();
    assert!(!draft.stdout.contains("zq-secret"));
    let schema = Schema::read(world.path("schema.toml")).unwrap();
    let found: Vec<(&str, bool)> = schema.columns.iter().map(|column| (column.name.as_str(), column.drop)).collect();
    assert_eq!(found, [("a", false), ("b", true), ("d", false)]);
    for (line, what) in
        [("[1]", "no JSON object"), ("{\"a\":1,\"a\":2}", "a key twice"), ("{\"a\":zq-secret-7741}", "no JSON object")]
    {
        world.write("t.ndjson", format!("{{\"a\":1}}\n{line}\n"));
        world.refuses(3, "inspect t.ndjson", &["t.ndjson", "row 2", what]);
    }
    world.write("t.ndjson", "{\"a\":1}\n{\"a\":2}\n");
    world.shell("cat t.ndjson | synthward inspect - --unit row --quiet").succeeds();
}

/// A folder's tables are each read in their own way.
#[test]
fn the_tables_of_a_folder_have_their_own_readings() {
    let world = World::new();
    std::fs::create_dir(world.path("ward")).unwrap();
    let patients: String = (0..30).map(|n| format!("p{n:03};{};M\u{fc}ller{}\n", 1930 + n, n % 3)).collect();
    let stays: String =
        (0..60).map(|n| format!("s{n:03}|p{:03}|2020-01-{:02}|{}.5\n", n % 30, n % 28 + 1, n % 9)).collect();
    world.write("ward/patients.csv", latin1(&format!("Id;born;doctor\n{patients}")));
    world.write("ward/stays.csv", format!("Id|patient|start|dose\n{stays}"));
    world.run("inspect ward --assume-public -o schema.toml").succeeds();
    let schema = world.text("schema.toml");
    assert!(schema.contains("{ separator = \";\", encoding = \"latin1\", from = \"public\" }"), "{schema}");
    assert!(schema.contains("{ separator = \"|\" }"), "{schema}");
    let fit = "fit ward --schema schema.toml --epsilon 5 --delta 1e-5 --model independent -o m.safetensors";
    world.run(fit).succeeds();
}
