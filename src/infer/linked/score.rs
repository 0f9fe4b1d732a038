//! How likely the rows of persons are.

use super::super::score::ColumnScore;
use crate::encode::{CodeStore, Codes, Identities, Records};
use crate::error::Result;
use crate::ingest::LinkedTables;
use crate::model::{ChapterNats, Known, LinkedModel, Part, TrajectoryGenerator};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// Rows scored as one piece of work: sums are taken within it and then in its order, at any number of threads.
const ROWS_PER_BLOCK: usize = 4096;

/// What a model of linked tables says of persons, in nats.
///
/// The resolution is that of the model's joint cells. Numbers of rows below a row are part of that row's score; what a row
/// is told from is not, nor is a column that a map gives from another one.
///
/// # Privacy
/// Outside the guarantee: read from real rows, for the data's controller.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LinkedScores {
    /// Rows of each person, of all tables, in the order of the root.
    #[serde(skip)]
    pub rows_of_person: Vec<u64>,
    pub persons: usize,
    /// Rows of all tables.
    pub rows: usize,
    pub nats_per_person: f64,
    pub nats_per_row: f64,
    /// Rows with a cell to which the model gives no probability; it counts as the least that a number of 32 bits has.
    pub impossible_rows: usize,
    /// Each after its parent.
    pub tables: Vec<TableScores>,
}

/// A table's part of a score.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TableScores {
    pub table: String,
    /// Nats of each person's rows there, in the order of the root.
    #[serde(skip)]
    pub nats_of_person: Vec<f64>,
    pub rows: usize,
    /// Mean of a row.
    pub nats_per_row: f64,
    /// `exp(nats_per_row)`: among so many equally likely rows the model is in doubt.
    #[schemars(with = "Option<f64>")]
    pub perplexity: f64,
    /// In the order of the table's columns; each given those before it, and what the row is told from.
    pub columns: Vec<ColumnScore>,
}

impl LinkedScores {
    /// Nats of each person, in the order of the root.
    pub fn nats_of_person(&self) -> Vec<f64> {
        let of = |person: usize| self.tables.iter().map(|table| table.nats_of_person[person]).sum();
        (0..self.persons).map(of).collect()
    }
}

/// Nats of some rows that follow each other.
struct Block {
    rows: Vec<f64>,
    columns: Vec<f64>,
    impossible_rows: usize,
}

/// Blocks of each part, as a network over trajectories has them.
fn by_network(
    model: &LinkedModel,
    network: &TrajectoryGenerator,
    tables: &LinkedTables,
    codes: Vec<Vec<u16>>,
    seed: u64,
) -> Result<Vec<Vec<Block>>> {
    let persons = tables.persons()?;
    let chapters = model.parts.iter().zip(codes).enumerate().filter(|(_, (part, _))| part.view.drawn > 0);
    let chapters = chapters.map(|(number, (part, codes))| {
        let rows = (codes.len() / part.view.columns.len().max(1)) as u32;
        let store = CodeStore::from(Codes { codes, width: part.view.columns.len(), offsets: vec![0, rows] });
        Ok((number as u16, store, tables.offsets(part.table)?))
    });
    let trajectory = network.trajectory();
    let shape = (persons, trajectory.width());
    let codes = CodeStore::woven(
        &chapters.collect::<Result<Vec<_>>>()?,
        shape,
        Identities::Places,
        u64::MAX,
        |number, view| trajectory.rows(number, view),
    )?;
    let nats = network.nats(&codes, &mut ChaCha8Rng::seed_from_u64(seed));
    let block = |(nats, part): (ChapterNats, &Part)| -> Result<Vec<Block>> {
        let mut block = Block { rows: nats.rows, columns: nats.columns, impossible_rows: 0 };
        // Of a table of keys alone nothing is drawn.
        block.rows.resize(tables.person_of_rows(part.table)?.len(), 0.0);
        Ok(vec![block])
    };
    nats.into_iter().zip(&model.parts).map(block).collect()
}

impl Block {
    /// The blocks of a part, as its law alone has them.
    fn by_law(part: &Part, codes: &[u16]) -> Vec<Self> {
        let chunks = codes.par_chunks(ROWS_PER_BLOCK * part.view.columns.len().max(1));
        chunks.map(|codes| Self::new(part, codes)).collect()
    }

    fn new(part: &Part, codes: &[u16]) -> Self {
        let (law, sources) = (&part.law, &part.view.columns);
        let told: Vec<usize> = (0..sources.len()).filter(|&j| !sources[j].from.is_drawn()).collect();
        let mut block = Self { rows: Vec::new(), columns: vec![0.0; part.view.drawn], impossible_rows: 0 };
        let mut known = Known::default();
        for codes in codes.chunks_exact(sources.len()) {
            law.start(&mut known);
            for &j in &told {
                law.observe(j, codes[j], &mut known);
            }
            let (mut sum, mut is_impossible) = (0.0, false);
            for (j, column) in block.columns.iter_mut().enumerate() {
                let probability = law.observe(j, codes[j], &mut known);
                is_impossible |= probability <= 0.0;
                let nats = -f64::from(probability.max(f32::MIN_POSITIVE)).ln();
                sum += nats;
                *column += nats;
            }
            block.rows.push(sum);
            block.impossible_rows += usize::from(is_impossible);
        }
        block
    }
}

/// Scores persons with all their rows. A missing cell is a value like any other. The scores are the same at any number of
/// threads.
///
/// # Errors
/// A table was not read.
///
/// # Privacy
/// Touches sensitive data; the result is for the data's controller.
pub fn score_linked(model: &LinkedModel, tables: &Arc<LinkedTables>, seed: u64) -> Result<LinkedScores> {
    let persons = tables.persons()?;
    let mean = |sum: f64, of: usize| sum / of.max(1) as f64;
    let mut rows_of_person = vec![0; persons];
    let (mut scores, mut impossible_rows, mut rows) = (Vec::new(), 0, 0);
    let codes = model.parts.iter().map(|part| {
        let (domain, codecs) = (&part.model.domain, &part.model.header.codecs);
        let frame = tables.view_frame(part.table, &part.view)?;
        Ok(Records::new(&frame, domain, codecs).complete(domain, codecs))
    });
    let codes: Vec<Vec<u16>> = codes.collect::<Result<_>>()?;
    let blocks = match &model.network {
        None => model.parts.iter().zip(&codes).map(|(part, codes)| Block::by_law(part, codes)).collect(),
        Some(network) => by_network(model, network, tables, codes, seed)?,
    };
    for (part, blocks) in model.parts.iter().zip(blocks) {
        let domain = &part.model.domain;
        let mut sums = vec![0.0; part.view.drawn];
        for block in &blocks {
            sums.iter_mut().zip(&block.columns).for_each(|(sum, nats)| *sum += nats);
            impossible_rows += block.impossible_rows;
        }
        let person = tables.person_of_rows(part.table)?;
        let mut nats_of_person = vec![0.0; persons];
        for (nats, &person) in blocks.iter().flat_map(|block| &block.rows).zip(person) {
            nats_of_person[person as usize] += nats;
            rows_of_person[person as usize] += 1;
        }
        let nats_per_row = mean(sums.iter().sum(), person.len());
        let column = |(j, &sum): (usize, &f64)| {
            let nats = mean(sum, person.len());
            ColumnScore { column: domain.columns[j].name.clone(), nats, perplexity: nats.exp() }
        };
        rows += person.len();
        scores.push(TableScores {
            table: model.header.schema.tables[part.table].name.clone(),
            nats_of_person,
            rows: person.len(),
            nats_per_row,
            perplexity: nats_per_row.exp(),
            columns: sums.iter().enumerate().map(column).collect(),
        });
    }
    let nats: f64 = scores.iter().flat_map(|table: &TableScores| &table.nats_of_person).sum();
    Ok(LinkedScores {
        rows_of_person,
        persons,
        rows,
        nats_per_person: mean(nats, persons),
        nats_per_row: mean(nats, rows),
        impossible_rows,
        tables: scores,
    })
}
