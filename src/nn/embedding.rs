//! A dense layer on one-hot blocks, fed with codes.

use rand::Rng;
use rand_distr::StandardNormal;

use super::matrix::Matrix;
use super::parameters::{Slot, Table};
use super::simd::vectorised;

/// `y = b + sum_j W[offset_j + code_j]`: what a dense layer does to a row of one-hot blocks, without the zeros.
#[derive(Clone, Debug)]
pub struct Embedding {
    pub weight: Slot,
    pub bias: Slot,
    offsets: Vec<usize>,
}

impl Embedding {
    /// Takes its place in the table. `offsets` holds the first one-hot position of each column and the total at
    /// the end.
    pub fn new(table: &mut Table, name: &str, offsets: Vec<usize>, outputs: usize) -> Self {
        let total = offsets.last().copied().unwrap_or(0);
        Self {
            weight: table.add(format!("{name}.weight"), total, outputs),
            bias: table.add(format!("{name}.bias"), 1, outputs),
            offsets,
        }
    }

    /// Number of columns: codes in a row.
    pub fn width(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub fn outputs(&self) -> usize {
        self.weight.shape().1
    }

    /// Weights from a normal law of standard deviation `gain / sqrt(width)`, biases zero.
    pub fn initialise(&self, parameters: &mut [f32], gain: f32, rng: &mut impl Rng) {
        let scale = gain / (self.width().max(1) as f32).sqrt();
        parameters[self.weight.range()].fill_with(|| scale * rng.sample::<f32, _>(StandardNormal));
        parameters[self.bias.range()].fill(0.0);
    }

    /// Rows of codes in, `y` of `rows x outputs` out.
    ///
    /// # Panics
    /// When a code lies outside its column.
    pub fn forward(&self, parameters: &[f32], codes: &[u16], y: &mut Matrix) {
        let (weight, bias) = (&parameters[self.weight.range()], &parameters[self.bias.range()]);
        for (r, row) in codes.chunks_exact(self.width()).enumerate() {
            let y = y.row_mut(r);
            y.copy_from_slice(bias);
            for position in self.positions(row) {
                let hit = &weight[position * bias.len()..(position + 1) * bias.len()];
                vectorised(|| y.iter_mut().zip(hit).for_each(|(y, w)| *y += w));
            }
        }
    }

    /// Turns an output `y` at which column `j` has code `old` into the one at which it has code `new`.
    pub fn replace(&self, parameters: &[f32], j: usize, old: u16, new: u16, y: &mut [f32]) {
        let weight = &parameters[self.weight.range()];
        let hit = |code: u16| {
            let position = self.offsets[j] + usize::from(code);
            &weight[position * y.len()..(position + 1) * y.len()]
        };
        let (old, new) = (hit(old), hit(new));
        vectorised(|| y.iter_mut().zip(old).zip(new).for_each(|((y, old), new)| *y += new - old));
    }

    /// Adds the gradient of the parameters to `out`, given the rows of codes and the gradients `g` of the output; when
    /// it is the `first`, `out` starts from nothing.
    pub fn accumulate(&self, codes: &[u16], g: &Matrix, first: bool, out: &mut [f32]) {
        let (start, outputs) = (self.weight.range().start, self.outputs());
        if first {
            out[self.weight.range()].fill(0.0);
        }
        for (r, row) in codes.chunks_exact(self.width()).enumerate() {
            for position in self.positions(row) {
                let hit = start + position * outputs;
                let (sum, g) = (&mut out[hit..hit + outputs], g.row(r));
                vectorised(|| sum.iter_mut().zip(g).for_each(|(s, g)| *s += g));
            }
        }
        g.add_rows(first, &mut out[self.bias.range()]);
    }

    /// One-hot positions of a row.
    fn positions<'a>(&'a self, row: &'a [u16]) -> impl Iterator<Item = usize> + 'a {
        row.iter().zip(self.offsets.windows(2)).map(|(&code, block)| {
            let position = block[0] + usize::from(code);
            assert!(position < block[1], "a code outside its column");
            position
        })
    }
}
