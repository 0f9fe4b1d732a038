//! The masked autoregressive decoder.

use ndarray::s;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::ACTIVATION;
use super::base::Base;
use crate::model::mixture::Posterior;
use crate::nn::{Dense, Embedding, Matrix, Mlp, MlpBuffers, Slot, Table, Trace, softmax};

/// `p(x | z) = prod_j p(x_j | z, x_1 .. x_{j-1})`, all factors from one pass through one network whose weights are
/// masked so that no unit sees a column that comes after it (MADE, arXiv:1502.03509).
///
/// Hidden units are sorted by degree: a unit of degree `m` sees the latent numbers and the first `m` columns. What a
/// unit may see of the layer before is therefore a prefix of it, and drawing a row column by column computes each unit
/// once, when its columns are drawn. A masked weight is 0: [`Decoder::mask`] puts it there after every step.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    /// First cell of each column, and the total.
    offsets: Vec<usize>,
    embedding: Embedding,
    latent: Dense,
    mlp: Mlp,
    /// For each hidden layer, the first unit of each degree, and their number at the end.
    degrees: Vec<Vec<usize>>,
}

/// What a forward and a backward pass leave behind.
#[derive(Clone, Debug, Default)]
pub struct DecoderBuffers {
    pub(super) latent: Matrix,
    slope: Matrix,
    embedding_gradient: Matrix,
    latent_gradient: Matrix,
    pub(super) mlp: MlpBuffers,
}

/// Memory of [`Decoder::sample`].
#[derive(Clone, Debug, Default)]
pub(super) struct SampleBuffers {
    pub latent: Matrix,
    pub posterior: Posterior,
    /// Sums and then activations of each hidden layer.
    hidden: Vec<Matrix>,
    logits: Matrix,
}

impl Decoder {
    pub fn new(table: &mut Table, offsets: Vec<usize>, latent: usize, hidden: &[usize]) -> Self {
        let embedding = Embedding::new(table, "decoder.embedding", offsets.clone(), hidden[0]);
        let from_latent = Dense::new(table, "decoder.latent", latent, hidden[0]);
        let total = offsets.last().copied().unwrap_or(0);
        let widths: Vec<usize> = hidden.iter().copied().chain([total]).collect();
        let mlp = Mlp::new(table, "decoder", &widths, ACTIVATION);
        let columns = offsets.len() - 1;
        let degrees = hidden.iter().map(|&width| (0..=columns).map(|m| (m * width).div_ceil(columns)).collect());
        Self { degrees: degrees.collect(), offsets, embedding, latent: from_latent, mlp }
    }

    /// Fresh parameters, whose output is nothing.
    pub fn initialise(&self, parameters: &mut [f32], rng: &mut impl Rng) {
        self.embedding.initialise(parameters, std::f32::consts::SQRT_2, rng);
        self.latent.initialise(parameters, 1.0, rng);
        self.mlp.initialise(parameters, 0.0, rng);
        self.mask(parameters);
    }

    /// Where the decoder's parameters start; they are the last.
    pub fn start(&self) -> usize {
        self.embedding.weight.range().start
    }

    /// Units of a hidden layer that see no column after the first `columns`.
    fn seeing(&self, layer: usize, columns: usize) -> usize {
        self.degrees[layer][columns + 1]
    }

    /// Sets every weight that would show a unit a later column to 0.
    pub fn mask(&self, parameters: &mut [f32]) {
        let columns = self.offsets.len() - 1;
        let mut cut = |slot: &Slot, row: usize, columns: std::ops::Range<usize>| {
            slot.view_mut(parameters).slice_mut(s![row, columns]).fill(0.0);
        };
        for j in 0..columns {
            for cell in self.offsets[j]..self.offsets[j + 1] {
                cut(&self.embedding.weight, cell, 0..self.seeing(0, j));
            }
        }
        for (l, layer) in self.mlp.layers().iter().enumerate() {
            for m in 0..columns {
                let before = match self.degrees.get(l + 1) {
                    Some(degrees) => degrees[m],
                    None => self.offsets[m],
                };
                for unit in self.degrees[l][m]..self.degrees[l][m + 1] {
                    cut(&layer.weight, unit, 0..before);
                }
            }
        }
    }

    /// Runs rows of codes and the latent numbers in `buffers.latent` through the network; `buffers.mlp.output()` then
    /// holds the logits of every column.
    pub fn forward(&self, parameters: &[f32], codes: &[u16], buffers: &mut DecoderBuffers) {
        let DecoderBuffers { latent, slope, embedding_gradient: sums, mlp, .. } = buffers;
        let (rows, width) = (latent.rows(), self.embedding.outputs());
        sums.reshape(rows, width);
        self.embedding.forward(parameters, codes, sums);
        let hidden = mlp.input();
        hidden.reshape(rows, width);
        self.latent.forward(parameters, latent.view(), hidden.view_mut());
        hidden.values_mut().iter_mut().zip(sums.values()).for_each(|(h, s)| *h += s);
        slope.reshape(rows, width);
        ACTIVATION.apply_with_slope(hidden.values_mut(), slope.values_mut());
        self.mlp.forward(parameters, mlp);
    }

    /// Carries the gradient in `buffers.mlp.output()` back, and into `by_latent` that of the latent numbers.
    pub fn backward(&self, parameters: &[f32], buffers: &mut DecoderBuffers, by_latent: &mut Matrix) {
        let DecoderBuffers { slope, embedding_gradient, latent_gradient, mlp, .. } = buffers;
        self.mlp.backward(parameters, mlp, Some(embedding_gradient));
        embedding_gradient.values_mut().iter_mut().zip(slope.values()).for_each(|(g, s)| *g *= s);
        latent_gradient.copy_from(embedding_gradient);
        by_latent.reshape(embedding_gradient.rows(), self.latent.inputs());
        self.latent.backward(parameters, embedding_gradient.view(), by_latent.view_mut());
    }

    pub fn traces(&self, codes: &[u16], buffers: &mut DecoderBuffers, visit: &mut dyn FnMut(Trace<'_>)) {
        let DecoderBuffers { latent, embedding_gradient, latent_gradient, mlp, .. } = buffers;
        visit(Trace::Embedding { layer: &self.embedding, codes, gradient: embedding_gradient });
        visit(Trace::Dense { layer: &self.latent, input: latent, gradient: latent_gradient });
        self.mlp.traces(mlp, visit);
    }

    /// Draws a row of codes for each row of `buffers.latent`, column after column, on top of what `base` says given
    /// `posterior`, which then knows the rows.
    pub fn sample(
        &self,
        parameters: &[f32],
        base: &Base,
        is_first: bool,
        buffers: &mut SampleBuffers,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
    ) {
        let SampleBuffers { latent, posterior, hidden, logits } = buffers;
        let (rows, columns) = (latent.rows(), self.offsets.len() - 1);
        let layers = self.mlp.layers();
        hidden.resize_with(layers.len(), Matrix::default);
        hidden[0].reshape(rows, self.embedding.outputs());
        self.latent.forward(parameters, latent.view(), hidden[0].view_mut());
        let bias = &parameters[self.embedding.bias.range()];
        for r in 0..rows {
            hidden[0].row_mut(r).iter_mut().zip(bias).for_each(|(h, b)| *h += b);
        }
        for (l, layer) in layers.iter().enumerate().take(layers.len() - 1) {
            hidden[l + 1].reshape(rows, layer.outputs());
        }
        codes.clear();
        codes.resize(rows * columns, 0);
        let embedding = self.embedding.weight.view(parameters);
        for j in 0..columns {
            // Units of degree j now know all that they will see.
            for l in 0..layers.len() {
                let own = self.degrees[l][j]..self.degrees[l][j + 1];
                let (before, after) = hidden.split_at_mut(l);
                if let Some(before) = before.last() {
                    layers[l - 1].forward_part(
                        parameters,
                        before.view().slice_move(s![.., ..self.seeing(l - 1, j)]),
                        own.clone(),
                        after[0].view_mut().slice_move(s![.., own.clone()]),
                    );
                }
                for r in 0..rows {
                    ACTIVATION.apply(&mut after[0].row_mut(r)[own.clone()]);
                }
            }
            let cells = self.offsets[j]..self.offsets[j + 1];
            logits.reshape(rows, cells.len());
            layers[layers.len() - 1].forward_part(
                parameters,
                hidden[layers.len() - 1].view().slice_move(s![.., ..self.seeing(layers.len() - 1, j)]),
                cells.clone(),
                logits.view_mut(),
            );
            let start = base.mixture.column_logs(j, posterior);
            logits.values_mut().iter_mut().zip(start.values()).for_each(|(l, s)| *l += s);
            for r in 0..rows {
                let mut code = [0];
                softmax::sample(logits.row_mut(r), &[0, cells.len()], || rng.random(), &mut code);
                codes[r * columns + j] = code[0];
                if is_first || Some(j) != base.rows_column {
                    base.mixture.observe(r, j, code[0], posterior);
                }
                let hit = embedding.row(cells.start + usize::from(code[0]));
                let later = self.seeing(0, j)..;
                let sums = hidden[0].row_mut(r)[later.clone()].iter_mut();
                sums.zip(hit.slice(s![later])).for_each(|(h, w)| *h += w);
            }
        }
    }
}
