//! NDJSON of plain objects: a row a line, a column a key, the cells as text.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::header::header;
use super::source::{Bytes, Opened, Source};
use crate::error::Result;

/// Rows in one part of the table, and bytes of their cells: whichever is reached first.
const PART_ROWS: usize = 1 << 14;
const PART_BYTES: usize = 16 << 20;
/// The longest line.
const LONGEST_LINE: u64 = 16 << 20;

/// A file of objects that is being read.
pub(super) struct Reader {
    lines: Lines,
    /// The keys of all lines, in order of first appearance, and whether one of them holds an object or a list.
    pub fields: Vec<(String, bool)>,
    places: HashMap<String, usize>,
}

impl Reader {
    /// Reads the keys of all lines: a key may be absent from any of them.
    ///
    /// # Errors
    /// Bad input: a line that is no object, or has a key twice.
    pub fn new(source: &Source, opened: Opened) -> Result<Self> {
        let Opened { bytes, is_packed, check, .. } = opened;
        let stream = |bytes: Bytes| -> Box<dyn Read + Send> {
            match bytes {
                Bytes::Stream(stream) => stream,
                Bytes::File(file) => Box::new(file),
                Bytes::Memory(bytes) => Box::new(Cursor::new(bytes)),
            }
        };
        let mut bytes = stream(bytes);
        let first: Box<dyn Read + Send> = match check {
            Some(_) => stream(source.open(false)?.bytes),
            // A pipe is read but once.
            None => {
                let mut all = Vec::new();
                bytes.read_to_end(&mut all).map_err(|e| source.broken(is_packed, &e))?;
                let all = bytes::Bytes::from(all);
                bytes = Box::new(Cursor::new(all.clone()));
                Box::new(Cursor::new(all))
            }
        };
        let lines = |bytes| Lines { source: source.clone(), is_packed, bytes: BufReader::new(bytes), number: 0 };
        let (mut scanned, mut fields, mut places) = (lines(first), Vec::new(), HashMap::new());
        while let Some(line) = scanned.next()? {
            for (key, value) in line {
                let place = *places.entry(key.clone()).or_insert_with(|| {
                    fields.push((key, false));
                    fields.len() - 1
                });
                fields[place].1 |= matches!(value, Value::Array(_) | Value::Object(_));
            }
        }
        header(source, fields.iter().map(|(name, _)| name.clone()).collect())?;
        Ok(Self { lines: lines(bytes), fields, places })
    }

    /// The cells of the next rows, of the columns that hold neither objects nor lists. `None` at the end.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn next(&mut self) -> Result<Option<(usize, Vec<ArrayRef>)>> {
        let mut cells: Vec<StringBuilder> = self.fields.iter().map(|_| StringBuilder::new()).collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < PART_ROWS && bytes < PART_BYTES {
            let Some(line) = self.lines.next()? else { break };
            let mut row = vec![String::new(); self.fields.len()];
            for (key, value) in line {
                // A key that was not there a moment ago: the file was changed, which is told at its end.
                if let Some(&place) = self.places.get(&key) {
                    row[place] = spelled(&value);
                }
            }
            rows += 1;
            for (cells, cell) in cells.iter_mut().zip(row) {
                bytes += cell.len();
                cells.append_value(cell);
            }
        }
        let plain = cells.into_iter().zip(&self.fields).filter(|(_, (_, is_nested))| !is_nested);
        let columns = plain.map(|(mut cells, _)| Arc::new(cells.finish()) as ArrayRef).collect();
        Ok((rows > 0).then_some((rows, columns)))
    }
}

/// Whether the first line is a plain object: one of FHIR says what resource it is.
pub(super) fn is_plain(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|line| line.is_object() && line.get("resourceType").is_none())
}

fn spelled(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

struct Lines {
    source: Source,
    is_packed: bool,
    bytes: BufReader<Box<dyn Read + Send>>,
    number: u64,
}

impl Lines {
    /// The keys and values of the next line that is not blank.
    fn next(&mut self) -> Result<Option<Vec<(String, Value)>>> {
        let mut line = Vec::new();
        while line.trim_ascii().is_empty() {
            line.clear();
            let read = (&mut self.bytes).take(LONGEST_LINE + 1).read_until(b'\n', &mut line);
            if read.map_err(|e| self.source.broken(self.is_packed, &e))? == 0 {
                return Ok(None);
            }
            self.number += 1;
        }
        let bad = |what: &str| {
            let expected = "a JSON object a line, each key once";
            Err(self.source.bad(what).row(self.number).expected(expected).remedy("export the file again"))
        };
        if line.len() as u64 > LONGEST_LINE {
            return bad("the line is longer than 16 MB");
        }
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        match serde_json::from_slice::<Object>(line) {
            Ok(Object(Some(object))) => Ok(Some(object)),
            Ok(Object(None)) => bad("the line has a key twice"),
            Err(_) => bad("the line is no JSON object"),
        }
    }
}

/// An object in the order of its keys; none where one comes twice.
struct Object(Option<Vec<(String, Value)>>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let (mut object, mut seen) = (Vec::new(), std::collections::HashSet::new());
                while let Some(key) = map.next_key::<String>()? {
                    if !seen.insert(key.clone()) {
                        map.next_value::<IgnoredAny>()?;
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(Object(None));
                    }
                    object.push((key, map.next_value()?));
                }
                Ok(Object(Some(object)))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}
