//! A table as it was found: nothing interpreted yet.

use std::collections::HashMap;

use polars::prelude::{Column as PolarsColumn, DataFrame};

use super::source::{Format, Source, hex_sha256, sniff, unpack};
use super::{columnar, csv};
use crate::error::Result;
use crate::schema::ArrowType;

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
    pub(super) columns: Vec<RawColumn>,
}

/// One column as it was found.
pub(super) struct RawColumn {
    pub name: String,
    pub stored: Stored,
}

/// The cells of a column and what the file says about their type.
pub(super) enum Stored {
    /// CSV: text, of whatever meaning.
    Csv(PolarsColumn),
    /// Parquet or Arrow IPC.
    Typed(ArrowType, PolarsColumn),
    /// A column of an Arrow type of this name, which is not supported: it can only be dropped.
    Unsupported(String),
}

impl Stored {
    /// The type in the file; `None` for the text of a CSV file.
    pub fn arrow_type(&self) -> Result<Option<&ArrowType>> {
        match self {
            Self::Csv(_) => Ok(None),
            Self::Typed(arrow_type, _) => Ok(Some(arrow_type)),
            Self::Unsupported(name) => Err(ArrowType::unsupported(name)),
        }
    }

    pub fn cells(&self) -> Result<&PolarsColumn> {
        match self {
            Self::Csv(cells) | Self::Typed(_, cells) => Ok(cells),
            Self::Unsupported(name) => Err(ArrowType::unsupported(name)),
        }
    }
}

/// Reads a table: CSV (also gzipped), Parquet, or Arrow IPC as file or stream,
/// told apart by their first bytes.
///
/// # Errors
/// Bad input when the source cannot be read, is damaged, has no rows, or is
/// not a table; naming row and column as far as they are known.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn read(source: &Source) -> Result<RawTable> {
    let stored = source.stored_bytes()?;
    let sha256 = hex_sha256(&stored);
    let bytes = unpack(source, stored)?;
    let format = sniff(source, &bytes)?;
    let (rows, columns) = if format == Format::Csv {
        let frame = csv::read(source, &bytes)?;
        let rows = frame.height();
        let column = |c: PolarsColumn| RawColumn { name: c.name().to_string(), stored: Stored::Csv(c) };
        (rows, into_columns(frame).map(column).collect())
    } else {
        let table = columnar::read(source, bytes, format)?;
        let rows = table.frame.height();
        let mut cells = into_columns(table.frame);
        let column = |(name, arrow_type): (String, Result<ArrowType, String>)| {
            let stored = match arrow_type {
                Err(data_type) => Stored::Unsupported(data_type),
                Ok(arrow_type) => Stored::Typed(arrow_type, cells.next()?),
            };
            Some(RawColumn { name, stored })
        };
        let columns = table.fields.into_iter().filter_map(column);
        (rows, columns.filter(|column| !is_pandas_index(&column.name)).collect())
    };
    Ok(RawTable { source: source.clone(), sha256, rows, columns })
}

/// pandas writes the numbers of its rows into a column of this name, and takes them back as numbers of rows.
fn is_pandas_index(name: &str) -> bool {
    let level = name.strip_prefix("__index_level_").and_then(|rest| rest.strip_suffix("__"));
    level.is_some_and(|level| !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit()))
}

fn into_columns(frame: DataFrame) -> impl Iterator<Item = PolarsColumn> {
    frame.into_columns().into_iter()
}

impl RawTable {
    /// The names of the columns, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| c.name.as_str())
    }

    pub(super) fn column(&self, name: &str) -> Option<&RawColumn> {
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

    #[test]
    fn the_row_numbers_of_pandas_are_no_column() {
        assert!(is_pandas_index("__index_level_0__") && is_pandas_index("__index_level_12__"));
        assert!(!is_pandas_index("index_level_0") && !is_pandas_index("__index_level___"));
    }
}
