//! A file that holds a table, or a part of one.

use arrow_array::{ArrayRef, new_empty_array};
use arrow_schema::DataType;

use super::raw::{RawColumn, Stored};
use super::source::{Bytes, Format, Source, Unchanged};
use super::{columnar, csv, excel, fhir, json};
use crate::error::Result;
use crate::schema::linked::Policy;
use crate::schema::{ArrowType, Reading};

/// A file that is being read.
pub(super) struct PartFile {
    pub reader: Reader,
    check: Option<Unchanged>,
    pub source: Source,
    pub reading: Reading,
    /// Rows that were read.
    pub rows: usize,
}

pub(super) enum Reader {
    Csv(csv::Reader),
    Columnar(columnar::Reader),
    Fhir(fhir::Reader),
    Json(json::Reader),
    Excel(excel::Reader),
}

impl PartFile {
    /// The file, and its hash where it is asked for.
    pub fn open(
        source: Source,
        (reading, hashed, on_broken): &(Reading, bool, Policy),
    ) -> Result<(Self, Option<String>)> {
        let mut opened = source.open(*hashed)?;
        let (sha256, is_packed) = (opened.sha256.take(), opened.is_packed);
        let check = opened.check.as_ref().map(Unchanged::try_clone).transpose();
        let check = check.map_err(|e| source.unreadable(e.kind()))?;
        // But of CSV, numbers are told from text by the file.
        let mut used = Reading { sheet: reading.sheet.clone(), ..Reading::default() };
        if opened.format == Format::Json {
            let reader = Reader::Json(json::Reader::new(&source, opened)?);
            return Ok((Self { reader, check, source, reading: used, rows: 0 }, sha256));
        }
        let reader = match (opened.format, opened.bytes) {
            (Format::Excel, bytes) => Reader::Excel(excel::Reader::new(&source, bytes, reading.sheet.as_deref())?),
            (Format::Csv, Bytes::Stream(bytes)) => {
                let reader = csv::Reader::new(&source, bytes, is_packed, reading)?;
                used = reader.reading.clone();
                Reader::Csv(reader)
            }
            (Format::Ndjson, Bytes::Stream(bytes)) => {
                Reader::Fhir(fhir::Reader::new(&source, bytes, is_packed, *on_broken))
            }
            (format, bytes) => Reader::Columnar(columnar::Reader::new(&source, bytes, format)?),
        };
        Ok((Self { reader, check, source, reading: used, rows: 0 }, sha256))
    }

    /// The columns without a cell, as far as they are known.
    pub fn no_cells(&self) -> Vec<RawColumn> {
        let text = |name: &str| RawColumn::text(name, new_empty_array(&DataType::Utf8));
        match &self.reader {
            Reader::Csv(csv::Reader { names, .. }) | Reader::Excel(excel::Reader { names, .. }) => {
                names.iter().map(|name| text(name)).collect()
            }
            Reader::Json(reader) => {
                let plain = reader.fields.iter().filter(|(_, is_nested)| !is_nested);
                objects(reader, plain.map(|_| new_empty_array(&DataType::Utf8)))
            }
            Reader::Fhir(reader) => reader.columns().map(text).collect(),
            Reader::Columnar(reader) => {
                let known = reader.fields.iter().filter_map(|(_, arrow_type)| arrow_type.as_ref().ok());
                typed(reader, known.map(|arrow_type| new_empty_array(arrow_type.data_type())))
            }
        }
    }

    /// The next rows: how many, and their columns. `None` at the end.
    pub fn next(&mut self) -> Result<Option<(usize, Vec<RawColumn>)>> {
        let part = match &mut self.reader {
            Reader::Csv(reader) => reader.next()?.map(|(rows, cells)| {
                (rows, reader.names.iter().zip(cells).map(|(name, cells)| RawColumn::text(name, cells)).collect())
            }),
            Reader::Excel(reader) => reader.next().map(|(rows, cells)| {
                (rows, reader.names.iter().zip(cells).map(|(name, cells)| RawColumn::text(name, cells)).collect())
            }),
            Reader::Json(reader) => reader.next()?.map(|(rows, cells)| (rows, objects(reader, cells.into_iter()))),
            Reader::Fhir(reader) => reader.next()?.map(|(rows, cells)| {
                (rows, cells.into_iter().map(|(name, cells)| RawColumn::text(name, cells)).collect())
            }),
            Reader::Columnar(reader) => reader.next()?.map(|(rows, cells)| (rows, typed(reader, cells.into_iter()))),
        };
        match &part {
            Some((rows, _)) => self.rows += rows,
            None => {
                if let Some(check) = &self.check {
                    check.run().map_err(|e| self.source.unreadable(e.kind()))?;
                }
            }
        }
        Ok(part)
    }

    /// Lines that are left out so far.
    pub fn broken(&self) -> usize {
        match &self.reader {
            Reader::Fhir(reader) => reader.broken,
            Reader::Csv(_) | Reader::Columnar(_) | Reader::Json(_) | Reader::Excel(_) => 0,
        }
    }
}

/// The columns of a file of objects: those that hold objects or lists can only be dropped.
fn objects(reader: &json::Reader, mut cells: impl Iterator<Item = ArrayRef>) -> Vec<RawColumn> {
    let column = |(name, is_nested): &(String, bool)| match is_nested {
        true => Some(RawColumn { name: name.clone(), stored: Stored::Unsupported("of objects or lists".to_owned()) }),
        false => cells.next().map(|cells| RawColumn::text(name, cells)),
    };
    reader.fields.iter().filter_map(column).collect()
}

/// The columns of a file that has types: of cells of the supported ones, in order.
fn typed(reader: &columnar::Reader, mut cells: impl Iterator<Item = ArrayRef>) -> Vec<RawColumn> {
    let column = |(name, arrow_type): &(String, Result<ArrowType, String>)| {
        let stored = match arrow_type {
            Err(data_type) => Stored::Unsupported(data_type.clone()),
            Ok(arrow_type) => Stored::Typed(arrow_type.clone(), vec![cells.next()?]),
        };
        Some(RawColumn { name: name.clone(), stored })
    };
    let columns = reader.fields.iter().filter_map(column);
    columns.filter(|column| !is_pandas_index(&column.name)).collect()
}

/// pandas writes the numbers of its rows into a column of this name, and takes them back as numbers of rows.
fn is_pandas_index(name: &str) -> bool {
    let level = name.strip_prefix("__index_level_").and_then(|rest| rest.strip_suffix("__"));
    level.is_some_and(|level| !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_numbers_of_pandas_are_no_column() {
        assert!(is_pandas_index("__index_level_0__") && is_pandas_index("__index_level_12__"));
        assert!(!is_pandas_index("index_level_0") && !is_pandas_index("__index_level___"));
    }
}
