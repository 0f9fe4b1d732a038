//! The cells of a table as Arrow arrays, unread: what is given back as it came.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema};
use arrow_select::concat::concat;
use synthward_privacy::Sensitive;

use super::raw::{RawColumn, RawTable, Stored};
use crate::error::{Error, Result};

impl RawTable {
    /// True when every cell is text, as in CSV.
    pub fn is_text(&self) -> bool {
        self.columns.iter().all(|column| matches!(column.stored, Stored::Text(_)))
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
        self.cells(wanted).map(Sensitive::new)
    }

    pub(super) fn cells(&self, wanted: impl Fn(&str) -> bool) -> Result<RecordBatch> {
        let columns: Vec<&RawColumn> = self.columns.iter().filter(|column| wanted(&column.name)).collect();
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for column in columns {
            let array = self.array(column).map_err(|e| e.file(self.source.as_path()).column(&column.name))?;
            fields.push(Field::new(&column.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|e| Error::failed(e.to_string()))
    }

    /// One column, its parts put together.
    fn array(&self, column: &RawColumn) -> Result<ArrayRef> {
        let parts: Vec<_> = column.stored.cells()?.iter().map(AsRef::as_ref).collect();
        concat(&parts).map_err(|_| Error::failed("the column is too large to be given back in its own type"))
    }
}
