//! A table as it was found: nothing interpreted yet.

use std::collections::HashMap;

use arrow_array::ArrayRef;

use super::decode;
use super::inspect::dialect;
use super::part_file::{PartFile, Reader};
use super::source::{Bytes, Format, Opened, Source, first_bytes, hash_of_parts};
use crate::error::{Error, Result};
use crate::schema::linked::{LinkedTable, Policy};
use crate::schema::{ArrowType, Reading, Schema};

/// As programs write text.
pub(super) const PLAIN: Reading =
    Reading { separator: None, decimal: None, thousands: None, encoding: None, sheet: None, from: None };

/// The cells of a table with their own types, before a schema says what they mean.
///
/// # Privacy
/// Touches sensitive data, releases nothing. It has no `Debug`, so that it
/// cannot be printed by chance; [`RawTable::load`] gives a `Sensitive<Frame>`.
pub struct RawTable {
    pub source: Source,
    /// SHA-256 of the bytes as stored, in hex.
    pub sha256: String,
    pub rows: usize,
    /// How its text was read.
    pub reading: Reading,
    /// Lines of NDJSON that are left out: they are no rows.
    pub(super) broken: usize,
    pub(super) columns: Vec<RawColumn>,
}

/// One column as it was found.
pub(super) struct RawColumn {
    pub name: String,
    pub stored: Stored,
}

/// The cells of a column, in one part or several, and what the file says about their type.
pub(super) enum Stored {
    /// CSV, NDJSON: text, of whatever meaning.
    Text(Vec<ArrayRef>),
    /// Parquet or Arrow IPC.
    Typed(ArrowType, Vec<ArrayRef>),
    /// A column of an Arrow type of this name, which is not supported: it can only be dropped.
    Unsupported(String),
}

impl Stored {
    /// The type in the file; `None` for the text of a CSV or NDJSON file.
    pub fn arrow_type(&self) -> Result<Option<&ArrowType>> {
        match self {
            Self::Text(_) => Ok(None),
            Self::Typed(arrow_type, _) => Ok(Some(arrow_type)),
            Self::Unsupported(name) => Err(ArrowType::unsupported(name)),
        }
    }

    /// Whether both are text, or of one type.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(_), Self::Text(_)) => true,
            (Self::Typed(own, _), Self::Typed(other, _)) => own == other,
            (Self::Unsupported(own), Self::Unsupported(other)) => own == other,
            _ => false,
        }
    }

    pub fn cells(&self) -> Result<&[ArrayRef]> {
        match self {
            Self::Text(cells) | Self::Typed(_, cells) => Ok(cells),
            Self::Unsupported(name) => Err(ArrowType::unsupported(name)),
        }
    }
}

/// Some rows of a table that follow each other.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub source: &'a Source,
    /// Rows of the table before these.
    pub before: usize,
    pub rows: usize,
    pub reading: &'a Reading,
    pub columns: &'a [RawColumn],
}

/// Reads a table: CSV or NDJSON (also gzipped), Parquet, Arrow IPC as file or stream, or a workbook,
/// told apart by their first bytes.
///
/// # Errors
/// Bad input when the source cannot be read, is damaged, has no rows, or is
/// not a table; naming row and column as far as they are known.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn read(source: &Source, reading: &Reading) -> Result<RawTable> {
    let mut parts = Parts::open(source, reading, true, Policy::Refuse)?;
    let table = parts.all()?;
    parts.refuse_empty()?;
    Ok(table)
}

/// As [`read`], a table of a folder that has no schema yet: it may have no rows, but a file of NDJSON without a resource is
/// none, and other lines are left out.
pub(super) fn read_to_draft(source: &Source, said: &Reading) -> Result<RawTable> {
    let mut parts = Parts::open(source, &with_encoding(source, said)?, true, Policy::Drop)?;
    let mut table = parts.all()?;
    table.reading = dialect::told(&table, said)?;
    if matches!(parts.file.reader, Reader::Fhir(_)) {
        parts.refuse_empty()?;
    }
    Ok(table)
}

/// As [`read`], a table without a schema; what is not `said` of its text is told from it.
///
/// # Errors
/// As [`read`].
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn read_to_inspect(source: &Source, said: &Reading) -> Result<RawTable> {
    let mut table = read(source, &with_encoding(source, said)?)?;
    table.reading = dialect::told(&table, said)?;
    Ok(table)
}

/// As [`read`], rows of a cohort: plain as this program writes them, or in the text of the real table.
///
/// # Errors
/// As [`read`].
pub fn read_cohort(source: &Source, schema: &Schema) -> Result<RawTable> {
    // Where the header line cannot tell the two, it is this program's.
    let has_mark = schema.table.reading.separator.is_some_and(|mark| mark != ',');
    read(source, if has_mark { &schema.table.reading } else { &PLAIN })
}

/// The reading with the encoding of text that is not UTF-8, where none is said: nearly all such text is in the one of
/// Western Europe. A pipe is read but once, so of one it has to be said.
fn with_encoding(source: &Source, said: &Reading) -> Result<Reading> {
    let mut reading = said.clone();
    if said.encoding.is_some() || *source == Source::Stdin {
        return Ok(reading);
    }
    for file in source.parts()? {
        if let Opened { format: Format::Csv, bytes: Bytes::Stream(bytes), check: Some(_), is_packed, .. } =
            file.open(false)?
        {
            let (first, bytes) = first_bytes(bytes).map_err(|e| file.broken(is_packed, &e))?;
            let is_marked = decode::encoding(None, &first) != encoding_rs::UTF_8;
            if !is_marked && !decode::is_utf8(bytes).map_err(|e| file.broken(is_packed, &e))? {
                reading.encoding = Some("latin1".to_owned());
            }
        }
    }
    Ok(reading)
}

/// As [`read`], one of the tables that hang together: it may have no rows, and its schema says what is done with lines of
/// NDJSON that are no resource of it.
///
/// # Errors
/// As [`read`].
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn read_linked_table(source: &Source, table: &LinkedTable) -> Result<RawTable> {
    let mut parts = Parts::open(source, &table.reading, true, table.on_broken)?;
    parts.know(&table.alone());
    parts.all()
}

/// The names of the columns of a table.
///
/// # Errors
/// As [`read`].
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub(super) fn column_names(source: &Source, reading: &Reading) -> Result<Vec<String>> {
    let mut parts = Parts::open(source, reading, false, Policy::Drop)?;
    if matches!(parts.file.reader, Reader::Fhir(_)) {
        // Its first line says what the columns are.
        parts.next()?;
    }
    Ok(parts.file.no_cells().into_iter().map(|column| column.name).collect())
}

/// A table that is read part by part, so that it may be larger than the memory: of one file, or of several, one after the
/// other.
pub(super) struct Parts {
    /// The whole table.
    pub source: Source,
    /// How its text is read.
    pub reading: Reading,
    file: PartFile,
    /// Files that are not opened yet.
    rest: std::vec::IntoIter<Source>,
    /// As they were asked for.
    asked: (Reading, bool, Policy),
    schema: Option<Schema>,
    hashes: Vec<String>,
    /// Lines that were left out of files that are read.
    broken: usize,
    /// Whether there was a row.
    is_empty: bool,
}

impl Parts {
    /// Opens a table and reads as far as the names of its columns.
    ///
    /// # Errors
    /// As [`read`].
    pub fn open(source: &Source, reading: &Reading, hashed: bool, on_broken: Policy) -> Result<Self> {
        let asked = (reading.clone(), hashed, on_broken);
        let mut rest = source.parts()?.into_iter();
        let first = rest.next().ok_or_else(|| Error::failed("a table has a file"))?;
        let (file, hash) = PartFile::open(first, &asked)?;
        Ok(Self {
            source: source.clone(),
            reading: file.reading.clone(),
            file,
            rest,
            asked,
            schema: None,
            hashes: hash.into_iter().collect(),
            broken: 0,
            is_empty: true,
        })
    }

    /// Says what the schema of the table is: it tells of which type the resources of NDJSON are.
    pub fn know(&mut self, schema: &Schema) {
        if let Reader::Fhir(reader) = &mut self.file.reader {
            reader.know(schema);
            self.schema = Some(schema.clone());
        }
    }

    /// The table with all its rows.
    fn all(&mut self) -> Result<RawTable> {
        let mut columns: Option<Vec<RawColumn>> = None;
        let mut all = 0;
        while let Some((rows, part)) = self.next()? {
            all += rows;
            match &mut columns {
                None => columns = Some(part),
                Some(columns) => columns.iter_mut().zip(part).for_each(|(column, part)| column.extend(part)),
            }
        }
        Ok(RawTable {
            source: self.source.clone(),
            sha256: if self.asked.1 { hash_of_parts(std::mem::take(&mut self.hashes)) } else { String::new() },
            rows: all,
            reading: self.reading.clone(),
            broken: self.broken(),
            columns: columns.unwrap_or_else(|| self.file.no_cells()),
        })
    }

    /// The next rows: how many, and their columns. `None` at the end.
    ///
    /// # Errors
    /// As [`read`]; a file whose columns are others than those of the first.
    pub fn next(&mut self) -> Result<Option<(usize, Vec<RawColumn>)>> {
        loop {
            if let Some(part) = self.file.next()? {
                self.is_empty = false;
                return Ok(Some(part));
            }
            let Some(source) = self.rest.next() else { return Ok(None) };
            let (mut file, hash) = PartFile::open(source, &self.asked)?;
            if let (Reader::Fhir(reader), Some(schema)) = (&mut file.reader, &self.schema) {
                reader.know(schema);
            }
            self.check_alike(&file)?;
            self.hashes.extend(hash);
            self.broken += self.file.broken();
            self.file = file;
        }
    }

    /// Refuses another file whose columns, or their types, are others than those of the file before.
    fn check_alike(&self, file: &PartFile) -> Result<()> {
        let remedy = "write all part files alike: the same columns, of the same types, in the same order; where they are tables of their own, \
                      name one of them";
        let before = self.file.source.as_path().display();
        if std::mem::discriminant(&file.reader) != std::mem::discriminant(&self.file.reader) {
            return Err(file.source.bad(format!("is a file of another kind than {before}")).remedy(remedy));
        }
        if matches!(file.reader, Reader::Fhir(_)) {
            return Ok(());
        }
        let (own, others) = (file.no_cells(), self.file.no_cells());
        for (own, other) in own.iter().zip(&others) {
            if own.name != other.name {
                let what = format!("stands where {before} has `{}`", other.name);
                return Err(file.source.bad(what).column(&own.name).remedy(remedy));
            }
            if !own.stored.is_like(&other.stored) {
                return Err(file
                    .source
                    .bad(format!("has another type than in {before}"))
                    .column(&own.name)
                    .remedy(remedy));
            }
        }
        if own.len() != others.len() {
            let what = format!("has {} columns, and {before} has {}", own.len(), others.len());
            return Err(file.source.bad(what).remedy(remedy));
        }
        Ok(())
    }

    /// The rows that [`Parts::next`] gave last, where they stand in their file.
    pub fn rows<'a>(&'a self, rows: usize, columns: &'a [RawColumn]) -> Rows<'a> {
        let before = self.file.rows - rows;
        Rows { source: &self.file.source, before, rows, reading: &self.file.reading, columns }
    }

    /// Refuses a table of which the end was reached without a row.
    ///
    /// # Errors
    /// Bad input: there was none.
    pub fn refuse_empty(&self) -> Result<()> {
        let what = match &self.file.reader {
            _ if !self.is_empty => return Ok(()),
            Reader::Csv(_) => self.source.bad("the file has a header line and no rows"),
            Reader::Columnar(_) | Reader::Json(_) | Reader::Excel(_) => self.source.bad("the table has no rows"),
            Reader::Fhir(reader) => {
                self.source.bad("no line of the file is a resource that is read").expected(reader.expected())
            }
        };
        Err(what.remedy("export the table again"))
    }

    /// Lines that are left out so far.
    pub fn broken(&self) -> usize {
        self.broken + self.file.broken()
    }
}

impl RawColumn {
    pub fn text(name: &str, cells: ArrayRef) -> Self {
        Self { name: name.to_owned(), stored: Stored::Text(vec![cells]) }
    }

    /// Puts the cells of a later part behind the others.
    fn extend(&mut self, part: Self) {
        if let (Stored::Text(cells) | Stored::Typed(_, cells), Stored::Text(more) | Stored::Typed(_, more)) =
            (&mut self.stored, part.stored)
        {
            cells.extend(more);
        }
    }
}

impl RawTable {
    /// Whether the file itself says which types its columns have.
    pub(super) fn is_typed(&self) -> bool {
        self.columns.iter().any(|column| !matches!(column.stored, Stored::Text(_)))
    }

    /// The names of the columns, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| c.name.as_str())
    }

    pub(super) fn column(&self, name: &str) -> Option<&RawColumn> {
        self.all_rows().column(name)
    }

    pub(super) fn all_rows(&self) -> Rows<'_> {
        Rows { source: &self.source, before: 0, rows: self.rows, reading: &self.reading, columns: &self.columns }
    }
}

impl<'a> Rows<'a> {
    pub fn column(&self, name: &str) -> Option<&'a RawColumn> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Every column has a name, and no two have the same.
pub(super) fn check_names(source: &Source, names: &[String]) -> Result<()> {
    let mut seen: HashMap<&String, usize> = HashMap::new();
    for (position, name) in (1..).zip(names) {
        if name.trim().is_empty() {
            return Err(source
                .bad(format!("column number {position} has no name"))
                .remedy("name it, or remove the column"));
        }
        if let Some(first) = seen.insert(name, position) {
            return Err(source
                .bad(format!("columns number {first} and {position} have the same name"))
                .remedy("rename or remove one of them; is the first line a header?"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a table is read, a file that is written to meanwhile is refused at its end.
    #[test]
    fn a_file_that_grows_while_its_parts_are_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        for hashed in [false, true] {
            std::fs::write(&path, "a,b\n1,2\n").unwrap();
            let mut parts = Parts::open(&Source::from(&path), &PLAIN, hashed, Policy::Refuse).unwrap();
            std::fs::write(&path, "a,b\n1,2\n3,4\n").unwrap();
            let outcome = std::iter::from_fn(|| parts.next().transpose()).find_map(Result::err);
            assert!(outcome.is_some_and(|e| e.what.contains("changed while it was read")), "{hashed}");
        }
    }
}
