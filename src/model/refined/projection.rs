//! Factors that bring rows to released marginals.

use rand_chacha::ChaCha8Rng;

use super::Sampler;
use crate::encode::Layout;
use crate::error::Result;
use crate::model::Mixture;
use crate::model::steps::{Fitted, most_steps};
use crate::nn::{Tensor, find_tensor};

const FACTORS: &str = "projection.factors";
const MEAN: &str = "projection.mean";

/// Cells of rows that the fit looks at, at most ...
const MOST_CELLS: usize = 4_000_000;
/// ... units, at most and at least ...
const MOST_UNITS: usize = 160_000;
const LEAST_UNITS: usize = 10_000;
/// ... and for each unit that the model was fitted to.
const UNITS_PER_UNIT: f64 = 4.0;
/// Times that all marginals are gone through.
const SWEEPS: usize = 8;
/// A factor changes by at most this in one go.
const LARGEST_CHANGE: f64 = 3.0;
/// Units that every cell is thought to hold beside its own, in what is there and in what is wanted: factors of cells
/// with few units stay near 1.
const PSEUDO_UNITS: f64 = 20.0;
/// A share is wrong only by what is beyond so many standard deviations of its own sampling. Factors are stored for good,
/// and would otherwise fit the rows that they were fitted on.
const SAMPLING_DEVIATIONS: f64 = 2.0;

/// The logarithm of one factor for each cell of each pair of columns; a row's weight is the product of the factors of
/// its cells, a unit's the geometric mean of its rows'.
pub struct Projection {
    offsets: Vec<usize>,
    /// Factors of pair `(a, b)`, `a < b`, pairs in lexicographic order, the code of `b` running fastest.
    log_factors: Vec<f32>,
    /// Logarithm of the mean weight of the network's units.
    log_mean: f32,
}

/// Two columns and where their factors lie.
struct Pair {
    a: usize,
    b: usize,
    cells: std::ops::Range<usize>,
    /// Cells of column `b`.
    stride: usize,
}

fn pairs(offsets: &[usize]) -> Vec<Pair> {
    let cells = |j: usize| offsets[j + 1] - offsets[j];
    let columns = offsets.len() - 1;
    let mut start = 0;
    let mut pairs = Vec::with_capacity(columns * columns.saturating_sub(1) / 2);
    for a in 0..columns {
        for b in a + 1..columns {
            let end = start + cells(a) * cells(b);
            pairs.push(Pair { a, b, cells: start..end, stride: cells(b) });
            start = end;
        }
    }
    pairs
}

impl Projection {
    /// Fits the factors to rows of `network`, by raking: pair after pair, each cell's factor takes the ratio of the
    /// share that is wanted to the one that is there. Wanted are the mixture's marginals, which are the released ones
    /// shrunk by their own noise. `units` is the public or released number of units behind them.
    pub(super) fn fit(
        network: &dyn Sampler,
        mixture: &Mixture,
        rows_column: Option<usize>,
        units: f64,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let offsets = mixture.offsets().to_vec();
        let width = mixture.width();
        let units = ((UNITS_PER_UNIT * units) as usize).min(MOST_CELLS / width).clamp(LEAST_UNITS, MOST_UNITS);
        let units = most_steps(Fitted::Projection, units);
        let (mut codes, mut rows) = (Vec::new(), Vec::new());
        network.sample(units, rows_column, rng, &mut codes, &mut rows);
        let column = |j: usize| codes.iter().skip(j).step_by(width).copied().collect();
        let columns: Vec<Vec<u16>> = (0..width).map(column).collect();
        let mut fit = Fit { offsets: &rows, columns, log_weights: vec![0.0; units] };
        let pairs = pairs(&offsets);
        let mut log_factors = vec![0.0f32; pairs.last().map_or(0, |pair| pair.cells.end)];
        let even = fit.weights();
        let one = 1.0 / units as f64;
        let wanted = |pair: &Pair| -> Vec<f64> {
            let shares = fit.shares(pair, &even);
            let of_mixture = mixture.pair(pair.a, pair.b);
            let toward = |(&own, &other): (&f64, &f32)| {
                let (other, difference) = (f64::from(other), f64::from(other) - own);
                let sampling = SAMPLING_DEVIATIONS * (own.max(other) * one).sqrt();
                own + difference.signum() * (difference.abs() - sampling).max(0.0)
            };
            shares.iter().zip(&of_mixture).map(toward).collect()
        };
        let wanted: Vec<Vec<f64>> = pairs.iter().map(wanted).collect();
        for _ in 0..SWEEPS {
            for (pair, wanted) in pairs.iter().zip(&wanted) {
                let shares = fit.shares(pair, &fit.weights());
                let change = |(&now, &wanted): (&f64, &f64)| {
                    let ratio = (wanted + PSEUDO_UNITS * one) / (now + PSEUDO_UNITS * one);
                    ratio.clamp(1.0 / LARGEST_CHANGE, LARGEST_CHANGE).ln() as f32
                };
                let change: Vec<f32> = shares.iter().zip(wanted).map(change).collect();
                log_factors[pair.cells.clone()].iter_mut().zip(&change).for_each(|(f, c)| *f += c);
                fit.multiply(pair, &change);
            }
        }
        let largest = fit.log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = fit.log_weights.iter().map(|w| (w - largest).exp()).sum::<f64>() * one;
        Self { offsets, log_factors, log_mean: (largest + mean.ln()) as f32 }
    }

    /// The logarithms of the units' weights, 0 on average over the network's units (of the weights, not of their
    /// logarithms).
    pub(super) fn log_weights(&self, codes: &[u16], offsets: &[u32], log_weights: &mut Vec<f64>) {
        let width = self.offsets.len() - 1;
        let cells = |j: usize| self.offsets[j + 1] - self.offsets[j];
        let of_row = |row: &[u16]| {
            let mut start = 0;
            let mut sum = 0.0f32;
            for a in 0..width {
                for b in a + 1..width {
                    sum += self.log_factors[start + usize::from(row[a]) * cells(b) + usize::from(row[b])];
                    start += cells(a) * cells(b);
                }
            }
            f64::from(sum)
        };
        log_weights.clear();
        log_weights.extend(offsets.windows(2).map(|unit| {
            let rows = codes[unit[0] as usize * width..unit[1] as usize * width].chunks_exact(width);
            rows.map(of_row).sum::<f64>() / f64::from(unit[1] - unit[0]).max(1.0) - f64::from(self.log_mean)
        }));
    }

    pub(super) fn tensors(&self) -> Vec<Tensor> {
        vec![
            (FACTORS.to_owned(), vec![1, self.log_factors.len()], self.log_factors.clone()),
            (MEAN.to_owned(), vec![1, 1], vec![self.log_mean]),
        ]
    }

    pub(super) fn from_tensors(layout: &Layout, tensors: &[Tensor]) -> Result<Self> {
        let offsets = layout.offsets();
        let cells = pairs(&offsets).last().map_or(0, |pair| pair.cells.end);
        let log_factors = find_tensor(tensors, FACTORS, &[1, cells])?.to_vec();
        Ok(Self { offsets, log_factors, log_mean: find_tensor(tensors, MEAN, &[1, 1])?[0] })
    }
}

/// Units and their weights during the fit.
struct Fit<'a> {
    /// `units + 1` row offsets.
    offsets: &'a [u32],
    columns: Vec<Vec<u16>>,
    log_weights: Vec<f64>,
}

impl Fit<'_> {
    /// Weights that add up to 1.
    fn weights(&self) -> Vec<f64> {
        let largest = self.log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut weights: Vec<f64> = self.log_weights.iter().map(|w| (w - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= total);
        weights
    }

    /// The weighted shares of the cells of a pair; the rows of a unit share its weight.
    fn shares(&self, pair: &Pair, weights: &[f64]) -> Vec<f64> {
        let mut shares = vec![0.0; pair.cells.len()];
        let (a, b) = (&self.columns[pair.a], &self.columns[pair.b]);
        for (weight, unit) in weights.iter().zip(self.offsets.windows(2)) {
            let part = weight / f64::from(unit[1] - unit[0]).max(1.0);
            for r in unit[0] as usize..unit[1] as usize {
                shares[usize::from(a[r]) * pair.stride + usize::from(b[r])] += part;
            }
        }
        shares
    }

    /// Multiplies the units' weights by factors of a pair's cells.
    fn multiply(&mut self, pair: &Pair, log_factors: &[f32]) {
        let (a, b) = (&self.columns[pair.a], &self.columns[pair.b]);
        for (weight, unit) in self.log_weights.iter_mut().zip(self.offsets.windows(2)) {
            let part = 1.0 / f64::from(unit[1] - unit[0]).max(1.0);
            for r in unit[0] as usize..unit[1] as usize {
                *weight += part * f64::from(log_factors[usize::from(a[r]) * pair.stride + usize::from(b[r])]);
            }
        }
    }
}
