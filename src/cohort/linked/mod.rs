//! Cohorts of tables that hang together: persons are drawn with everything below them.
//!
//! A person's row is drawn first, with the number of rows below it; then, table after table, each row given the rows above
//! it and the one before it. Moments are told as time that passed, so that none comes before what it follows.

mod arrays;
mod below;
mod folder;
mod given;
mod history;
mod story;

use super::generate::{Case, stream};
use super::rules::Rules;
use super::writer::Format;
use crate::encode::Decoder;
use crate::error::{Error, Result};
use crate::model::LinkedModel;
use crate::schema::linked::{From, LinkedSchema};
use arrays::TableArrays;
use arrow_array::RecordBatch;
use rayon::prelude::*;
use std::ops::Range;
use story::Block;

pub use folder::{copy_files, write_folder};
pub use history::{persons_for, write_history};

/// Persons drawn from one random stream. Part of what a seed means.
pub const PERSONS_PER_BLOCK: u64 = 128;
/// Blocks drawn in parallel before their rows are handed on: it bounds the memory, and has no influence on the rows.
const BLOCKS_PER_WAVE: u64 = 32;

/// A model of linked tables, prepared for drawing.
pub struct LinkedCohort<'m> {
    model: &'m LinkedModel,
    tables: Vec<Table<'m>>,
    /// What is written: the rows of these parts.
    written: Vec<(usize, TableArrays)>,
    /// The cases of a condition on persons; empty without one.
    cases: Vec<Case>,
}

/// One table of a cohort, in the order of the model's parts.
struct Table<'m> {
    /// The place of its parent among the parts.
    parent: Option<usize>,
    decoders: Vec<Decoder>,
    rules: Option<Rules<'m>>,
    /// Whether each column of the view is drawn.
    drawn: Vec<bool>,
    /// For each part, the column of the parent's view that says how many rows hang on a row.
    count: Option<usize>,
}

impl<'m> LinkedCohort<'m> {
    /// Prepares the tables of a model, to be written in this format.
    ///
    /// # Errors
    /// Bad input when the schema names a type that its values do not fit.
    pub fn new(model: &'m LinkedModel, format: Format) -> Result<Self> {
        let schema = &model.header.schema;
        let tree = schema.tree();
        let of_tree = |table: usize| tree.iter().position(|&t| t == table);
        let tables = model.parts.iter().map(|part| {
            let parent = schema.parent(part.table).and_then(of_tree);
            let columns = parent.map(|parent| &model.parts[parent].view.columns);
            let count = columns.and_then(|c| c.iter().position(|column| column.from == From::Count(part.table)));
            Ok(Table {
                parent,
                decoders: part.model.header.codecs.iter().map(Decoder::new).collect(),
                rules: Rules::new(&part.model, |column| super::arrays::written_type(column, format))?,
                drawn: part.view.columns.iter().map(|column| column.from.is_drawn()).collect(),
                count,
            })
        });
        let each = |(number, part)| Ok((number, TableArrays::new(model, part, format)?));
        let written = match &schema.history {
            Some(flat) => vec![(1, TableArrays::joined(model, flat, format)?)],
            None => model.parts.iter().enumerate().map(each).collect::<Result<_>>()?,
        };
        Ok(Self { model, tables: tables.collect::<Result<_>>()?, written, cases: Vec::new() })
    }

    fn schema(&self) -> &LinkedSchema {
        &self.model.header.schema
    }

    /// Draws so many persons and hands the rows of each file on, a wave at a time, in the order of the model's parts. The
    /// same seed gives the same rows, at any number of threads. Returns how many rows each part has.
    ///
    /// # Errors
    /// Bad input where a row cannot hold the constraints of the schema; what `sink` gives.
    ///
    /// # Privacy
    /// Post-processing of a released model.
    pub fn generate(
        &self,
        persons: u64,
        seed: u64,
        mut sink: impl FnMut(u64, Vec<Vec<RecordBatch>>) -> Result<()>,
    ) -> Result<Vec<u64>> {
        let mut before = vec![0u64; self.tables.len()];
        let (mut done, mut block) = (0, 0);
        while done < persons {
            let blocks = (persons - done).div_ceil(PERSONS_PER_BLOCK).min(BLOCKS_PER_WAVE);
            let by_file = self.wave(block..block + blocks, persons, seed, &mut before)?;
            block += blocks;
            done = (done + blocks * PERSONS_PER_BLOCK).min(persons);
            sink(done, by_file)?;
        }
        Ok(before)
    }

    /// Draws blocks of persons, up to so many persons in all, and gives the rows of each file. `before` counts the rows of
    /// each part.
    fn wave(&self, blocks: Range<u64>, persons: u64, seed: u64, before: &mut [u64]) -> Result<Vec<Vec<RecordBatch>>> {
        let drawn: Vec<Block> = blocks
            .into_par_iter()
            .map(|number| {
                let persons = PERSONS_PER_BLOCK.min(persons - number * PERSONS_PER_BLOCK);
                self.draw(persons as usize, &mut stream(seed, number))
            })
            .collect::<Result<_>>()?;
        let offsets: Vec<Vec<u64>> = drawn
            .iter()
            .map(|block| {
                let own = before.to_vec();
                before.iter_mut().zip(&block.tables).for_each(|(all, table)| *all += table.rows() as u64);
                own
            })
            .collect();
        let written = |(block, offsets): (&Block, &Vec<u64>)| {
            self.written.iter().map(|(part, arrays)| arrays.batch(block, *part, offsets)).collect()
        };
        let batches: Vec<Vec<RecordBatch>> = drawn.par_iter().zip(&offsets).map(written).collect::<Result<_>>()?;
        let mut by_file: Vec<Vec<RecordBatch>> = self.written.iter().map(|_| Vec::new()).collect();
        for block in batches {
            by_file.iter_mut().zip(block).for_each(|(file, batch)| file.push(batch));
        }
        Ok(by_file)
    }
}

/// The constraints of a table cannot be held, or not with the condition.
fn cannot_hold(table: &str, given: bool) -> Error {
    let (and_condition, remedy) = match given {
        false => ("", "fit a model with fewer constraints"),
        true => (" and the condition", "ask for more values, or for what the constraints allow"),
    };
    Error::bad_input(format!(
        "table `{table}`: its constraints{and_condition} cannot be held together in a row of this model"
    ))
    .remedy(remedy)
}
