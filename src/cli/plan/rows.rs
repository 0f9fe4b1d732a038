//! About how many rows a table has, told from the size of its file.

use crate::cohort::{Cohort, Format, data_type, write};
use crate::error::{Error, Result, why};
use crate::model::ModelFile;
use crate::schema::{Column, Kind};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::Path;

/// Rows of the two invented files whose difference is what a row takes.
const FEW_ROWS: u64 = 2000;
const MORE_ROWS: u64 = 6000;

/// How a table is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Csv,
    /// CSV in gzip.
    Packed,
    Parquet,
    Arrow,
}

impl Storage {
    /// Told by the file's name alone.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("parquet") => Self::Parquet,
            Some("arrow" | "feather" | "ipc") => Self::Arrow,
            Some("gz" | "xlsx") => Self::Packed,
            _ => Self::Csv,
        }
    }

    /// Under which ending an invented table is stored in the same way, but for the packing.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Csv | Self::Packed => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// Bytes that a real key takes more than an invented one, which is a running number: numbers have eight digits or so,
    /// text has 20 characters, and neither can be packed much.
    fn more_for_a_key(self, is_number: bool) -> f64 {
        match (self, is_number) {
            (Self::Arrow, true) => 0.0,
            (Self::Csv, true) => 4.0,
            (Self::Packed | Self::Parquet, true) => 2.5,
            (Self::Csv | Self::Arrow, false) => 12.0,
            (Self::Packed | Self::Parquet, false) => 9.0,
        }
    }

    /// Bytes of a cell of a column that is left out, of which nothing is known.
    fn left_out(self) -> f64 {
        match self {
            Self::Csv => 9.0,
            Self::Packed => 2.5,
            Self::Parquet => 1.5,
            Self::Arrow => 8.0,
        }
    }
}

/// The size of a table's file: what does not grow with the rows (a header, dictionaries, a footer), and what a row takes.
#[derive(Clone, Copy, Debug)]
pub struct FileSize {
    fixed: f64,
    row: f64,
}

impl FileSize {
    /// Measured on invented rows that are written to `sample`, which ends as [`Storage::ending`] says. `columns` are those
    /// of the real table.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn measure(invented: &ModelFile, columns: &[Column], storage: Storage, sample: &Path) -> Result<Self> {
        let size = |rows: u64| {
            write(&Cohort::new(invented, Format::of(sample)?)?, rows, 0, &Vec::new(), sample, |_| {})?;
            let failed = |e: std::io::Error| Error::failed(format!("no temporary file ({})", why(e.kind())));
            if storage != Storage::Packed {
                return Ok(std::fs::metadata(sample).map_err(failed)?.len() as f64);
            }
            let mut packed = GzEncoder::new(Vec::new(), Compression::default());
            packed.write_all(&std::fs::read(sample).map_err(failed)?).map_err(failed)?;
            Ok::<_, Error>(packed.finish().map_err(failed)?.len() as f64)
        };
        let (few, more) = (size(FEW_ROWS)?, size(MORE_ROWS)?);
        let row = (more - few).max(1.0) / (MORE_ROWS - FEW_ROWS) as f64;
        let unseen = |column: &Column| match column.kind {
            _ if column.drop => storage.left_out(),
            Kind::Identifier => storage.more_for_a_key(data_type(column).is_integer()),
            _ => 0.0,
        };
        Ok(Self { fixed: (few - row * FEW_ROWS as f64).max(0.0), row: row + columns.iter().map(unseen).sum::<f64>() })
    }

    /// Rows of a file of so many bytes; at least one.
    pub fn rows(&self, bytes: f64) -> f64 {
        ((bytes - self.fixed) / self.row).max(1.0)
    }
}

/// Bytes of a file.
///
/// # Errors
/// Bad input: there is no such file.
pub fn bytes(path: &Path) -> Result<f64> {
    let found = std::fs::metadata(path)
        .map_err(|e| Error::bad_input(format!("the file cannot be read ({})", why(e.kind()))).file(path))?;
    Ok(found.len() as f64)
}
