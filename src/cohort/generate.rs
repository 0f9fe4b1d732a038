//! Drawing a cohort block by block.

use super::arrays::{ColumnDecoder, data_type, surrogates};
use crate::error::{Error, Result};
use crate::model::ModelFile;
use crate::schema::{Column, Kind, Schema as TableSchema};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::sync::Arc;

/// Units drawn from one random stream. Part of what a seed means: changing it
/// changes the cohort that a seed gives.
const UNITS_PER_BLOCK: usize = 2048;

/// Blocks drawn in parallel before their rows are handed on. It bounds the
/// memory, and has no influence on the rows.
const BLOCKS_PER_WAVE: u64 = 32;

/// How a column of the cohort is made.
enum Source {
    /// Decoded from the model's column of this index.
    Model(usize, ColumnDecoder),
    /// A fresh key per unit.
    UnitKey,
    /// A fresh key per row.
    RowKey,
}

/// A model prepared for drawing.
pub struct Cohort<'m> {
    model: &'m ModelFile,
    columns: Vec<(&'m Column, Source)>,
    schema: SchemaRef,
}

/// The drawn codes of one block of units.
struct Block {
    codes: Vec<u16>,
    offsets: Vec<u32>,
}

impl<'m> Cohort<'m> {
    /// Prepares the decoders of a model.
    ///
    /// # Errors
    /// Bad input when the model's schema names a type that its values do not fit.
    pub fn new(model: &'m ModelFile) -> Result<Self> {
        let schema: &TableSchema = &model.header.schema;
        let domain = &model.domain;
        let unit_column = schema.table.unit_column();
        let mut columns = Vec::new();
        for column in schema.columns.iter().filter(|c| !c.drop) {
            let source = if unit_column == Some(column.name.as_str()) {
                Source::UnitKey
            } else if column.kind == Kind::Identifier {
                Source::RowKey
            } else {
                let index = domain
                    .columns
                    .iter()
                    .position(|c| c.name == column.name)
                    .ok_or_else(|| Error::bad_input("the model lacks this column").column(&column.name))?;
                Source::Model(
                    index,
                    ColumnDecoder::new(column, &domain.columns[index].domain, &model.header.codecs[index])?,
                )
            };
            columns.push((column, source));
        }
        let fields: Vec<Field> =
            columns.iter().map(|(column, _)| Field::new(&column.name, data_type(column), column.nullable)).collect();
        Ok(Self { model, columns, schema: Arc::new(Schema::new(fields)) })
    }

    /// The Arrow schema of the cohort: the input's types and order.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn draw(&self, seed: u64, block: u64) -> Block {
        let mut rng = stream(seed, 2 * block);
        let mut drawn = Block { codes: Vec::new(), offsets: Vec::new() };
        self.model.generator.generate(
            UNITS_PER_BLOCK,
            self.model.domain.rows_column,
            None,
            &mut rng,
            &mut drawn.codes,
            &mut drawn.offsets,
        );
        drawn
    }

    /// Decodes the first `rows` rows of a drawn block.
    fn decode(&self, seed: u64, block: u64, first_row: u64, drawn: &Block, rows: usize) -> Result<RecordBatch> {
        let width = self.model.domain.columns.len();
        let codes = &drawn.codes[..rows * width];
        let mut rng = stream(seed, 2 * block + 1);
        let arrays: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|(column, source)| match source {
                Source::Model(index, decoder) => decoder.decode(codes, *index, width, &mut rng),
                Source::UnitKey => {
                    let first = block * UNITS_PER_BLOCK as u64 + 1;
                    let keys = drawn
                        .offsets
                        .windows(2)
                        .enumerate()
                        .flat_map(|(unit, w)| std::iter::repeat_n(first + unit as u64, (w[1] - w[0]) as usize));
                    surrogates(keys.take(rows), column)
                }
                Source::RowKey => surrogates((0..rows as u64).map(|r| first_row + r + 1), column),
            })
            .collect::<Result<_>>()?;
        RecordBatch::try_new(self.schema.clone(), arrays).map_err(|e| Error::failed(e.to_string()))
    }
}

/// The random stream of one block: the cohort depends on the seed and the
/// block number alone, never on the number of threads.
fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// Draws exactly `rows` rows and hands them on in order, a wave of batches at
/// a time; the last patient may be cut short.
///
/// # Privacy
/// Post-processing of a released model.
pub fn generate(
    cohort: &Cohort<'_>,
    rows: u64,
    seed: u64,
    mut sink: impl FnMut(Vec<RecordBatch>) -> Result<()>,
) -> Result<()> {
    let width = cohort.model.domain.columns.len().max(1);
    let mut done = 0;
    let mut block = 0;
    while done < rows {
        // A unit has at least one row, so more blocks than this cannot be needed.
        let blocks = (rows - done).div_ceil(UNITS_PER_BLOCK as u64).min(BLOCKS_PER_WAVE);
        let wave: Vec<Block> = (block..block + blocks).into_par_iter().map(|b| cohort.draw(seed, b)).collect();
        let mut first = done;
        let planned: Vec<(u64, u64, &Block, usize)> = wave
            .iter()
            .zip(block..)
            .map(|(drawn, number)| {
                let take = ((drawn.codes.len() / width) as u64).min(rows - first);
                let start = first;
                first += take;
                (number, start, drawn, take as usize)
            })
            .filter(|(.., take)| *take > 0)
            .collect();
        if first == done {
            return Err(Error::failed("the model draws no rows"));
        }
        let batches: Vec<RecordBatch> = planned
            .into_par_iter()
            .map(|(number, start, drawn, take)| cohort.decode(seed, number, start, drawn, take))
            .collect::<Result<_>>()?;
        done = first;
        block += blocks;
        sink(batches)?;
    }
    Ok(())
}
