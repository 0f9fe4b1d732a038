//! One value has one meaning, whatever file it comes from: a property of all readers together.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;

use super::{Frame, Source, Values, read};
use crate::schema::{ArrowType, Schema};

/// What a schema says of a kind, types that it may have, and its values, each with its spellings.
type KindOfCells = (&'static str, &'static [&'static str], &'static [&'static [&'static str]]);

/// A kind, two choices of its column, and of each row a value and a spelling.
type Chosen = (usize, usize, usize, Vec<(usize, usize)>);

/// Kinds with the types that they may have, and values with their spellings: the first is what a typed file is made from. The
/// missing marker -9 is a number like others in a typed file.
const NUMBERS: [&[&str]; 6] = [
    &["0", "0.0", "-0", "00", "0e5", "+0."],
    &["1", "1.0", "01", " 1 ", "1e0"],
    &["2", "2.00", "+2"],
    &["120", "120.0", "1.2e2", "0120"],
    &["-9", "-9.0", "-09"],
    &["", " ", "?"],
];
const FRACTIONS: [&[&str]; 4] =
    [&["0.1", ".1", "0.10", "1e-1"], &["-1.5", "-1.50", "-15e-1"], &["2.25", "02.25"], &["0.3", "0.30"]];
const TRUTHS: [&[&str]; 3] = [&["true", "True", "TRUE"], &["false", "False", " false"], &["", "?"]];
const TEXTS: [&[&str]; 6] = [&["1"], &["1.0"], &["007"], &["a \"b\", c"], &[" x"], &["?", ""]];
const DAYS: [&[&str]; 3] = [&["2020-01-31"], &["1969-12-31"], &["?", ""]];
const KINDS: [KindOfCells; 9] = [
    ("integer", &["int8", "int64", "uint8", "float32", "float64", "decimal128(10, 2)"], &NUMBERS),
    ("real", &["float32", "float64", "decimal128(10, 2)"], &NUMBERS),
    ("real", &["float32", "float64", "decimal128(10, 2)"], &FRACTIONS),
    ("categorical", &["int8", "int64", "float32", "float64", "decimal128(10, 2)"], &NUMBERS),
    ("ordinal", &["float32", "float64", "decimal128(10, 2)"], &FRACTIONS),
    ("categorical", &["boolean"], &TRUTHS),
    ("boolean", &["boolean"], &TRUTHS),
    ("categorical", &["utf8", "large_utf8", "dictionary(int32, utf8)"], &TEXTS),
    ("datetime", &["date32", "timestamp[us]"], &DAYS),
];

/// A column: its kind, its type, how its categories are spelled, and of each row which value it has and in which spelling.
fn columns() -> impl Strategy<Value = Vec<Chosen>> {
    let rows = prop::collection::vec((0usize..6, 0usize..6), 12);
    prop::collection::vec((0usize..KINDS.len(), 0usize..6, 0usize..6, rows), 1..5)
}

fn is_missing(text: &str) -> bool {
    ["", "?"].contains(&text.trim())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The cells of a frame, missing ones as nothing.
fn cells(frame: &Frame) -> Vec<Vec<Option<String>>> {
    let of = |values: &Values| match values {
        Values::Number(numbers) => numbers.iter().map(|x| (!x.is_nan()).then(|| x.to_string())).collect(),
        Values::Text { codes, labels } => codes.iter().map(|&code| labels.get(code as usize).cloned()).collect(),
    };
    frame.columns.iter().map(|column| of(&column.values)).collect()
}

fn write_typed(folder: &Path, batch: &RecordBatch) -> [Source; 2] {
    let paths = ["t.parquet", "t.arrow"].map(|name| folder.join(name));
    let mut parquet = ArrowWriter::try_new(File::create(&paths[0]).unwrap(), batch.schema(), None).unwrap();
    parquet.write(batch).unwrap();
    parquet.close().unwrap();
    let mut arrow = FileWriter::try_new(File::create(&paths[1]).unwrap(), &batch.schema()).unwrap();
    arrow.write(batch).unwrap();
    arrow.finish().unwrap();
    paths.map(|path| Source::from(&path))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_table_is_the_same_from_every_file(columns in columns()) {
        let folder = tempfile::tempdir().unwrap();
        let mut toml = "[table]\nname = \"t\"\nmissing = [\"?\", \"-9\"]\n".to_owned();
        let (mut csv, mut arrays): (Vec<Vec<String>>, Vec<(String, ArrayRef)>) = (vec![Vec::new(); 13], Vec::new());
        for (number, (kind, arrow_type, spelling, rows)) in columns.iter().enumerate() {
            let (kind, types, values) = KINDS[*kind];
            let arrow_type: ArrowType = types[arrow_type % types.len()].parse().unwrap();
            let name = format!("c{number}");
            toml.push_str(&format!("[[column]]\nname = \"{name}\"\nkind = \"{kind}\"\ntype = \"{arrow_type}\"\n"));
            if ["categorical", "ordinal"].contains(&kind) {
                let is_value = |of: &&&[&str]| !is_missing(of[0]) && of[0] != "-9";
                // An integer type holds no other spelling.
                let spelling = if arrow_type.is_integer() { 0 } else { spelling % 2 };
                let own = values.iter().filter(is_value).map(|of| format!("{:?}", of[spelling % of.len()]));
                toml.push_str(&format!("categories = [{}]\n", own.collect::<Vec<_>>().join(", ")));
            }
            csv[0].push(name.clone());
            let of_row = |&(value, _): &(usize, usize)| values[value % values.len()];
            for (line, row) in csv[1..].iter_mut().zip(rows) {
                line.push(quoted(of_row(row)[row.1 % of_row(row).len()]));
            }
            // A type without a sign has no such marker.
            let unsigned = arrow_type.data_type().is_unsigned_integer();
            let plain = rows.iter().map(|row| Some(of_row(row)[0]).filter(|t| !(is_missing(t) || unsigned && *t == "-9")));
            let plain: ArrayRef = Arc::new(plain.collect::<StringArray>());
            arrays.push((name, cast(&plain, arrow_type.data_type()).unwrap()));
        }
        let path = folder.path().join("t.csv");
        fs::write(&path, csv.iter().map(|line| line.join(",") + "\n").collect::<String>()).unwrap();
        let schema = Schema::from_toml(&toml).unwrap();
        schema.check().unwrap();
        let load = |source: &Source| read(source, &schema.table.reading).unwrap().load_cohort(&schema).unwrap();
        let from_csv = load(&Source::from(&path));
        for source in write_typed(folder.path(), &RecordBatch::try_from_iter(arrays).unwrap()) {
            prop_assert_eq!(cells(&from_csv), cells(&load(&source)), "{} and {}", source, toml);
        }
    }
}
