//! The cells of a table as Arrow arrays, unread: what is given back as it came.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_ipc::reader::FileReader;
use arrow_schema::{DataType, Field, Schema};
use polars::prelude::{CompatLevel, DataFrame, IpcWriter, SerWriter};
use synthward_privacy::Sensitive;

use super::raw::{RawColumn, RawTable, Stored};
use crate::error::{Error, Result};
use crate::schema::ArrowType;

impl RawTable {
    /// True when every cell is text, as in CSV.
    pub fn is_text(&self) -> bool {
        self.columns.iter().all(|column| matches!(column.stored, Stored::Csv(_)))
    }

    /// The columns that are wanted, as they were read and in the file's own
    /// types; text where the file is CSV, as spelled.
    ///
    /// # Errors
    /// Bad input for a column whose Arrow type is not supported.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn batch(&self, wanted: impl Fn(&str) -> bool) -> Result<Sensitive<RecordBatch>> {
        let columns: Vec<&RawColumn> = self.columns.iter().filter(|column| wanted(&column.name)).collect();
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for column in columns {
            let array = self.array(column).map_err(|e| e.file(self.source.as_path()).column(&column.name))?;
            fields.push(Field::new(&column.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map(Sensitive::new)
            .map_err(|e| Error::failed(e.to_string()))
    }

    /// One column by way of Arrow IPC: the one form that polars writes and arrow-rs reads.
    fn array(&self, column: &RawColumn) -> Result<ArrayRef> {
        let data_type = column.stored.arrow_type()?.map_or(DataType::Utf8, |t: &ArrowType| t.data_type().clone());
        let unreadable = || Error::failed("the column cannot be given back in its own type");
        let mut frame = DataFrame::new(self.rows, vec![column.stored.cells()?.clone()]).map_err(|_| unreadable())?;
        frame.rechunk_mut();
        let mut bytes = Vec::new();
        IpcWriter::new(&mut bytes)
            .with_compat_level(CompatLevel::oldest())
            .finish(&mut frame)
            .map_err(|_| unreadable())?;
        let batches = FileReader::try_new(Cursor::new(bytes), None).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let batches = batches.map_err(|_| unreadable())?;
        let parts = batches.iter().map(|batch| cast(batch.column(0), &data_type));
        let parts = parts.collect::<Result<Vec<ArrayRef>, _>>().map_err(|_| unreadable())?;
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        arrow_select::concat::concat(&parts).map_err(|_| unreadable())
    }
}
