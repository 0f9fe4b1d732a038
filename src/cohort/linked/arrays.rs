//! The rows of a table as Arrow arrays.

use super::super::arrays::{ColumnValues, data_type, links, surrogates, written_type};
use super::super::writer::Format;
use super::story::{Block, told_as_passed};
use crate::encode::{Domain, TableDomain};
use crate::error::{Error, Result};
use crate::ingest::MISSING;
use crate::model::{LinkedModel, Part};
use crate::schema::datetime::Clock;
use crate::schema::linked::From;
use crate::schema::{Column, Schema as TableSchema};
use arrow_array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow_schema::{Field, Schema, SchemaRef};
use std::sync::Arc;

/// How a column is made.
enum Source {
    /// Of the positions of a column of the view.
    View(usize, ColumnValues),
    /// Of the positions of a column of the view of the row of this part that the row hangs on.
    ViewAbove(usize, usize, ColumnValues),
    /// Of moments: the place among those that are told as passed time, and the column's own grid.
    Moment(usize, Grid, ColumnValues),
    /// A fresh key a row.
    Key,
    /// The key of the row of this part that the row hangs on.
    Above(usize),
    /// The key of a row of this part, of the same person.
    Beside(usize),
    /// A key of nothing that was drawn.
    Nothing,
}

/// The positions of moments.
struct Grid {
    min: f64,
    step: f64,
    last: f64,
    clock: Clock,
}

/// Makes the arrays of a table.
pub(super) struct TableArrays {
    columns: Vec<(Column, Source)>,
    /// The key of each part's table.
    keys: Vec<Option<Column>>,
    /// The place of the parent of each part.
    parents: Vec<Option<usize>>,
    /// Columns of the view that are told as passed time.
    moments: usize,
    pub schema: SchemaRef,
}

impl TableArrays {
    pub fn new(model: &LinkedModel, part: &Part, format: Format) -> Result<Self> {
        let schema = &model.header.schema;
        let tree = schema.tree();
        let of_tree = |table: usize| tree.iter().position(|&t| t == table);
        let parents: Vec<Option<usize>> = tree.iter().map(|&t| schema.parent(t).and_then(of_tree)).collect();
        let table = &schema.tables[part.table];
        let key = |&t: &usize| schema.tables[t].key.as_ref().and_then(|name| schema.tables[t].column(name)).cloned();
        let keys = tree.iter().map(key).collect();
        let alone = TableDomain::of(&table.alone())?;
        let mut columns = Vec::new();
        for (index, column) in table.columns.iter().enumerate().filter(|(_, column)| !column.drop) {
            let own = part.view.columns.iter().position(|c| match c.from {
                From::Own(own) | From::Gap(own) | From::Passed(own) | From::End(own) => own == index,
                _ => false,
            });
            let source = match own {
                Some(j) if part.view.columns[j].from == From::Own(index) => {
                    let domain = &part.model.domain.columns[j].domain;
                    Source::View(j, ColumnValues::in_type(column, domain, written_type(column, format))?)
                }
                Some(j) => {
                    let none = || Error::bad_input("the model lacks this column").column(&column.name);
                    let domain = alone.columns.iter().find(|c| c.name == column.name).ok_or_else(none)?;
                    let Domain::Numbers { min, step, positions } = domain.domain else { return Err(none()) };
                    let grid = Grid { min, step, last: f64::from(positions - 1), clock: column.clock() };
                    let place = told_as_passed(part).position(|passed| passed == j).ok_or_else(none)?;
                    let values = ColumnValues::in_type(column, &domain.domain, written_type(column, format))?;
                    Source::Moment(place, grid, values)
                }
                None => match table.links.get(&column.name).and_then(|name| schema.place(name)).map(of_tree) {
                    Some(Some(linked)) if is_above(&parents, of_tree(part.table), linked) => Source::Above(linked),
                    Some(Some(linked)) => Source::Beside(linked),
                    Some(None) => Source::Nothing,
                    None => Source::Key,
                },
            };
            columns.push((column.clone(), source));
        }
        let moments = told_as_passed(part).count();
        let schema = written(&columns, format);
        Ok(Self { columns, keys, parents, moments, schema })
    }

    /// The arrays of the one table that two were made of: the rows below, with what their persons have in common.
    pub fn joined(model: &LinkedModel, flat: &TableSchema, format: Format) -> Result<Self> {
        let [root, below] = &model.parts[..] else {
            return Err(Error::bad_input("the model of a table with an order has not two parts"));
        };
        let (above, mut own) = (Self::new(model, root, format)?, Self::new(model, below, format)?);
        let of_person = above.columns.into_iter().filter_map(|(column, source)| match source {
            Source::View(j, values) => Some((column, Source::ViewAbove(0, j, values))),
            _ => None,
        });
        own.columns.extend(of_person);
        let place = |name: &str| flat.columns.iter().position(|column| column.name == name);
        own.columns.retain(|(column, _)| flat.column(&column.name).is_some_and(|column| !column.drop));
        own.columns.sort_by_key(|(column, _)| place(&column.name));
        own.schema = written(&own.columns, format);
        Ok(own)
    }

    /// The rows of part `number` in a block; `offsets` says how many rows of each part were before it.
    pub fn batch(&self, block: &Block, number: usize, offsets: &[u64]) -> Result<RecordBatch> {
        let drawn = &block.tables[number];
        let rows = drawn.rows();
        let arrays = self.columns.iter().map(|(column, source)| -> Result<ArrayRef> {
            match source {
                Source::View(j, values) => {
                    values.array(&(0..rows).map(|row| drawn.position(row, *j)).collect::<Vec<u32>>())
                }
                Source::ViewAbove(part, j, values) => {
                    let above = (0..rows).map(|row| self.above(block, number, row, *part));
                    values.array(&above.map(|row| block.tables[*part].position(row, *j)).collect::<Vec<u32>>())
                }
                Source::Moment(place, grid, values) => {
                    let times = drawn.times.iter().skip(*place).step_by(self.moments);
                    values.array(&times.map(|&time| grid.position(time)).collect::<Vec<u32>>())
                }
                Source::Key => surrogates((0..rows as u64).map(|row| offsets[number] + row + 1), column),
                Source::Above(linked) => {
                    let above = (0..rows).map(|row| self.above(block, number, row, *linked));
                    links(above.map(|row| offsets[*linked] + row as u64 + 1), column, self.key(*linked, column))
                }
                Source::Beside(linked) => {
                    let theirs = &block.tables[*linked];
                    let beside = (0..rows).map(|row| beside(&theirs.person, drawn.person[row], row));
                    let beside: Vec<Option<usize>> = beside.collect();
                    let keys = (0..theirs.rows() as u64).map(|row| offsets[*linked] + row + 1);
                    let keys = links(keys, column, self.key(*linked, column))?;
                    let places: UInt32Array = beside.iter().map(|row| row.map(|row| row as u32)).collect();
                    arrow_select::take::take(&keys, &places, None).map_err(|e| Error::failed(e.to_string()))
                }
                Source::Nothing => Ok(new_null_array(&data_type(column), rows)),
            }
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(self.schema.clone(), arrays).map_err(|e| Error::failed(e.to_string()))
    }

    /// The column whose keys a link holds.
    fn key<'c>(&'c self, linked: usize, column: &'c Column) -> &'c Column {
        self.keys[linked].as_ref().unwrap_or(column)
    }

    /// The row of part `linked` that a row hangs on.
    fn above(&self, block: &Block, number: usize, row: usize, linked: usize) -> usize {
        let (mut part, mut row) = (number, row);
        while part != linked {
            row = block.tables[part].parent[row] as usize;
            match self.parents[part] {
                Some(parent) => part = parent,
                None => break,
            }
        }
        row
    }
}

/// The columns as a file has them.
fn written(columns: &[(Column, Source)], format: Format) -> SchemaRef {
    let field = |(column, source): &(Column, Source)| {
        let nullable = column.nullable || matches!(source, Source::Beside(_) | Source::Nothing);
        Field::new(&column.name, written_type(column, format), nullable)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<Field>>()))
}

impl Grid {
    fn position(&self, seconds: f64) -> u32 {
        if seconds.is_nan() {
            return MISSING;
        }
        // What is told to the day is written as the day that the moment is in. Moments are whole seconds, but for their last
        // digits.
        let ticks = (self.clock.of_seconds(seconds.round()) + 1e-6).floor();
        ((ticks - self.min) / self.step).floor().clamp(0.0, self.last) as u32
    }
}

/// Whether part `above` is one that part `part` hangs on.
fn is_above(parents: &[Option<usize>], part: Option<usize>, above: usize) -> bool {
    let mut at = part.and_then(|part| parents[part]);
    while let Some(part) = at {
        if part == above {
            return true;
        }
        at = parents[part];
    }
    false
}

/// One of a person's rows, among rows in the order of persons: another one from row to row.
fn beside(persons: &[u32], person: u32, row: usize) -> Option<usize> {
    let first = persons.partition_point(|&p| p < person);
    let count = persons.partition_point(|&p| p <= person) - first;
    (count > 0).then(|| first + row % count)
}
