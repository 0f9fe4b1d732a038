//! CSV, record by record: the structure is checked while the cells are collected, as text.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;
use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::decode::{decoded, encoding};
use super::header::header;
use super::raw::PLAIN;
use super::source::Source;
use crate::error::{Error, Result};
use crate::schema::Reading;

/// Bytes of text in one part of the table, and rows: whichever is reached first.
const PART_BYTES: usize = 16 << 20;
const PART_ROWS: usize = 1 << 17;
/// The longest row: a quote that is opened and never closed would swallow all rows behind it.
const LONGEST_ROW: usize = 64 << 20;
/// Bytes that are looked at for the end of the header line.
const LONGEST_HEADER: u64 = 1 << 20;
/// Separators that a header line tells, the last of those that come equally often: so the comma stands last.
const SEPARATORS: [u8; 4] = [b'|', b'\t', b';', b','];
/// Bytes before the row at hand that are kept, at most.
const KEPT: u64 = 1 << 20;

/// A CSV file that is being read.
pub(super) struct Reader {
    source: Source,
    is_packed: bool,
    encoding: &'static str,
    reader: csv::Reader<Tail>,
    /// How the text is read, its separator included.
    pub reading: Reading,
    pub names: Vec<String>,
    record: StringRecord,
    rows: usize,
    /// Where the last row begins.
    last_start: u64,
}

impl Reader {
    /// Reads as far as the header line.
    ///
    /// # Errors
    /// Bad input: no header line, or one that is none.
    pub fn new(source: &Source, bytes: Box<dyn Read + Send>, is_packed: bool, reading: &Reading) -> Result<Self> {
        let broken = |e: io::Error| source.broken(is_packed, &e);
        let first_line = |bytes: &mut dyn BufRead| {
            let mut line = Vec::new();
            bytes.take(LONGEST_HEADER).read_until(b'\n', &mut line).map_err(broken)?;
            Ok::<_, Error>(line)
        };
        let mut stored = BufReader::new(bytes);
        let line = first_line(&mut stored)?;
        let reading = if is_other(&line, reading) { &PLAIN } else { reading };
        let encoding = encoding(reading.encoding.as_deref(), &line);
        let mut bytes = BufReader::new(decoded(Box::new(Cursor::new(line).chain(stored)), encoding));
        let mut line = first_line(&mut bytes)?;
        if line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        let delimiter = reading.separator.map_or_else(|| delimiter(&line), |mark| mark as u8);
        let tail = Tail { bytes: Box::new(Cursor::new(line).chain(bytes)), kept: Vec::new(), start: 0 };
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .buffer_capacity(1 << 16)
            .from_reader(tail);
        let record = StringRecord::new();
        let reading = Reading { separator: Some(delimiter as char), ..reading.clone() };
        let mut table = Self {
            source: source.clone(),
            is_packed,
            encoding: encoding.name(),
            reader,
            reading,
            names: vec![],
            record,
            rows: 0,
            last_start: 0,
        };
        let is_there = table.advance().map_err(|e| Error { what: format!("header: {}", e.what), row: None, ..e })?;
        if !is_there {
            return Err(source.bad("the file has no header line").remedy("export the table again"));
        }
        table.names = header(source, table.record.iter().map(str::to_owned).collect())?;
        Ok(table)
    }

    /// The cells of the next rows, column by column, exactly as spelled: nothing is taken for a null. `None` at the end.
    ///
    /// # Errors
    /// Bad input, naming the row: a number of fields that is not the header's, text that is not UTF-8, a quote that is never
    /// closed.
    pub fn next(&mut self) -> Result<Option<(usize, Vec<ArrayRef>)>> {
        let mut cells: Vec<StringBuilder> = self.names.iter().map(|_| StringBuilder::new()).collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < PART_ROWS && bytes < PART_BYTES && self.advance()? {
            self.rows += 1;
            rows += 1;
            if self.record.len() != self.names.len() {
                let (found, expected) = (self.record.len(), self.names.len());
                return Err(self
                    .source
                    .bad(format!("the row has {found} fields, the header has {expected}"))
                    .row(self.rows as u64)
                    .remedy("mend the row: a field too many often means a separator that is not quoted"));
            }
            bytes += self.record.as_slice().len();
            cells.iter_mut().zip(&self.record).for_each(|(cells, cell)| cells.append_value(cell));
            self.last_start = self.record.position().map_or(0, |position| position.byte());
            self.reader.get_mut().forget_before(self.last_start);
        }
        if rows > 0 {
            return Ok(Some((rows, cells.into_iter().map(|mut cells| Arc::new(cells.finish()) as ArrayRef).collect())));
        }
        let last = self.reader.get_ref().from(self.last_start);
        let quotes = last.iter().filter(|b| **b == b'"').count();
        if quotes % 2 == 1 && last.trim_ascii_end().contains(&b'\n') {
            return Err(self.never_closed(self.rows));
        }
        Ok(None)
    }

    fn advance(&mut self) -> Result<bool> {
        let row = self.rows + 1;
        self.reader.read_record(&mut self.record).map_err(|e| match e.into_kind() {
            ErrorKind::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => self.never_closed(row),
            ErrorKind::Io(e) => self.source.broken(self.is_packed, &e),
            ErrorKind::Utf8 { err, .. } => {
                let not_utf8 = self.source.bad(format!("the text is not {}", self.encoding)).row(row as u64);
                let not_utf8 = match self.names.get(err.field()) {
                    Some(name) => not_utf8.column(name),
                    None => not_utf8,
                };
                not_utf8.expected(self.encoding).remedy(
                    "write the encoding as `reading` under the table's name in the schema, such as { encoding = \"latin1\" } \
                     (`synthward inspect --encoding` does), or save the table as UTF-8",
                )
            }
            _ => unreadable(&self.source),
        })
    }

    fn never_closed(&self, row: usize) -> Error {
        self.source
            .bad("a quote is opened and never closed")
            .row(row as u64)
            .remedy("mend the row, or export the table again")
    }
}

/// Bytes on their way to the reader of records, of which those of the row at hand are kept.
struct Tail {
    bytes: Box<dyn Read + Send>,
    kept: Vec<u8>,
    /// Where the first of the kept bytes stands.
    start: u64,
}

impl Tail {
    /// Bytes before `start` will not be asked for.
    fn forget_before(&mut self, start: u64) {
        let unneeded = start.saturating_sub(self.start);
        if unneeded > KEPT {
            self.kept.drain(..(unneeded as usize).min(self.kept.len()));
            self.start = start;
        }
    }

    fn from(&self, start: u64) -> &[u8] {
        self.kept.get(start.saturating_sub(self.start) as usize..).unwrap_or_default()
    }
}

impl Read for Tail {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.kept.len() > LONGEST_ROW {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.bytes.read(into)?;
        self.kept.extend_from_slice(&into[..read]);
        Ok(read)
    }
}

/// Whether a header line is not written as the table's are, but with another separator: such a file is plain, as cohorts are.
fn is_other(line: &[u8], reading: &Reading) -> bool {
    let own = reading.separator.unwrap_or(',') as u8;
    own != b',' && unquoted(line, own) == 0 && SEPARATORS.iter().any(|separator| unquoted(line, *separator) > 0)
}

/// How often a byte stands outside quotes.
fn unquoted(line: &[u8], byte: u8) -> usize {
    let mut quoted = false;
    line.iter()
        .filter(|b| {
            quoted ^= **b == b'"';
            !quoted && **b == byte
        })
        .count()
}

/// The separator of the header line: the most frequent of comma, semicolon, tab and `|`.
fn delimiter(line: &[u8]) -> u8 {
    SEPARATORS.into_iter().max_by_key(|separator| unquoted(line, *separator)).unwrap_or(b',')
}

fn unreadable(source: &Source) -> Error {
    source
        .bad("the file cannot be read as CSV")
        .expected("one header line, lines ending in LF or CRLF, double quotes around fields that hold separators")
        .remedy("export the table again, or give it as Parquet")
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    use super::*;

    fn reader(bytes: Vec<u8>) -> Result<Reader> {
        Reader::new(&Source::Stdin, Box::new(Cursor::new(bytes)), false, &Reading::default())
    }

    /// All cells, however many parts there are.
    fn read(text: &str) -> Result<Vec<Vec<String>>> {
        let mut reader = reader(text.as_bytes().to_vec())?;
        let mut all = vec![Vec::new(); reader.names.len()];
        while let Some((rows, columns)) = reader.next()? {
            for (all, cells) in all.iter_mut().zip(&columns) {
                all.extend(cells.as_string::<i32>().iter().map(|cell| cell.unwrap().to_owned()));
                assert_eq!(cells.len(), rows);
            }
        }
        Ok(all)
    }

    fn cells(text: &str) -> Vec<Vec<String>> {
        read(text).unwrap()
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
        assert_eq!(cells("a|b\n1,5|2\n"), [vec!["1,5"], vec!["2"]]);
        assert_eq!(cells("a\tb\n1\t2\n"), [vec!["1"], vec!["2"]]);
        assert_eq!(cells("\"a;b;c\",d\n1,2\n"), [vec!["1"], vec!["2"]]);
    }

    #[test]
    fn a_table_comes_in_parts() {
        let rows = PART_ROWS + 3;
        let text: String = std::iter::once("n,t\n".to_owned()).chain((0..rows).map(|i| format!("{i},x\n"))).collect();
        let mut reader = reader(text.into_bytes()).unwrap();
        let lengths: Vec<usize> = std::iter::from_fn(|| reader.next().unwrap().map(|(rows, _)| rows)).collect();
        assert_eq!(lengths, [PART_ROWS, 3]);
        assert!(reader.reader.get_ref().kept.len() <= 2 * KEPT as usize, "rows are forgotten");
    }

    /// A quote opened in an early row of a long file is told of before the file fills the memory.
    #[test]
    fn a_row_without_end_is_refused() {
        let endless = Cursor::new(b"a,b\n1,2\n3,\"".to_vec()).chain(io::repeat(b'x'));
        let mut reader = Reader::new(&Source::Stdin, Box::new(endless), false, &Reading::default()).unwrap();
        let e = reader.next().unwrap_err();
        assert_eq!((e.row, e.what.as_str()), (Some(2), "a quote is opened and never closed"));
        assert!(reader.reader.get_ref().kept.len() < 2 * LONGEST_ROW);
        assert!(read("a,b\n1,2\n3,\"4\n5,6\n").unwrap_err().what.contains("never closed"));
    }
}
