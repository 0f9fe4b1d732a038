//! Tables in: CSV, NDJSON, workbooks, Parquet and Arrow IPC, checked against a schema.
//!
//! [`read`] finds the cells, [`RawTable::load`] gives them their meaning, and
//! [`inspect`] drafts the schema that says what the meaning is. Errors name the
//! file, the row and the column, never a cell. The rest of the program sees a
//! [`Frame`], or a [`ColumnStore`] of a table that need not fit into memory.

mod batch;
mod cells;
mod column_store;
mod columnar;
mod csv;
mod decode;
mod excel;
pub mod fhir;
mod frame;
mod guard;
mod header;
pub mod inspect;
mod json;
mod linked;
mod load;
#[cfg(test)]
mod one_value;
mod part_file;
mod raw;
mod rules;
mod source;
mod split;

pub use column_store::{ColumnStore, store};
pub use frame::{Frame, FrameColumn, MISSING, Values};
pub use inspect::{Inspection, LinkedInspection, Vouched, constant, inspect, inspect_folder, suggest};
pub use linked::{LinkedTables, Reference, read_linked, read_linked_to_fill, reference_files, table_file};
pub use load::{count_outside, outside};
pub use raw::{RawTable, read, read_cohort, read_linked_table, read_to_inspect};
pub use rules::{broken, count_broken};
pub use source::Source;
pub use split::{Division, Sides, split_folder};

use synthward_privacy::Sensitive;

use crate::error::Result;
use crate::schema::Schema;

/// Reads a table of real rows and applies its schema: [`read`], then [`RawTable::load`].
///
/// # Errors
/// Bad input, as said there.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn load(source: &Source, schema: &Schema) -> Result<Sensitive<Frame>> {
    read(source, &schema.table.reading)?.load(schema)
}

/// How many there are, as far as an operator is told.
pub(crate) fn count_class(count: usize) -> Option<&'static str> {
    match count {
        0 => None,
        1..10 => Some("fewer than 10"),
        10..100 => Some("10 to 99"),
        100..1000 => Some("100 to 999"),
        _ => Some("1000 or more"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::error::Error;
    use crate::schema::Reading;

    fn malformed(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/malformed").join(name)
    }

    fn good_schema() -> Schema {
        Schema::read(malformed("good.toml")).unwrap()
    }

    fn refusal(name: &str) -> Error {
        let e =
            load(&Source::from(&malformed(name)), &good_schema()).err().unwrap_or_else(|| panic!("{name} was read"));
        assert_eq!(e.kind.exit_code(), 3, "{e}");
        assert!(e.remedy.is_some() && e.file.as_deref() == Some(malformed(name).as_path()), "{name}: {e}");
        e
    }

    #[test]
    fn each_malformed_table_is_refused_for_its_own_defect() {
        for (name, row, column, what) in [
            ("empty.csv", None, None, "the file is empty"),
            ("header_only.csv", None, None, "a header line and no rows"),
            ("short_row.csv", Some(2), None, "4 fields, the header has 5"),
            ("long_row.csv", Some(3), None, "6 fields, the header has 5"),
            ("invalid_utf8.csv", Some(2), Some("sex"), "not UTF-8"),
            ("duplicate_column.csv", None, None, "columns number 2 and 4 have the same name"),
            ("unnamed_column.csv", None, None, "the table lacks columns of the schema: `patient`"),
            ("no_header.csv", None, None, "looks like a row"),
            ("open_quote.csv", Some(2), None, "never closed"),
            ("missing_column.csv", None, None, "lacks columns of the schema: `cost`"),
            ("extra_column.csv", None, None, "the schema does not know: `ward`"),
            ("wrong_type.csv", Some(2), Some("age"), "not of kind integer"),
            ("wrong_date.csv", Some(3), Some("admitted"), "not of kind datetime"),
            ("missing_unit.csv", Some(2), Some("patient"), "the privacy unit is missing"),
            ("missing_cell.csv", Some(1), Some("sex"), "nullable = false"),
            ("truncated.csv.gz", None, None, "the gzip file ends too early"),
            ("damaged.csv.gz", None, None, "the gzip file is damaged"),
            ("truncated.parquet", None, None, "the Parquet file is damaged or ends too early"),
            ("damaged.parquet", None, None, "the Parquet file is damaged or ends too early"),
            ("truncated.arrow", None, None, "the Arrow IPC file is damaged or ends too early"),
            ("truncated_stream.arrow", None, None, "the Arrow IPC file is damaged or ends too early"),
            ("no_rows.parquet", None, None, "no rows"),
            ("workbook.csv", None, None, "Excel"),
        ] {
            let e = refusal(name);
            assert!(e.what.contains(what), "{name}: {e}");
            assert_eq!((e.row, e.column.as_deref()), (row, column), "{name}: {e}");
        }
    }

    #[test]
    fn the_good_table_is_read() {
        let source = Source::from(&malformed("good.csv"));
        let raw = read(&source, &Reading::default()).unwrap();
        assert_eq!((raw.rows, raw.sha256.clone()), (3, source.sha256().unwrap()));
        let frame = raw.load(&good_schema()).unwrap().for_controller();
        assert_eq!(frame.unit, Some(vec![0, 1, 0]));
        assert!(count_outside(&frame, &good_schema()).is_empty());
    }

    #[test]
    fn the_fixtures_fit_their_schema() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/diabetes130");
        let schema = Schema::read(folder.join("schema.toml")).unwrap();
        schema.check_for_fit().unwrap();
        for (name, rows, units) in [("encounters.csv.gz", 17_053, 12_000), ("holdout.csv.gz", 4_257, 3_000)] {
            let frame = load(&Source::from(&folder.join(name)), &schema).unwrap().for_controller();
            assert_eq!((frame.rows, frame.columns.len()), (rows, 48));
            assert_eq!(frame.unit.as_ref().and_then(|unit| unit.iter().max()), Some(&(units - 1)));
            assert!(count_outside(&frame, &schema).is_empty());
        }
    }

    #[test]
    fn values_outside_the_domain_are_counted_by_column() {
        let frame = load(&Source::from(&malformed("outside_domain.csv")), &good_schema()).unwrap().for_controller();
        let expected = [("age", 2), ("sex", 1), ("admitted", 1)].map(|(name, n)| (name.to_owned(), n));
        assert_eq!(count_outside(&frame, &good_schema()), expected);
    }

    #[test]
    fn every_data_file_is_listed_with_its_hash() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let listed = std::fs::read_to_string(fixtures.join("README.md")).unwrap();
        for folder in ["diabetes130", "fhir", "formats", "golden", "ledger", "malformed"] {
            for file in std::fs::read_dir(fixtures.join(folder)).unwrap() {
                let path = file.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                let ours = [".md", ".toml", ".py"];
                // README's first command opens a ledger beside the schema.
                let is_opened = ["ledger.jsonl", "ledger.jsonl.head"].contains(&name);
                let is_ours = is_opened || ours.iter().any(|end| name.ends_with(end)) || name == "LICENCE";
                let line = listed.lines().find(|line| line.contains(&format!("`{folder}/{name}`")));
                let hash = Source::from(&path).sha256().unwrap();
                assert!(is_ours || line.is_some_and(|line| line.contains(&hash)), "{folder}/{name} {hash}");
            }
        }
    }

    #[test]
    fn a_directory_and_an_absent_file_are_refused() {
        let directory = load(&Source::from(&malformed("")), &good_schema()).err().unwrap();
        assert!(directory.what.contains("parts of one table") && directory.remedy.is_some(), "{directory}");
        assert!(refusal("absent.csv").what.contains("no such file"));
    }
}
