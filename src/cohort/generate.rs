//! Drawing a cohort block by block.

use super::arrays::{ColumnValues, surrogates, written_type};
use super::condition::boxes::Region;
use super::condition::{Condition, excluded};
use super::rules::{Rules, Seen};
use super::writer::Format;
use crate::encode::{Codec, Decoder, Layout};
use crate::error::{Error, Result};
use crate::model::{Evidence, ModelFile};
use crate::schema::{Column, Kind, Schema as TableSchema};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// Units drawn from one random stream. Part of what a seed means: changing it
/// changes the cohort that a seed gives.
pub(super) const UNITS_PER_BLOCK: usize = 2048;

/// Blocks drawn in parallel before their rows are handed on. It bounds the
/// memory, and has no influence on the rows.
const BLOCKS_PER_WAVE: u64 = 32;

/// How a column of the cohort is made.
enum Source {
    /// Decoded from the model's column of this index.
    Model(usize, ColumnValues),
    /// A fresh key per unit.
    UnitKey,
    /// A fresh key per row.
    RowKey,
}

/// A model prepared for drawing.
pub struct Cohort<'m> {
    pub(super) model: &'m ModelFile,
    columns: Vec<(&'m Column, Source)>,
    /// What draws the positions of each column of the model.
    pub(super) decoders: Vec<Decoder>,
    /// What each row holds; `None` where the schema has no constraint.
    rules: Option<Rules<'m>>,
    schema: SchemaRef,
    /// The cases of a condition; empty without one.
    pub(super) cases: Vec<Case>,
}

/// One of the disjoint cases of a condition.
pub(super) struct Case {
    pub share: f64,
    pub evidence: Evidence,
    pub region: Region,
    /// What draws positions in the columns that the case narrows.
    pub decoders: HashMap<usize, Decoder>,
}

/// The drawn codes of one block of units.
#[derive(Default)]
pub(super) struct Block {
    pub codes: Vec<u16>,
    pub offsets: Vec<u32>,
    /// The case of each row, where there are several.
    pub cases: Vec<u16>,
    /// The positions of all cells, where constraints had to be held; else they are drawn when the rows are written.
    pub positions: Vec<u32>,
    /// What tells each row from others, a key a rule that says so.
    pub keys: Vec<Option<u128>>,
}

impl<'m> Cohort<'m> {
    /// Prepares the decoders of a model, for rows that will be written in this format.
    ///
    /// # Errors
    /// Bad input when the model's schema names a type that its values do not fit.
    pub fn new(model: &'m ModelFile, format: Format) -> Result<Self> {
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
                let data_type = written_type(column, format);
                let values = ColumnValues::in_type(column, &domain.columns[index].domain, data_type)?;
                Source::Model(index, values)
            };
            columns.push((column, source));
        }
        let field = |column: &Column| Field::new(&column.name, written_type(column, format), column.nullable);
        let fields: Vec<Field> = columns.iter().map(|(column, _)| field(column)).collect();
        Ok(Self {
            model,
            columns,
            decoders: model.header.codecs.iter().map(Decoder::new).collect(),
            rules: Rules::new(model, |column| written_type(column, format))?,
            schema: Arc::new(Schema::new(fields)),
            cases: Vec::new(),
        })
    }

    /// Draws only rows that satisfy a condition of the same model, by its own law given that. All rows of a unit do,
    /// and all in the same of the condition's cases.
    ///
    /// # Errors
    /// Bad input where no row satisfies the condition and holds the constraints of the schema.
    pub fn given(mut self, condition: &Condition) -> Result<Self> {
        self.cases = Case::all(condition, self.rules.as_ref(), self.model)?;
        Ok(self)
    }

    /// Cells of each column of the model.
    pub(super) fn layout(&self) -> Layout {
        layout(self.model)
    }

    /// The Arrow schema of the cohort: the input's types and order.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn draw(&self, seed: u64, block: u64) -> Result<Block> {
        let mut rng = stream(seed, 2 * block);
        let drawn = self.draw_codes(&mut rng)?;
        match &self.rules {
            Some(rules) => self.settled(rules, drawn, block, &mut rng, &mut stream(seed, 2 * block + 1)),
            None => Ok(drawn),
        }
    }

    fn draw_codes(&self, rng: &mut ChaCha8Rng) -> Result<Block> {
        match &self.cases[..] {
            [] => Ok(self.units(UNITS_PER_BLOCK, None, rng)),
            [case] => self.checked(self.units(UNITS_PER_BLOCK, Some(&case.evidence), rng), case),
            cases => {
                let order = shared_out(cases.iter().map(|case| case.share), UNITS_PER_BLOCK, rng);
                let mut blocks = Vec::with_capacity(cases.len());
                for (number, case) in (0..).zip(cases) {
                    let units = order.iter().filter(|&&n| n == number).count();
                    let own = if units > 0 { self.units(units, Some(&case.evidence), rng) } else { Block::default() };
                    blocks.push(self.checked(own, case)?);
                }
                Ok(interleaved(&blocks, &order, self.model.domain.columns.len()))
            }
        }
    }

    pub(super) fn units(&self, units: usize, evidence: Option<&Evidence>, rng: &mut ChaCha8Rng) -> Block {
        let mut drawn = Block::default();
        let Block { codes, offsets, .. } = &mut drawn;
        self.model.generator.generate(units, self.model.domain.rows_column, evidence, rng, codes, offsets);
        drawn
    }

    /// Refuses rows that do not agree with their case: numbers so small that they vanished.
    fn checked(&self, block: Block, case: &Case) -> Result<Block> {
        let width = self.model.domain.columns.len().max(1);
        block.codes.chunks_exact(width).try_for_each(|codes| case.check(codes))?;
        Ok(block)
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
                Source::Model(index, values) if !drawn.positions.is_empty() => {
                    let own = drawn.positions[..rows * width].iter().skip(*index).step_by(width);
                    values.array(&own.copied().collect::<Vec<u32>>())
                }
                Source::Model(index, values) => {
                    let codes = codes.iter().skip(*index).step_by(width);
                    let decoder = |row: usize| {
                        let case = self.cases.get(drawn.cases.get(row).map_or(0, |&case| usize::from(case)));
                        case.and_then(|case| case.decoders.get(index)).unwrap_or(&self.decoders[*index])
                    };
                    let positions: Vec<u32> =
                        codes.enumerate().map(|(row, &code)| decoder(row).draw(code, &mut rng)).collect();
                    values.array(&positions)
                }
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

impl Case {
    /// The cases of a condition, as far as rows of them can hold the rules.
    ///
    /// # Errors
    /// Bad input where no row satisfies the condition and holds the rules.
    pub fn all(condition: &Condition, rules: Option<&Rules>, model: &ModelFile) -> Result<Vec<Self>> {
        let codecs = &model.header.codecs;
        let case = |case: &super::condition::Case| {
            let mut region = case.region.clone();
            let drawn = match rules {
                Some(rules) => rules.narrow(&mut region)?,
                None => region.clone(),
            };
            let mut evidence = Evidence::none(&layout(model));
            for (&j, allowed) in &drawn {
                evidence.restrict(j, &codecs[j].shares(allowed));
            }
            let decoders = drawn.iter().map(|(&j, allowed)| (j, Decoder::within(&codecs[j], allowed))).collect();
            (!evidence.is_contradictory()).then_some(Self { share: case.share, evidence, region, decoders })
        };
        let mut cases: Vec<Self> = condition.cases().iter().filter_map(case).collect();
        let total: f64 = cases.iter().map(|case| case.share).sum();
        if cases.is_empty() {
            return Err(excluded());
        }
        cases.iter_mut().for_each(|case| case.share /= total);
        Ok(cases)
    }

    /// Whether the case says something of a column.
    pub fn narrows(&self, j: usize) -> bool {
        self.decoders.contains_key(&j)
    }

    /// Refuses a drawn row that is not of the case: its numbers were so small that they vanished.
    ///
    /// # Errors
    /// Bad input, for such a row.
    pub fn check(&self, codes: &[u16]) -> Result<()> {
        let agrees = |&j: &usize| self.evidence.column(j)[usize::from(codes[j])] > 0.0;
        if self.evidence.columns().iter().all(agrees) {
            return Ok(());
        }
        Err(Error::bad_input("the condition is so improbable in the model that nothing can be drawn")
            .remedy("ask for more values, or for fewer columns at once"))
    }
}

/// Cells of each column of a model.
fn layout(model: &ModelFile) -> Layout {
    Layout { cells: model.header.codecs.iter().map(Codec::cells).collect() }
}

/// For each of `units` units the number of its case, in random order: each case has its share of them, up to one.
pub(super) fn shared_out(shares: impl Iterator<Item = f64>, units: usize, rng: &mut ChaCha8Rng) -> Vec<u16> {
    let start: f64 = rng.random();
    let mut order = Vec::with_capacity(units);
    let (mut passed, mut last) = (0.0, 0);
    for (number, share) in (0..).zip(shares) {
        passed += share * units as f64;
        while order.len() < units && (order.len() as f64 + start) < passed {
            order.push(number);
        }
        last = if share > 0.0 { number } else { last };
    }
    // Rounding can leave the last ones out.
    order.resize(units, last);
    order.shuffle(rng);
    order
}

/// The units of several blocks in the order of their cases.
fn interleaved(blocks: &[Block], order: &[u16], width: usize) -> Block {
    let mut all = Block { offsets: vec![0], ..Block::default() };
    let mut next = vec![0; blocks.len()];
    for &case in order {
        let (block, unit) = (&blocks[usize::from(case)], &mut next[usize::from(case)]);
        let rows = block.offsets[*unit] as usize..block.offsets[*unit + 1] as usize;
        *unit += 1;
        all.codes.extend_from_slice(&block.codes[rows.start * width..rows.end * width]);
        all.cases.extend(rows.map(|_| case));
        all.offsets.push(all.cases.len() as u32);
    }
    all
}

/// The random stream of one block: the cohort depends on the seed and the
/// block number alone, never on the number of threads.
pub(super) fn stream(seed: u64, number: u64) -> ChaCha8Rng {
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
    let mut seen = Seen::default();
    while done < rows {
        // A unit has at least one row, so more blocks than this cannot be needed.
        let blocks = (rows - done).div_ceil(UNITS_PER_BLOCK as u64).min(BLOCKS_PER_WAVE);
        let mut wave: Vec<Block> =
            (block..block + blocks).into_par_iter().map(|b| cohort.draw(seed, b)).collect::<Result<_>>()?;
        if let Some(rules) = &cohort.rules {
            let mut left = (rows - done) as usize;
            for (number, drawn) in (block..).zip(&mut wave) {
                if left > 0 {
                    cohort.differing(rules, (seed, number), drawn, left, &mut seen)?;
                    left -= left.min(drawn.codes.len() / width);
                }
            }
        }
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
