//! The denoising loss, forward and backward.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{ACTIVATION, Diffusion};
use crate::encode::{CodeStore, Codes};
use crate::model::mixture::Posterior;
use crate::model::network::{Trainable, first_word};
use crate::nn::{Matrix, MlpBuffers, Network, Trace, softmax};

/// Activations and gradients of a tile of rows.
#[derive(Clone, Debug, Default)]
pub struct DiffusionBuffers {
    /// Rows of a unit.
    own: Vec<u16>,
    /// Rows as they are, and with hidden cells: one a row and draw.
    pub(super) whole: Vec<u16>,
    pub(super) shown: Vec<u16>,
    /// Weight of the loss of each of them.
    pub(super) weights: Vec<f32>,
    order: Vec<usize>,
    posterior: Posterior,
    slope: Matrix,
    embedding_gradient: Matrix,
    pub(super) mlp: MlpBuffers,
}

/// The denoising loss of some units, with what is hidden fixed.
pub(super) struct DiffusionLoss<'a> {
    pub model: &'a Diffusion,
    pub codes: &'a CodeStore,
    /// What is hidden depends on this key, the step and the unit's identity.
    pub key: [u8; 32],
    pub step: u32,
}

impl Trainable for Diffusion {
    type Buffers = DiffusionBuffers;

    fn parameters(&self) -> usize {
        self.table.len()
    }

    /// The negative evidence bound of each unit, summed over its rows.
    fn loss<'a>(
        &'a self,
        codes: &'a CodeStore,
        key: [u8; 32],
        step: u32,
    ) -> impl Network<Buffers = DiffusionBuffers> + 'a {
        DiffusionLoss { model: self, codes, key, step }
    }

    fn draw(&self, parameters: &[f32], units: usize, rng: &mut ChaCha8Rng) -> Codes {
        self.draw_rows(parameters, units, self.rows_column, rng)
    }

    fn drawn_with(&self) -> std::ops::Range<usize> {
        0..self.table.len()
    }

    fn mask(&self, _parameters: &mut [f32]) {}
}

impl DiffusionLoss<'_> {
    /// Draws what is hidden of the rows of `units`, and starts the posterior of each with what is shown.
    pub fn hide(&self, units: &[u32], buffers: &mut DiffusionBuffers) {
        let DiffusionBuffers { own, whole, shown, weights, order, posterior, .. } = buffers;
        let (model, width) = (self.model, self.model.width());
        assert_eq!(self.codes.width(), width, "codes have the layout of the model");
        let draws = model.settings.multiplicity;
        whole.clear();
        shown.clear();
        weights.clear();
        let rows: usize = units.iter().map(|&unit| self.rows(unit)).sum();
        // One place more: what is known after the unit's earlier rows.
        model.base.start(rows + 1, posterior);
        let mut rng = ChaCha8Rng::from_seed(self.key);
        for &unit in units {
            rng.set_stream(self.codes.identity(unit));
            rng.set_word_pos(first_word(self.step));
            model.base.forget(rows, posterior);
            own.clear();
            self.codes.append_unit(unit as usize, own);
            for (place, row) in own.chunks_exact(width).enumerate() {
                let given = model.rows_column.filter(|_| place > 0);
                order.clear();
                order.extend((0..width).filter(|&j| Some(j) != given));
                for _ in 0..draws {
                    let trace = weights.len();
                    order.shuffle(&mut rng);
                    let hidden = rng.random_range(1..=order.len());
                    whole.extend_from_slice(row);
                    shown.extend_from_slice(row);
                    model.base.copy_row(rows, trace, posterior);
                    for (i, &j) in order.iter().enumerate() {
                        if i < hidden {
                            shown[trace * width + j] = model.hidden_code(j);
                        } else {
                            model.base.observe(trace, j, row[j], posterior);
                        }
                    }
                    weights.push(order.len() as f32 / (hidden * draws) as f32);
                }
                for &j in order.iter() {
                    model.base.observe(rows, j, row[j], posterior);
                }
            }
        }
    }
}

impl DiffusionLoss<'_> {
    /// Runs what is shown through the network, whose output then holds the logits of every column.
    pub fn denoise(&self, parameters: &[f32], buffers: &mut DiffusionBuffers) {
        let model = self.model;
        let DiffusionBuffers { shown, weights, posterior, slope, mlp, .. } = buffers;
        let rows = weights.len();
        let hidden = mlp.input();
        hidden.reshape(rows, model.embedding.outputs());
        model.embedding.forward(parameters, shown, hidden);
        slope.reshape(rows, model.embedding.outputs());
        ACTIVATION.apply_with_slope(hidden.values_mut(), slope.values_mut());
        model.mlp.forward(parameters, mlp);
        let output = mlp.output();
        let base = model.base.all_logs(posterior);
        output.values_mut().iter_mut().zip(base.values()).for_each(|(o, b)| *o += b);
    }
}

impl Network for DiffusionLoss<'_> {
    type Buffers = DiffusionBuffers;

    fn rows(&self, unit: u32) -> usize {
        self.codes.rows_of(unit as usize) * self.model.settings.multiplicity
    }

    fn backpropagate(&self, parameters: &[f32], units: &[u32], buffers: &mut DiffusionBuffers) {
        self.hide(units, buffers);
        self.denoise(parameters, buffers);
        let model = self.model;
        let width = model.width();
        let DiffusionBuffers { whole, shown, weights, slope, embedding_gradient, mlp, .. } = buffers;
        let output = mlp.output();
        softmax::cross_entropy_gradient(output.values_mut(), &model.offsets, whole);
        for (r, &weight) in weights.iter().enumerate() {
            let row = output.row_mut(r);
            for j in 0..width {
                let weight = if shown[r * width + j] == model.hidden_code(j) { weight } else { 0.0 };
                row[model.offsets[j]..model.offsets[j + 1]].iter_mut().for_each(|g| *g *= weight);
            }
        }
        model.mlp.backward(parameters, mlp, Some(embedding_gradient));
        embedding_gradient.values_mut().iter_mut().zip(slope.values()).for_each(|(g, s)| *g *= s);
    }

    fn traces(&self, buffers: &mut DiffusionBuffers, visit: &mut dyn FnMut(Trace<'_>)) {
        let DiffusionBuffers { shown, embedding_gradient, mlp, .. } = buffers;
        visit(Trace::Embedding {
            layer: &self.model.embedding,
            codes: shown,
            gradient: embedding_gradient,
            units: None,
        });
        self.model.mlp.traces(mlp, None, visit);
    }
}
