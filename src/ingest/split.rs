//! Units on two sides: those that a model is fitted to, and those that are held out.
//!
//! On which side a unit stands hangs on the seed and on the unit's own key, and on nobody else: where each row is a person,
//! on its cells in the columns that are modelled, in the order of the schema, and its number among equal ones. What else a file
//! has, and in which order, may hang on others. So whoever is added, wherever, all others stay where they are, and tables
//! that differ by one unit have training rows that differ by one unit.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt32Array};
use arrow_schema::Field;
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;
use sha2::{Digest, Sha256};
use synthward_privacy::Sensitive;

use super::cells::Texts;
use super::frame::MISSING;
use super::linked::{LinkedTables, read_linked_to_fill, table_file};
use super::raw::{RawTable, Stored, read_linked_table};
use crate::error::{Error, Result};
use crate::schema::{LinkedSchema, Notation, Schema};

/// Rows of a table on either side: training, holdout.
pub type Sides = [RecordBatch; 2];

/// How units are divided.
#[derive(Clone, Copy, Debug)]
pub struct Division {
    /// Share of the units that are held out, above 0 and below 1.
    pub holdout: f64,
    pub seed: u64,
}

impl Division {
    /// Whether a unit of this identity is held out.
    fn holds_out(self, identity: Sha256) -> bool {
        let digest = identity.finalize();
        let first = digest.iter().take(8).fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        // 53 bits are what a double holds.
        ((first >> 11) as f64) < self.holdout * (1u64 << 53) as f64
    }

    fn hasher(self) -> Sha256 {
        Sha256::new_with_prefix([&b"synthward split "[..], &self.seed.to_le_bytes()].concat())
    }
}

impl RawTable {
    /// The rows of either side, without columns of types that are not supported.
    ///
    /// # Errors
    /// Bad input: a row without its unit; a column that cannot be read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn split(&self, schema: &Schema, division: Division) -> Result<Sensitive<Sides>> {
        let held_out = BooleanArray::from(self.held_out(schema, division)?);
        let trained = BooleanArray::from(held_out.values().iter().map(|held_out| !held_out).collect::<Vec<_>>());
        let failed = |_| Error::failed("the rows cannot be divided");
        let rows = self.plain_cells(schema)?;
        let side = |of: &BooleanArray| filter_record_batch(&rows, of).map_err(failed);
        Ok(Sensitive::new([side(&trained)?, side(&held_out)?]))
    }

    /// Whether each row is of a unit that is held out.
    fn held_out(&self, schema: &Schema, division: Division) -> Result<Vec<bool>> {
        if let Some(units) = self.all_rows().units(schema)? {
            let label = |label: &String| division.holds_out(division.hasher().chain_update(label.as_bytes()));
            let labels: Vec<bool> = units.labels.iter().map(label).collect();
            return Ok(units.codes.iter().map(|&code| labels[code as usize]).collect());
        }
        let rows = self.hashed(schema, division.hasher())?;
        let mut equal: HashMap<[u8; 32], u64> = HashMap::new();
        let side = |row: Sha256| {
            let number = equal.entry(row.clone().finalize().into()).or_default();
            *number += 1;
            division.holds_out(row.chain_update(number.to_le_bytes()))
        };
        Ok(rows.into_iter().map(side).collect())
    }

    /// A hash of the modelled cells of each row.
    fn hashed(&self, schema: &Schema, start: Sha256) -> Result<Vec<Sha256>> {
        let mut rows: Vec<Sha256> = vec![start; self.rows];
        for column in schema.modelled().filter_map(|column| self.column(&column.name)) {
            let texts = Texts::of(column.stored.cells()?)
                .map_err(|_| self.source.bad("the column cannot be read").column(&column.name))?;
            for (row, &code) in rows.iter_mut().zip(&texts.codes) {
                let cell = if code == MISSING { "" } else { &texts.labels[code as usize] };
                row.update((cell.len() as u64).to_le_bytes());
                row.update(cell.as_bytes());
            }
        }
        Ok(rows)
    }

    /// Numbers by which rows are told apart: of rows whose modelled cells are spelled alike the same.
    ///
    /// # Errors
    /// A column that cannot be read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn row_numbers(&self, schema: &Schema) -> Result<Sensitive<Vec<u64>>> {
        let number = |row: Sha256| row.finalize().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte));
        Ok(Sensitive::new(self.hashed(schema, Sha256::new())?.into_iter().map(number).collect()))
    }

    /// The cells as they were read, numbers of text written as programs write them: whoever reads the rows again, from a file
    /// that says nothing of how its text is read, reads the same.
    ///
    /// # Errors
    /// A column that cannot be read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn plain(&self, schema: &Schema) -> Result<Sensitive<RecordBatch>> {
        self.plain_cells(schema).map(Sensitive::new)
    }

    fn plain_cells(&self, schema: &Schema) -> Result<RecordBatch> {
        let is_supported = |name: &str| self.column(name).is_some_and(|c| !matches!(c.stored, Stored::Unsupported(_)));
        let rows = self.cells(is_supported)?;
        let plain = |(field, cells): (&Arc<Field>, &ArrayRef)| -> ArrayRef {
            let is_text = self.column(field.name()).is_some_and(|column| matches!(column.stored, Stored::Text(_)));
            let column = schema.column(field.name()).filter(|_| is_text);
            let Some(notation) = column.and_then(|column| Notation::of(&self.reading, column)) else {
                return cells.clone();
            };
            let texts = cells.as_string::<i32>().iter();
            let cell = |cell: Option<&str>| cell.map(|cell| notation.plain(cell).unwrap_or(cell.into()).into_owned());
            Arc::new(texts.map(cell).collect::<StringArray>())
        };
        let columns: Vec<ArrayRef> = rows.schema_ref().fields().iter().zip(rows.columns()).map(plain).collect();
        RecordBatch::try_new(rows.schema(), columns).map_err(|e| Error::failed(e.to_string()))
    }
}

/// The rows of either side of each table of persons in a folder, by its name. Rows that hang on nobody, where the schema
/// leaves them out, are on neither.
///
/// # Errors
/// Bad input, as [`read_linked`](super::read_linked).
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn split_folder(
    folder: &Path,
    schema: &LinkedSchema,
    division: Division,
    memory: u64,
) -> Result<Sensitive<Vec<(String, Sides)>>> {
    let split = read_linked_to_fill(folder, schema, memory)?.map(|tables| of_tables(&tables, folder, schema, division));
    split.transpose()
}

fn of_tables(
    tables: &LinkedTables,
    folder: &Path,
    schema: &LinkedSchema,
    division: Division,
) -> Result<Vec<(String, Sides)>> {
    let raw = |table: usize| {
        let table = &schema.tables[table];
        read_linked_table(&table_file(folder, &table.name)?, table)
    };
    let tree = schema.tree();
    let root = &schema.tables[tree[0]];
    let mut alone = root.alone();
    if let Some(key) = &root.key {
        alone.table.privacy_unit = Some(key.clone());
    }
    let of_rows = raw(tree[0])?.held_out(&alone, division)?;
    let of_persons: Vec<bool> = tables.file_rows(tree[0])?.iter().map(|&row| of_rows[row as usize]).collect();
    let mut split = Vec::with_capacity(tree.len());
    for table in tree {
        let rows = raw(table)?.plain_cells(&schema.tables[table].alone())?;
        let persons = tables.file_rows(table)?.iter().zip(tables.person_of_rows(table)?);
        let persons: Vec<(u32, bool)> = persons.map(|(&row, &person)| (row, of_persons[person as usize])).collect();
        let side = |wanted: bool| {
            let mut own: Vec<u32> = persons.iter().filter(|(_, side)| *side == wanted).map(|(row, _)| *row).collect();
            own.sort_unstable();
            take_record_batch(&rows, &UInt32Array::from(own)).map_err(|_| Error::failed("the rows cannot be divided"))
        };
        split.push((schema.tables[table].name.clone(), [side(false)?, side(true)?]));
    }
    Ok(split)
}
