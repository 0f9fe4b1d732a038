//! Rows uncovered step by step, and what they say.

use std::sync::Arc;

use rand::Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{ACTIVATION, Diffusion, DiffusionSettings};
use crate::encode::{Codes, Layout};
use crate::error::Result;
use crate::model::mixture::{Mixture, Posterior};
use crate::model::refined::Sampler;
use crate::model::rows::RowsOfUnits;
use crate::nn::{Matrix, MlpBuffers, Tensor, softmax};

/// A trained diffusion model, ready to draw.
#[derive(Clone, Debug)]
pub struct DiffusionGenerator {
    model: Diffusion,
    parameters: Vec<f32>,
}

/// Rows drawn at a time; they are uncovered in the same order.
const TILE_ROWS: usize = 256;
/// Orders over which the bound of a row is averaged.
const ORDERS: u64 = 2;

/// Rows on their way.
#[derive(Default)]
pub(super) struct Uncovering {
    /// Sums into the first hidden layer.
    sums: Matrix,
    pub posterior: Posterior,
    mlp: MlpBuffers,
}

impl Diffusion {
    /// Hides `rows` rows.
    pub(super) fn hide(&self, parameters: &[f32], rows: usize, state: &mut Uncovering) {
        let hidden: Vec<u16> = (0..self.width()).map(|j| self.hidden_code(j)).collect();
        state.sums.reshape(rows, self.embedding.outputs());
        self.embedding.forward(parameters, &hidden.repeat(rows), &mut state.sums);
    }

    /// Shows the network the codes of column `j`.
    pub(super) fn show(&self, parameters: &[f32], j: usize, r: usize, code: u16, state: &mut Uncovering) {
        self.embedding.replace(parameters, j, self.hidden_code(j), code, state.sums.row_mut(r));
    }

    /// Runs what is shown through the hidden layers.
    pub(super) fn think(&self, parameters: &[f32], state: &mut Uncovering) {
        let input = state.mlp.input();
        input.copy_from(&state.sums);
        ACTIVATION.apply(input.values_mut());
        self.mlp.forward_hidden(parameters, &mut state.mlp);
    }

    /// The logits of column `j`, given what is shown.
    pub(super) fn logits(&self, parameters: &[f32], j: usize, state: &mut Uncovering, logits: &mut Matrix) {
        let cells = self.offsets[j]..self.offsets[j + 1];
        self.mlp.forward_outputs(parameters, cells, &state.mlp, logits);
        let base = self.base.column_logs(j, &mut state.posterior);
        logits.values_mut().iter_mut().zip(base.values()).for_each(|(l, b)| *l += b);
    }

    /// See [`Sampler::sample`].
    pub(super) fn draw_rows(
        &self,
        parameters: &[f32],
        units: usize,
        rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
    ) -> Codes {
        let (mut codes, mut offsets) = (Vec::new(), vec![0]);
        let (mut state, mut logits) = (Uncovering::default(), Matrix::default());
        for start in (0..units).step_by(TILE_ROWS) {
            let tile = TILE_ROWS.min(units - start);
            self.base.start(tile, &mut state.posterior);
            // Round after round, the next row of each unit that has one left; the first row says how many there are.
            let mut rows = RowsOfUnits::new(tile, rows_column);
            while !rows.active.is_empty() {
                let drawn = self.uncover(parameters, &rows, &mut state, &mut logits, rng);
                let kept = rows.add(&drawn, self.width());
                self.base.keep(&kept, &mut state.posterior);
            }
            rows.append_to(self.width(), &mut codes, &mut offsets);
        }
        Codes { codes, width: self.width(), offsets }
    }

    /// Draws the next row of each active unit.
    fn uncover(
        &self,
        parameters: &[f32],
        units: &RowsOfUnits,
        state: &mut Uncovering,
        logits: &mut Matrix,
        rng: &mut ChaCha8Rng,
    ) -> Vec<u16> {
        let (count, width) = (units.active.len(), self.width());
        let mut drawn = vec![0u16; count * width];
        self.hide(parameters, count, state);
        let mut order: Vec<usize> = (0..width).collect();
        if let Some((column, codes)) = units.given() {
            order.retain(|&j| j != column);
            for (r, code) in codes.enumerate() {
                drawn[r * width + column] = code;
                self.show(parameters, column, r, code, state);
            }
        }
        order.shuffle(rng);
        let steps = self.settings.sampling_steps.min(order.len()).max(1);
        for step in 0..steps {
            let group = &order[step * order.len() / steps..(step + 1) * order.len() / steps];
            self.think(parameters, state);
            for &j in group {
                self.logits(parameters, j, state, logits);
                for r in 0..count {
                    let mut code = [0];
                    let row = logits.row_mut(r);
                    let cells = [0, row.len()];
                    softmax::sample(row, &cells, || rng.random(), &mut code);
                    drawn[r * width + j] = code[0];
                }
            }
            for &j in group {
                for r in 0..count {
                    let code = drawn[r * width + j];
                    self.show(parameters, j, r, code, state);
                    self.base.observe(r, j, code, &mut state.posterior);
                }
            }
        }
        drawn
    }
}

impl DiffusionGenerator {
    /// # Panics
    /// When the parameters are not those of the architecture.
    pub fn new(model: Diffusion, parameters: Vec<f32>) -> Self {
        assert_eq!(parameters.len(), model.table.len(), "parameters of this architecture");
        Self { model, parameters }
    }

    /// Reads what [`Sampler::tensors`] wrote.
    ///
    /// # Errors
    /// Bad input when a tensor is missing, has the wrong size, or holds values that are not finite.
    pub fn from_tensors(
        layout: &Layout,
        settings: DiffusionSettings,
        mixture: Arc<Mixture>,
        rows_column: Option<usize>,
        tensors: &[Tensor],
    ) -> Result<Self> {
        let model = Diffusion::new(layout, settings, mixture, rows_column)?;
        let parameters = model.table.import(tensors)?;
        Ok(Self { model, parameters })
    }
}

impl Sampler for DiffusionGenerator {
    fn sample(
        &self,
        units: usize,
        rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    ) {
        let drawn = self.model.draw_rows(&self.parameters, units, rows_column, rng);
        (*codes, *offsets) = (drawn.codes, drawn.offsets);
    }

    /// The evidence bound: the mean over random orders of what each column adds, given the columns uncovered before it.
    fn nats(&self, codes: &[u16], rng: &mut ChaCha8Rng, nats: &mut [f64]) {
        let width = self.model.width();
        let key: [u8; 32] = rng.random();
        let tiles = codes.par_chunks(TILE_ROWS * width).zip(nats.par_chunks_mut(TILE_ROWS * width));
        tiles.enumerate().for_each_init(Uncovering::default, |state, (tile, (codes, nats))| {
            let rows = codes.len() / width;
            let mut rng = ChaCha8Rng::from_seed(key);
            rng.set_stream(tile as u64);
            let mut order: Vec<usize> = (0..width).collect();
            let mut logits = Matrix::default();
            nats.fill(0.0);
            for _ in 0..ORDERS {
                order.shuffle(&mut rng);
                self.model.base.start(rows, &mut state.posterior);
                self.model.hide(&self.parameters, rows, state);
                for &j in &order {
                    self.model.think(&self.parameters, state);
                    self.model.logits(&self.parameters, j, state, &mut logits);
                    let cells = [0, logits.columns()];
                    softmax::probabilities(logits.values_mut(), &cells);
                    for r in 0..rows {
                        let code = codes[r * width + j];
                        let p = logits.row(r)[usize::from(code)];
                        nats[r * width + j] -= f64::from(p.max(f32::MIN_POSITIVE)).ln() / ORDERS as f64;
                        self.model.show(&self.parameters, j, r, code, state);
                        self.model.base.observe(r, j, code, &mut state.posterior);
                    }
                }
            }
        });
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.model.table.export(&self.parameters)
    }
}
