//! NDJSON, line by line.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;
use serde_json::Value;

use super::super::source::{Bytes, Format, Opened, Source};
use super::resource::Resource;
use crate::error::Result;
use crate::schema::Schema;
use crate::schema::linked::Policy;

/// Rows in one part of the table, and bytes of their cells: whichever is reached first.
const PART_ROWS: usize = 1 << 14;
const PART_BYTES: usize = 16 << 20;
/// The longest line.
const LONGEST_LINE: usize = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file of resources that is being read.
pub(in crate::ingest) struct Reader {
    source: Source,
    is_packed: bool,
    bytes: BufReader<Box<dyn Read + Send>>,
    on_broken: Policy,
    /// The type of all resources: what the schema says, else the file's name, else the first line.
    resource: Option<&'static Resource>,
    line: Vec<u8>,
    is_too_long: bool,
    lines: u64,
    /// Lines that are left out.
    pub broken: usize,
}

/// The columns of some rows, with their names.
type Cells = Vec<(&'static str, ArrayRef)>;

/// Whether a file is a table: NDJSON is none where neither its name nor its first resource is of a type that is read.
///
/// # Errors
/// Bad input when the file cannot be read.
pub(in crate::ingest) fn is_table(source: &Source) -> Result<bool> {
    let Opened { format: Format::Ndjson, bytes: Bytes::Stream(bytes), is_packed, .. } = source.open(false)? else {
        return Ok(true);
    };
    let mut reader = Reader::new(source, bytes, is_packed, Policy::Drop);
    while reader.resource.is_none() && reader.advance()? {
        if let Ok(first) = serde_json::from_slice::<Value>(&reader.line) {
            return Ok(resource_of(&first).is_some());
        }
    }
    // What is wrong with it is told where it is read.
    Ok(true)
}

fn resource_of(line: &Value) -> Option<&'static Resource> {
    Resource::of(line.get("resourceType")?.as_str()?)
}

impl Reader {
    pub fn new(source: &Source, bytes: Box<dyn Read + Send>, is_packed: bool, on_broken: Policy) -> Self {
        Self {
            source: source.clone(),
            is_packed,
            bytes: BufReader::with_capacity(1 << 16, bytes),
            on_broken,
            resource: Resource::of_table(&source.table_name()),
            line: Vec::new(),
            is_too_long: false,
            lines: 0,
            broken: 0,
        }
    }

    /// Takes the type of the resources from the schema of their table, where it tells one.
    pub fn know(&mut self, schema: &Schema) {
        self.resource = Resource::of_schema(schema).or(self.resource);
    }

    /// The names of the columns, where the type is known.
    pub fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.resource.into_iter().flat_map(Resource::columns)
    }

    /// The cells of the next rows, as text. `None` at the end.
    ///
    /// # Errors
    /// Bad input: a line that is no resource of the table, where that is not left out.
    pub fn next(&mut self) -> Result<Option<(usize, Cells)>> {
        let mut cells: Vec<StringBuilder> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while rows < PART_ROWS && bytes < PART_BYTES && self.advance()? {
            match self.parsed() {
                Ok((resource, line)) => {
                    cells.resize_with(resource.elements.len(), StringBuilder::new);
                    for (element, cells) in resource.elements.iter().zip(&mut cells) {
                        let cell = element.cell(&line);
                        bytes += cell.len();
                        cells.append_value(cell);
                    }
                    rows += 1;
                }
                Err(_) if self.on_broken == Policy::Drop => self.broken += 1,
                Err(what) => {
                    return Err(self.source.bad(what).row(self.lines).expected(self.expected()).remedy(
                        "export the file again; of linked tables, on_broken = \"drop\" in the [[table]] leaves such lines out",
                    ));
                }
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let column = |mut cells: StringBuilder| Arc::new(cells.finish()) as ArrayRef;
        Ok(Some((rows, self.columns().zip(cells.into_iter().map(column)).collect())))
    }

    /// What each line should be.
    pub fn expected(&self) -> String {
        match self.resource {
            Some(resource) => format!("a FHIR resource a line, each a {}", resource.name),
            None => format!("a FHIR resource a line, all of one type: {}", Resource::names()),
        }
    }

    /// The line at hand as a resource, or what is wrong with it.
    fn parsed(&mut self) -> Result<(&'static Resource, Value), &'static str> {
        if self.is_too_long {
            return Err("the line is longer than 16 MB");
        }
        let line: Value = serde_json::from_slice(&self.line).map_err(|_| "the line is not JSON")?;
        let resource = resource_of(&line).ok_or("the line is no resource of a type that is read")?;
        let own = self.resource.get_or_insert(resource);
        if own.name == resource.name {
            Ok((resource, line))
        } else {
            Err("the line is a resource of another type than the table's")
        }
    }

    /// Goes to the next line that is not blank; false at the end.
    fn advance(&mut self) -> Result<bool> {
        loop {
            self.line.clear();
            let bytes = &mut self.bytes;
            let read = bytes.take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut self.line).and_then(|read| {
                self.is_too_long = read > LONGEST_LINE && !self.line.ends_with(b"\n");
                if self.is_too_long { bytes.skip_until(b'\n').map(|_| read) } else { Ok(read) }
            });
            if read.map_err(|e| self.source.broken(self.is_packed, &e))? == 0 {
                return Ok(false);
            }
            self.lines += 1;
            if self.lines == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, repeat};

    use arrow_array::cast::AsArray;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
    use proptest::sample::select;

    use super::*;
    use crate::error::Error;
    use crate::schema::{Column, Kind};

    fn reader(bytes: impl Read + Send + 'static, on_broken: Policy) -> Reader {
        Reader::new(&Source::Stdin, Box::new(bytes), false, on_broken)
    }

    /// All rows, and how many lines were left out.
    fn rows(text: &str, on_broken: Policy) -> Result<(Vec<Vec<String>>, usize)> {
        let mut reader = reader(Cursor::new(text.to_owned()), on_broken);
        let mut all = Vec::new();
        while let Some((rows, cells)) = reader.next()? {
            let cell = |row: usize, column: &ArrayRef| column.as_string::<i32>().value(row).to_owned();
            all.extend((0..rows).map(|row| cells.iter().map(|(_, column)| cell(row, column)).collect::<Vec<_>>()));
        }
        Ok((all, reader.broken))
    }

    fn refusal(text: &str) -> Error {
        let e = rows(text, Policy::Refuse).unwrap_err();
        assert!(e.kind.exit_code() == 3 && e.remedy.is_some() && e.expected.is_some(), "{e}");
        assert!(!e.to_string().contains("secret"), "{e}");
        e
    }

    const CONDITION: &str = r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/p1"},"encounter":{"reference":"urn:uuid:e1"},"code":{"coding":[{"system":"http://snomed.info/sct","code":"44054006","display":"Diabetes"},{"code":"other"}]},"onsetDateTime":"2020-01-02T03:04:05Z"}"#;

    #[test]
    fn a_resource_is_a_row() {
        let (rows, _) = rows(&format!("\u{feff}{CONDITION}\r\n\n  \n"), Policy::Refuse).unwrap();
        let expected =
            ["c1", "p1", "e1", "44054006", "Diabetes", "http://snomed.info/sct", "", "2020-01-02T03:04:05Z", "", ""];
        assert_eq!(rows, [expected]);
    }

    #[test]
    fn a_broken_line_is_refused_by_its_number() {
        let claim = r#"{"resourceType":"Claim","id":"secret"}"#;
        let patient = r#"{"resourceType":"Patient","id":"secret"}"#;
        for (line, what) in [
            ("{\"secret\":", "not JSON"),
            ("secret", "not JSON"),
            ("{\"id\":\"\u{1}\"}", "not JSON"),
            (claim, "no resource of a type that is read"),
            (patient, "another type than the table's"),
            ("[\"secret\"]", "no resource of a type that is read"),
        ] {
            let text = format!("{CONDITION}\n\n{line}\n{CONDITION}\n");
            let e = refusal(&text);
            assert_eq!(e.row, Some(3), "{e}");
            assert!(e.what.contains(what), "{e}");
            let (rows, broken) = rows(&text, Policy::Drop).unwrap();
            assert_eq!((rows.len(), broken), (2, 1), "{line}");
        }
    }

    #[test]
    fn a_file_without_resources_has_no_rows() {
        for text in ["{}\n", "{\"resourceType\":\"Claim\"}\n"] {
            assert_eq!(refusal(text).row, Some(1));
            assert_eq!(rows(text, Policy::Drop).unwrap(), (vec![], 1));
        }
        assert_eq!(rows("", Policy::Refuse).unwrap(), (vec![], 0));
    }

    /// One line of another type at the top of a file does not make all others broken.
    #[test]
    fn the_schema_or_the_name_tells_the_type() {
        let text = format!("{{\"resourceType\":\"Patient\",\"id\":\"p1\"}}\n{CONDITION}\n{CONDITION}\n");
        let read = |name: &str, schema: Option<&Schema>| {
            let bytes = Box::new(Cursor::new(text.clone()));
            let mut reader = Reader::new(&Source::from(name), bytes, false, Policy::Drop);
            schema.into_iter().for_each(|schema| reader.know(schema));
            (reader.next().unwrap().map(|(rows, cells)| (rows, cells[1].0)), reader.broken)
        };
        let mut schema =
            Schema::from_toml("[table]\nname = \"t\"\n[[column]]\nname = \"id\"\nkind = \"identifier\"\n").unwrap();
        assert_eq!(read("lines.ndjson", None), (Some((1, "birthDate")), 2));
        assert_eq!(read("lines.ndjson", Some(&schema)), (Some((1, "birthDate")), 2));
        assert_eq!(read("condition.000.ndjson.gz", None), (Some((2, "subject")), 1));
        let columns = Resource::of("Condition").unwrap().columns();
        schema.columns = columns.map(|name| Column::new(name.to_owned(), Kind::Identifier)).collect();
        assert_eq!(read("Patient.ndjson", Some(&schema)), (Some((2, "subject")), 1));
    }

    #[test]
    fn deep_json_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(refusal(&deep).what.contains("not JSON"));
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let long = LONGEST_LINE as u64 * 2;
        let text = || Cursor::new(b"{\"a\":\"".to_vec()).chain(repeat(b'x').take(long)).chain(Cursor::new("\n"));
        let mut refused = reader(text(), Policy::Refuse);
        let e = refused.next().unwrap_err();
        assert_eq!((e.row, e.what.as_str()), (Some(1), "the line is longer than 16 MB"));
        assert!(refused.line.capacity() <= 2 * LONGEST_LINE + 2);
        let mut dropped = reader(text().chain(Cursor::new(CONDITION)), Policy::Drop);
        assert_eq!(dropped.next().unwrap().map(|(rows, _)| rows), Some(1));
        assert_eq!((dropped.broken, dropped.lines), (1, 2));
    }

    #[test]
    fn a_table_comes_in_parts() {
        let text = format!("{CONDITION}\n").repeat(PART_ROWS + 3);
        let mut reader = reader(Cursor::new(text), Policy::Refuse);
        let lengths: Vec<usize> = std::iter::from_fn(|| reader.next().unwrap().map(|(rows, _)| rows)).collect();
        assert_eq!(lengths, [PART_ROWS, 3]);
    }

    /// Cells of any resource: ids where they are references, numbers where they are amounts.
    fn cells() -> impl Strategy<Value = (&'static Resource, Vec<Vec<Option<String>>>)> {
        let names = select(vec!["Patient", "Encounter", "Condition", "MedicationRequest", "Observation", "Procedure"]);
        names.prop_flat_map(|name| {
            let resource = Resource::of(name).unwrap();
            let cell = |column: &'static str| {
                let cell = match column {
                    "id" | "subject" | "encounter" => "[A-Za-z0-9.-]{1,20}".prop_map(String::from).boxed(),
                    "value" => {
                        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| format!("{x:?}")).boxed()
                    }
                    _ => "[ -~äß\n\"\\\\]{1,12}".prop_map(String::from).boxed(),
                };
                option::of(cell)
            };
            let row: Vec<_> = resource.elements.iter().map(|element| cell(element.column)).collect();
            vec(row, 1..5).prop_map(move |rows| (resource, rows))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn what_is_written_is_read((resource, table) in cells()) {
            let mut text = String::new();
            for row in &table {
                let mut line = resource.empty();
                for (element, cell) in resource.elements.iter().zip(row) {
                    if let Some(cell) = cell {
                        element.put(&mut line, cell);
                    }
                }
                text.push_str(&format!("{line}\n"));
            }
            let (read, _) = rows(&text, Policy::Refuse).unwrap();
            for (read, row) in read.iter().zip(&table) {
                for ((element, read), cell) in resource.elements.iter().zip(read).zip(row) {
                    let cell = cell.clone().unwrap_or_default();
                    if element.column == "value" && !cell.is_empty() {
                        prop_assert_eq!(read.parse::<f64>().unwrap(), cell.parse::<f64>().unwrap());
                    } else {
                        prop_assert_eq!(read, &cell);
                    }
                }
            }
        }
    }
}
