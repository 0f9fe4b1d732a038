//! About how many rows a table has, told from the size of its file.

use crate::cohort::{Cohort, Format, data_type, write};
use crate::error::{Error, Result, why};
use crate::ingest::Source;
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
pub struct Storage {
    pub format: Format,
    /// In gzip, or what is packed as tightly.
    is_packed: bool,
}

impl Storage {
    /// Told by the name of the file, or of the first part file, alone. Whatever the program does not write, it is taken to be CSV.
    pub fn of(path: &Path, writes_ndjson: bool) -> Self {
        let parts = Source::Path(path.to_owned()).parts().unwrap_or_default();
        let path = parts.first().map_or(path, Source::as_path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
        let (name, is_packed) = match name.strip_suffix(".gz") {
            Some(unpacked) => (unpacked, true),
            None => (&*name, name.ends_with(".xlsx")),
        };
        let format = match name.rsplit('.').next() {
            Some("parquet") => Format::Parquet,
            Some("arrow" | "feather" | "ipc") => Format::Arrow,
            Some("ndjson") if writes_ndjson => Format::Ndjson,
            _ => Format::Csv,
        };
        Self { format, is_packed }
    }

    /// Under which ending an invented table is stored in the same way, but for the packing.
    pub fn ending(self) -> &'static str {
        self.format.ending()
    }

    /// Bytes that a real key takes more than an invented one, which is a running number: numbers have eight digits or so,
    /// text has 20 characters, and neither can be packed much.
    fn more_for_a_key(self, is_number: bool) -> f64 {
        match (self.format, is_number) {
            (Format::Arrow, true) => 0.0,
            (Format::Csv | Format::Ndjson, true) if !self.is_packed => 4.0,
            (_, true) => 2.5,
            (Format::Parquet, false) => 9.0,
            (_, false) if self.is_packed => 9.0,
            (_, false) => 12.0,
        }
    }

    /// Bytes of a cell of a column that is left out, of which nothing is known.
    fn left_out(self) -> f64 {
        match self.format {
            Format::Csv | Format::Ndjson if self.is_packed => 2.5,
            Format::Csv | Format::Ndjson => 9.0,
            Format::Parquet => 1.5,
            Format::Arrow => 8.0,
        }
    }

    /// Bytes of a file that was written without the packing, as it would be stored.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn bytes(self, sample: &Path) -> Result<f64> {
        let failed = |e: std::io::Error| Error::failed(format!("no temporary file ({})", why(e.kind())));
        if !self.is_packed {
            return Ok(std::fs::metadata(sample).map_err(failed)?.len() as f64);
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&std::fs::read(sample).map_err(failed)?).map_err(failed)?;
        Ok(packed.finish().map_err(failed)?.len() as f64)
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
            Ok::<_, Error>((rows as f64, storage.bytes(sample)?))
        };
        Ok(Self::between(size(FEW_ROWS)?, size(MORE_ROWS)?, columns, storage))
    }

    /// Told from the rows and the bytes of two invented files. `columns` are those of the real table.
    pub fn between(few: (f64, f64), more: (f64, f64), columns: &[Column], storage: Storage) -> Self {
        let row = (more.1 - few.1).max(1.0) / (more.0 - few.0).max(1.0);
        let unseen = |column: &Column| match column.kind {
            _ if column.drop => storage.left_out(),
            Kind::Identifier => storage.more_for_a_key(data_type(column).is_integer()),
            _ => 0.0,
        };
        let fixed = (few.1 - row * few.0).max(0.0);
        Self { fixed, row: row + columns.iter().map(unseen).sum::<f64>() }
    }

    /// Rows of a file of so many bytes; at least one.
    pub fn rows(&self, bytes: f64) -> f64 {
        ((bytes - self.fixed) / self.row).max(1.0)
    }
}

/// Bytes of a table's file, or of its part files.
///
/// # Errors
/// Bad input: there is no such file.
pub fn bytes(path: &Path) -> Result<f64> {
    Ok(Source::Path(path.to_owned()).length()? as f64)
}
