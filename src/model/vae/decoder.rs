//! The masked autoregressive decoder.

use ndarray::s;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::ACTIVATION;
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
    /// So many of the first columns are given: the decoder says nothing of them, and all its units see them.
    given: usize,
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

/// What a decoder's logits are added to: the law of each column given those before it.
pub(super) trait Start {
    /// Adds the logarithms of the probabilities of column `j`, given what was observed of each row.
    fn add_logs(&mut self, j: usize, logits: &mut Matrix);

    /// Row `r` has this code in column `j`.
    fn observe(&mut self, r: usize, j: usize, code: u16);
}

/// Memory of [`Decoder::sample`].
#[derive(Clone, Debug, Default)]
pub(super) struct SampleBuffers {
    pub latent: Matrix,
    /// Sums and then activations of each hidden layer.
    hidden: Vec<Matrix>,
    logits: Matrix,
}

impl Decoder {
    /// A decoder of the columns after the first `given` ones, called `name` in the table.
    pub fn new(
        table: &mut Table,
        name: &str,
        (offsets, given): (Vec<usize>, usize),
        latent: usize,
        hidden: &[usize],
    ) -> Self {
        let embedding = Embedding::new(table, &format!("{name}.embedding"), offsets.clone(), hidden[0]);
        let from_latent = Dense::new(table, &format!("{name}.latent"), latent, hidden[0]);
        let columns = offsets.len() - 1;
        let widths: Vec<usize> = hidden.iter().copied().chain([offsets[columns] - offsets[given]]).collect();
        let mlp = Mlp::new(table, name, &widths, ACTIVATION);
        let first = |m: usize, width: usize| (m.saturating_sub(given) * width).div_ceil((columns - given).max(1));
        let degrees = hidden.iter().map(|&width| (0..=columns).map(|m| first(m, width)).collect());
        Self { degrees: degrees.collect(), offsets, given, embedding, latent: from_latent, mlp }
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
                    None => self.offsets[m].saturating_sub(self.offsets[self.given]),
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

    pub fn traces(
        &self,
        codes: &[u16],
        buffers: &mut DecoderBuffers,
        units: Option<&[usize]>,
        visit: &mut dyn FnMut(Trace<'_>),
    ) {
        let DecoderBuffers { latent, embedding_gradient, latent_gradient, mlp, .. } = buffers;
        visit(Trace::Embedding { layer: &self.embedding, codes, gradient: embedding_gradient, units });
        visit(Trace::Dense { layer: &self.latent, input: latent, gradient: latent_gradient, units });
        self.mlp.traces(mlp, units, visit);
    }

    /// Draws a row of codes for each row of `buffers.latent`, column after column, on top of what `start` says, which then
    /// knows the rows. The cells of the given columns stand in `codes` already.
    ///
    /// # Shapes
    /// `codes` is `rows x columns`.
    pub fn sample(
        &self,
        parameters: &[f32],
        start: &mut impl Start,
        buffers: &mut SampleBuffers,
        rng: &mut ChaCha8Rng,
        codes: &mut [u16],
    ) {
        let SampleBuffers { latent, hidden, logits } = buffers;
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
        let embedding = self.embedding.weight.view(parameters);
        let knows = |j: usize, r: usize, code: u16, hidden: &mut [Matrix]| {
            let hit = embedding.row(self.offsets[j] + usize::from(code));
            let later = self.seeing(0, j)..;
            let sums = hidden[0].row_mut(r)[later.clone()].iter_mut();
            sums.zip(hit.slice(s![later])).for_each(|(h, w)| *h += w);
        };
        for j in 0..self.given {
            for r in 0..rows {
                start.observe(r, j, codes[r * columns + j]);
                knows(j, r, codes[r * columns + j], hidden);
            }
        }
        for j in self.given..columns {
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
            let first = self.offsets[self.given];
            let cells = self.offsets[j] - first..self.offsets[j + 1] - first;
            logits.reshape(rows, cells.len());
            layers[layers.len() - 1].forward_part(
                parameters,
                hidden[layers.len() - 1].view().slice_move(s![.., ..self.seeing(layers.len() - 1, j)]),
                cells.clone(),
                logits.view_mut(),
            );
            start.add_logs(j, logits);
            for r in 0..rows {
                let mut code = [0];
                softmax::sample(logits.row_mut(r), &[0, cells.len()], || rng.random(), &mut code);
                codes[r * columns + j] = code[0];
                start.observe(r, j, code[0]);
                knows(j, r, code[0], hidden);
            }
        }
    }
}
