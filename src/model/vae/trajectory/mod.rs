//! A variational autoencoder over trajectories: all rows of a person, in all tables that hang together.
//!
//! # The idea
//! A person has one latent vector, which all rows of all tables are drawn with: it says what ties them beyond what a row is
//! told from. Each table is a chapter, with an encoder of its own, whose opinions of the latent are averaged over all rows
//! of the person, and a decoder of its own. The evidence bound of a person is that of the whole trajectory: what the
//! columns of each row that are drawn cost, given the latent and what the row is told from, and what the latent costs, once
//! (Kingma and Welling, arXiv:1312.6114). Its gradient is clipped as one.
//!
//! # The decoders
//! They are those of a flat table, with what a row is told from as given columns, and their logits stand on the logarithms of
//! what the table's own law, with its ties, says of each column given those before it. A network that says nothing is that law.
//!
//! # Codes
//! Rows of all chapters lie in one table of codes, person by person: the number of the chapter, its columns in the order of the
//! network, what its law says of each cell of the drawn ones (so that it is not asked again at each step), and then zeros up
//! to the width of the widest.

mod draw;
mod loss;
mod nats;

use super::ACTIVATION;
use super::decoder::Decoder;
use super::settings::VaeSettings;
use crate::encode::Layout;
use crate::error::Result;
use crate::model::{Known, Tied};
use crate::nn::{Embedding, Matrix, Mlp, Table, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::sync::Arc;

pub use draw::{Room, TrajectoryGenerator};
pub use loss::TrajectoryBuffers;
pub use nats::ChapterNats;

/// What is public of a table that is told in a trajectory.
#[derive(Clone, Debug)]
pub struct Told {
    /// The law of a row given what it is told from.
    pub law: Arc<Tied>,
    /// Of the table's view.
    pub layout: Layout,
    /// So many of the first columns are drawn.
    pub drawn: usize,
    /// The columns that a row is told from.
    pub known: Vec<usize>,
    /// The drawn column that is drawn first, such as that of a row's time.
    pub first: Option<usize>,
    /// The rows that its rows hang on; none for the root.
    pub above: Option<Above>,
}

/// What says how many rows of a chapter hang on a row.
#[derive(Clone, Debug)]
pub struct Above {
    /// The chapter of that row ...
    pub chapter: usize,
    /// ... its column that says it ...
    pub column: usize,
    /// ... and about how many rows each code of the column means.
    pub rows: Vec<usize>,
}

/// Rows that are drawn or looked up at a time.
const TILE_ROWS: usize = 128;

/// The architecture. The parameters are one flat vector beside it.
#[derive(Clone, Debug)]
pub struct Trajectory {
    settings: VaeSettings,
    table: Table,
    chapters: Vec<Chapter>,
    /// Where the decoders' parameters start.
    decoders: usize,
}

/// One table of a trajectory.
#[derive(Clone, Debug)]
struct Chapter {
    told: Told,
    /// The columns of the view in the order of the network: those that are known, then those that are drawn.
    order: Vec<usize>,
    /// How many are known.
    known: usize,
    /// First cell of each column of that order, and the total.
    offsets: Vec<usize>,
    /// None where nothing is drawn.
    network: Option<ChapterNetwork>,
}

#[derive(Clone, Debug)]
struct ChapterNetwork {
    /// Of the drawn columns.
    embedding: Embedding,
    encoder: Mlp,
    decoder: Decoder,
}

/// Steps of a nat in which the logarithms of a law are kept, from 0 to 16 nats: a network must be able to bring back what the
/// law calls impossible.
const STEPS_OF_A_NAT: f32 = 4095.0;
const MOST_NATS: f32 = 16.0;

impl Chapter {
    /// Where the codes of a row end: its number, its columns, and its drawn cells.
    fn end(&self) -> usize {
        1 + self.order.len() + self.offsets[self.order.len()] - self.offsets[self.known]
    }

    /// Puts what the law says of the drawn cells of rows behind their columns.
    fn ask(&self, known: &mut Known, shares: &mut Matrix, rows: &mut [u16], width: usize) {
        let law = &self.told.law;
        law.start_rows(rows.len() / width, known);
        let mut place = 1 + self.order.len();
        for (i, &column) in self.order.iter().enumerate() {
            if i >= self.known {
                law.shares(column, known, shares);
                for (r, row) in rows.chunks_exact_mut(width).enumerate() {
                    let cells = row[place..].iter_mut().zip(shares.row(r));
                    cells.for_each(|(cell, &share)| *cell = steps(share));
                }
                place += shares.columns();
            }
            for (r, row) in rows.chunks_exact(width).enumerate() {
                law.observe_row(r, column, row[1 + i], known);
            }
        }
    }

    /// First cell of each drawn column among those of all drawn columns, and the total.
    fn drawn_offsets(&self) -> Vec<usize> {
        self.offsets[self.known..].iter().map(|offset| offset - self.offsets[self.known]).collect()
    }
}

/// How a probability is kept.
fn steps(share: f32) -> u16 {
    (-share.max(f32::MIN_POSITIVE).ln()).clamp(0.0, MOST_NATS).mul_add(STEPS_OF_A_NAT, 0.5) as u16
}

/// The logarithm of the probability that is kept so.
fn log(steps: u16) -> f32 {
    -f32::from(steps) / STEPS_OF_A_NAT
}

impl Trajectory {
    /// # Errors
    /// Bad input when the settings are beyond what a network can be built from.
    pub fn new(settings: VaeSettings, told: Vec<Told>) -> Result<Self> {
        let mut table = Table::default();
        let mut chapters: Vec<Chapter> = Vec::with_capacity(told.len());
        let VaeSettings { hidden, latent, .. } = &settings;
        let mut encoders = Vec::with_capacity(told.len());
        for (number, told) in told.into_iter().enumerate() {
            settings.check(&told.layout)?;
            let first = told.first.filter(|&first| first < told.drawn);
            let rest = (0..told.drawn).filter(|&j| Some(j) != first);
            let order: Vec<usize> = told.known.iter().copied().chain(first).chain(rest).collect();
            let layout = Layout { cells: order.iter().map(|&j| told.layout.cells[j]).collect() };
            let chapter = Chapter { known: told.known.len(), offsets: layout.offsets(), order, network: None, told };
            encoders.push((chapter.told.drawn > 0).then(|| {
                let name = format!("{number}.encoder");
                let embedding =
                    Embedding::new(&mut table, &format!("{name}.embedding"), chapter.drawn_offsets(), hidden[0]);
                let widths: Vec<usize> = hidden.iter().copied().chain([2 * latent]).collect();
                (embedding, Mlp::new(&mut table, &name, &widths, ACTIVATION))
            }));
            chapters.push(chapter);
        }
        let decoders = table.len();
        for (number, (chapter, encoder)) in chapters.iter_mut().zip(encoders).enumerate() {
            chapter.network = encoder.map(|(embedding, encoder)| {
                let columns = (chapter.offsets.clone(), chapter.known);
                let decoder = Decoder::new(&mut table, &format!("{number}.decoder"), columns, *latent, hidden);
                ChapterNetwork { embedding, encoder, decoder }
            });
        }
        Ok(Self { settings, table, chapters, decoders })
    }

    pub fn settings(&self) -> &VaeSettings {
        &self.settings
    }

    /// Codes of a row.
    pub fn width(&self) -> usize {
        self.chapters.iter().map(Chapter::end).max().unwrap_or(1)
    }

    /// Rows of the view of a chapter as they lie in a trajectory. Of real rows they are those of one person: what a law says of
    /// a row depends, in its last digit, on the rows that it is asked of at once.
    ///
    /// # Privacy
    /// Touches sensitive data, where the rows are real, and releases nothing.
    pub fn rows(&self, chapter: u16, view: &[u16]) -> Vec<u16> {
        let (own, width) = (&self.chapters[usize::from(chapter)], self.width());
        let rows = view.chunks_exact(own.told.layout.width().max(1));
        let mut all = vec![0; rows.len() * width];
        for (row, view) in all.chunks_exact_mut(width).zip(rows) {
            row[0] = chapter;
            row[1..].iter_mut().zip(&own.order).for_each(|(code, &j)| *code = view[j]);
        }
        let (mut known, mut shares) = (Known::default(), Matrix::default());
        all.chunks_mut(TILE_ROWS * width).for_each(|rows| own.ask(&mut known, &mut shares, rows, width));
        all
    }

    /// Fresh parameters: the decoders give what the tables' laws say, whatever the latent numbers.
    ///
    /// # Privacy
    /// Public: depends on nothing but the seed.
    pub fn initialise(&self, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = vec![0.0; self.table.len()];
        for ChapterNetwork { embedding, encoder, decoder } in self.networks() {
            embedding.initialise(&mut parameters, std::f32::consts::SQRT_2, &mut rng);
            encoder.initialise(&mut parameters, 0.0, &mut rng);
            decoder.initialise(&mut parameters, &mut rng);
        }
        parameters
    }

    /// Reads the parameters that [`Trajectory::tensors`] wrote.
    ///
    /// # Errors
    /// Bad input when a tensor is missing, has another shape, or holds a value that is not finite.
    pub fn parameters(&self, tensors: &[Tensor]) -> Result<Vec<f32>> {
        self.table.import(tensors)
    }

    /// The parameters as tensors.
    pub fn tensors(&self, parameters: &[f32]) -> Vec<Tensor> {
        self.table.export(parameters)
    }

    fn networks(&self) -> impl Iterator<Item = &ChapterNetwork> {
        self.chapters.iter().filter_map(|chapter| chapter.network.as_ref())
    }

    fn drawn_parameters(&self) -> Range<usize> {
        self.decoders..self.table.len()
    }
}

#[cfg(test)]
mod tests;
