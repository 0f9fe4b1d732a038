//! CSV: the structure is checked record by record, then polars reads the cells as text.
//!
//! polars alone would pad a short row, rename a doubled column and not say in
//! which row a byte is wrong, so a first pass looks at the structure only.

use std::io::Cursor;
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder, WriterBuilder};
use polars::prelude::{CsvReadOptions, DataFrame, DataType, Field, Schema as PolarsSchema, SerReader};

use super::guard;
use super::load::number;
use super::raw::check_names;
use super::source::Source;
use crate::error::{Error, Result};

/// Reads every cell as text, exactly as spelled: nothing is taken for a null.
pub(super) fn read(source: &Source, bytes: &[u8]) -> Result<DataFrame> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let delimiter = delimiter(bytes);
    let (names, rows) = check_structure(source, bytes, delimiter)?;
    let wanted = (rows, names.len());
    let as_is = read_text(bytes, delimiter, &names);
    if let Some(frame) = as_is.filter(|frame| frame.shape() == wanted) {
        return Ok(frame);
    }
    // Blank lines, CR line ends or free quoting, on which the two readers differ: spell it plainly.
    let plain = respell(bytes, delimiter).ok_or_else(|| unreadable(source))?;
    read_text(&plain, delimiter, &names).filter(|frame| frame.shape() == wanted).ok_or_else(|| unreadable(source))
}

fn read_text(bytes: &[u8], delimiter: u8, names: &[String]) -> Option<DataFrame> {
    let fields = names.iter().map(|name| Field::new(name.as_str().into(), DataType::String));
    let options = CsvReadOptions::default()
        .with_has_header(true)
        .with_schema(Some(Arc::new(PolarsSchema::from_iter(fields))))
        .map_parse_options(|o| o.with_separator(delimiter).with_missing_is_null(false));
    guard::quietly(|| options.into_reader_with_file_handle(Cursor::new(bytes)).finish())
}

fn respell(bytes: &[u8], delimiter: u8) -> Option<Vec<u8>> {
    let mut reader = ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(bytes);
    let mut writer = WriterBuilder::new().delimiter(delimiter).from_writer(Vec::with_capacity(bytes.len()));
    for record in reader.byte_records() {
        writer.write_byte_record(&record.ok()?).ok()?;
    }
    writer.into_inner().ok()
}

/// The separator of the header line: the most frequent of comma, semicolon and tab.
fn delimiter(bytes: &[u8]) -> u8 {
    let header = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let count = |separator: u8| {
        let mut quoted = false;
        header
            .iter()
            .filter(|b| {
                quoted ^= **b == b'"';
                !quoted && **b == separator
            })
            .count()
    };
    // The last of equals wins, so the comma stands last.
    [b'\t', b';', b','].into_iter().max_by_key(|separator| count(*separator)).unwrap_or(b',')
}

/// Column names and number of rows.
fn check_structure(source: &Source, bytes: &[u8], delimiter: u8) -> Result<(Vec<String>, usize)> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(bytes);
    let mut record = ByteRecord::new();
    if !advance(source, &mut reader, &mut record)? {
        return Err(source.bad("the file has no header line").remedy("export the table again"));
    }
    let names = header(source, &record)?;
    let mut rows = 0;
    let mut last_start = 0;
    while advance(source, &mut reader, &mut record)? {
        rows += 1;
        let row = rows as u64;
        if record.len() != names.len() {
            return Err(source
                .bad(format!("the row has {} fields, the header has {}", record.len(), names.len()))
                .row(row)
                .remedy("mend the row: a field too many often means a separator that is not quoted"));
        }
        if let Some(field) = record.iter().position(|field| std::str::from_utf8(field).is_err()) {
            return Err(not_utf8(source).row(row).column(&names[field]));
        }
        last_start = record.position().map_or(0, |p| p.byte() as usize);
    }
    if rows == 0 {
        return Err(source.bad("the file has a header line and no rows").remedy("export the table again"));
    }
    let last = &bytes[last_start.min(bytes.len())..];
    let quotes = last.iter().filter(|b| **b == b'"').count();
    if quotes % 2 == 1 && last.trim_ascii_end().contains(&b'\n') {
        return Err(source
            .bad("a quote is opened and never closed")
            .row(rows as u64)
            .remedy("mend the row, or export the table again"));
    }
    Ok((names, rows))
}

fn advance(source: &Source, reader: &mut csv::Reader<&[u8]>, record: &mut ByteRecord) -> Result<bool> {
    reader.read_byte_record(record).map_err(|_| unreadable(source))
}

fn header(source: &Source, record: &ByteRecord) -> Result<Vec<String>> {
    let names: Vec<String> = record
        .iter()
        .map(|name| String::from_utf8(name.to_vec()).map_err(|_| not_utf8(source)))
        .collect::<Result<_>>()
        .map_err(|e| Error { what: format!("header: {}", e.what), ..e })?;
    // Without a header the first row would be taken for names, and names are shown.
    if let Some(position) = names.iter().position(|name| number(name).is_some()) {
        return Err(source
            .bad(format!(
                "the first line looks like a row, not like a header: field number {} is a number",
                position + 1
            ))
            .remedy("add a header line with the names of the columns; a name is not a number"));
    }
    check_names(source, &names)?;
    Ok(names)
}

fn not_utf8(source: &Source) -> Error {
    source.bad("the text is not UTF-8").expected("UTF-8").remedy("save the table as UTF-8, for instance with iconv")
}

fn unreadable(source: &Source) -> Error {
    source
        .bad("the file cannot be read as CSV")
        .expected("one header line, lines ending in LF or CRLF, double quotes around fields that hold separators")
        .remedy("export the table again, or give it as Parquet")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    use super::*;

    fn cells(text: &str) -> Vec<Vec<String>> {
        let frame = read(&Source::Stdin, text.as_bytes()).unwrap();
        frame.columns().iter().map(|c| c.str().unwrap().iter().map(|v| v.unwrap().to_owned()).collect()).collect()
    }

    #[test]
    fn cells_are_text_as_spelled() {
        let read = cells("\u{feff}a,b\r\nNone, 007 \r\n,NA\n\"x,\"\"y\"\"\nz\",null");
        assert_eq!(read, [vec!["None", "", "x,\"y\"\nz"], vec![" 007 ", "NA", "null"]]);
    }

    #[test]
    fn free_spellings_are_read_as_the_structure_says() {
        assert_eq!(cells("a,b\n5'10\",x\n\"7\",y\n"), [vec!["5'10\"", "7"], vec!["x", "y"]]);
        assert_eq!(cells("a,b\r1,2\r3,4\r"), [vec!["1", "3"], vec!["2", "4"]]);
        assert_eq!(cells("\n\na,b\n1,2\n"), [vec!["1"], vec!["2"]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_comes_back(rows in vec(vec("[ -~äß\n\"]{0,6}", 3), 1..8)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["a", "b", "c"]).unwrap();
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let read = cells(&text);
            for (r, row) in rows.iter().enumerate() {
                for (c, cell) in row.iter().enumerate() {
                    prop_assert_eq!(&read[c][r], cell);
                }
            }
        }
    }

    #[test]
    fn blank_lines_are_no_rows() {
        assert_eq!(cells("a,b\n1,2\n\n3,4\n\n"), [vec!["1", "3"], vec!["2", "4"]]);
        assert_eq!(cells("a\n1\n\n3\n\n"), [vec!["1", "3"]]);
    }

    #[test]
    fn semicolons_and_tabs_separate_too() {
        assert_eq!(cells("a;b\n1,5;2\n"), [vec!["1,5"], vec!["2"]]);
        assert_eq!(cells("a\tb\n1\t2\n"), [vec!["1"], vec!["2"]]);
        assert_eq!(cells("\"a;b;c\",d\n1,2\n"), [vec!["1"], vec!["2"]]);
    }
}
