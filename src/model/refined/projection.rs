//! Factors that bring rows to released marginals.

use rand_chacha::ChaCha8Rng;

use super::Sampler;
use crate::encode::Layout;
use crate::error::Result;
use crate::model::mixture::toward;
use crate::model::{Measured, Mixture};
use crate::nn::{Tensor, find_tensor};

const FACTORS: &str = "projection.factors";
const MEAN: &str = "projection.mean";

/// Cells of rows that the fit looks at, at most ...
const MOST_CELLS: usize = 4_000_000;
/// ... and units, at most and at least.
const MOST_UNITS: usize = 160_000;
const LEAST_UNITS: usize = 10_000;
/// Times that all marginals are gone through.
const SWEEPS: usize = 8;
/// A factor changes by at most this in one go.
const LARGEST_CHANGE: f64 = 3.0;
/// A cell whose share in the rows is below this is left alone: too few of them to weigh.
const LEAST_SHARE: f64 = 1e-5;

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
    pub(super) fn fit(
        network: &dyn Sampler,
        mixture: &Mixture,
        measured: &Measured,
        rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let offsets = measured.layout.offsets();
        let width = measured.layout.width();
        let units = (MOST_CELLS / width).clamp(LEAST_UNITS, MOST_UNITS);
        let (mut codes, mut rows) = (Vec::new(), Vec::new());
        network.sample(units, rows_column, rng, &mut codes, &mut rows);
        let columns: Vec<Vec<u16>> =
            (0..width).map(|j| codes.iter().skip(j).step_by(width).copied().collect()).collect();
        let pairs = pairs(&offsets);
        let mut fit = Fit { units: UnitRows { offsets: &rows }, columns, log_weights: vec![0.0; units] };
        let mut log_factors = vec![0.0f32; pairs.last().map_or(0, |pair| pair.cells.end)];
        let even = vec![1.0 / units as f64; units];
        let mode = std::env::var("SW_PROJ").unwrap_or("mix".into());
        let soft: f64 = std::env::var("SW_SOFT").ok().and_then(|v| v.parse().ok()).unwrap_or(2.0);
        let part: f64 = std::env::var("SW_PART").ok().and_then(|v| v.parse().ok()).unwrap_or(1.0);
        let tables: std::collections::HashMap<(usize, usize), &crate::model::MeasuredTable> = measured
            .tables
            .iter()
            .filter(|t| t.columns.len() == 2)
            .map(|t| ((t.columns[0], t.columns[1]), t))
            .collect();
        let pseudo: f64 = std::env::var("SW_PS").ok().and_then(|v| v.parse().ok()).unwrap_or(0.0) / units as f64;
        let mut targets: Vec<(&Pair, Vec<f64>)> = Vec::new();
        for pair in &pairs {
            let own = fit.shares(pair, &even);
            let of_mixture = mixture.pair(pair.a, pair.b);
            let wanted: Vec<f64> = if mode == "mix" {
                own.iter()
                    .zip(of_mixture.iter())
                    .map(|(o, &m)| {
                        let difference = f64::from(m) - o;
                        let sampling = soft * (f64::from(m).max(*o) / units as f64).sqrt();
                        o + part * difference.signum() * (difference.abs() - sampling).max(0.0)
                    })
                    .collect()
            } else {
                let Some(table) = tables.get(&(pair.a, pair.b)) else { continue };
                let noise = vec![table.noise_std; own.len()];
                let own: Vec<f32> = own.iter().map(|&s| s as f32).collect();
                toward(&own, &table.shares, &noise).iter().map(|&w| f64::from(w.max(0.0))).collect()
            };
            targets.push((pair, wanted));
        }
        let one_way = mixture.one_way();
        let mut ones: Vec<Vec<f32>> = offsets.windows(2).map(|b| vec![0.0; b[1] - b[0]]).collect();
        for _ in 0..(if mode == "none" { 0 } else { SWEEPS }) {
            for (j, ones) in ones.iter_mut().enumerate() {
                if mode == "mix" {
                    break;
                }
                let weights = fit.weights();
                let mut now = vec![0.0; ones.len()];
                fit.column_shares(j, &weights, &mut now);
                let change: Vec<f32> = now
                    .iter()
                    .zip(&one_way[offsets[j]..])
                    .map(|(&now, &wanted)| {
                        if now < LEAST_SHARE {
                            0.0
                        } else {
                            (f64::from(wanted) / now).clamp(1.0 / LARGEST_CHANGE, LARGEST_CHANGE).ln() as f32
                        }
                    })
                    .collect();
                ones.iter_mut().zip(&change).for_each(|(o, c)| *o += c);
                // folded into the pair with the next column
                let pair = pairs.iter().find(|p| p.a == j || p.b == j).unwrap();
                let spread: Vec<f32> = pair
                    .cells
                    .clone()
                    .enumerate()
                    .map(|(i, _)| change[if pair.a == j { i / pair.stride } else { i % pair.stride }])
                    .collect();
                log_factors[pair.cells.clone()].iter_mut().zip(&spread).for_each(|(f, c)| *f += c);
                fit.multiply(pair, &spread);
            }
            for (pair, wanted) in &targets {
                let weights = fit.weights();
                let now = fit.shares(pair, &weights);
                let change: Vec<f32> = now
                    .iter()
                    .zip(wanted)
                    .map(|(&now, &wanted)| {
                        if now < LEAST_SHARE {
                            0.0
                        } else {
                            ((wanted + pseudo) / (now + pseudo)).clamp(1.0 / LARGEST_CHANGE, LARGEST_CHANGE).ln() as f32
                        }
                    })
                    .collect();
                log_factors[pair.cells.clone()].iter_mut().zip(&change).for_each(|(f, c)| *f += c);
                fit.multiply(pair, &change);
            }
        }
        if std::env::var("SW_VERBOSE").is_ok() {
            let shares = inclusion_stats(&fit.log_weights);
            let tv = |f: &Fit, w: &[f64]| {
                pairs
                    .iter()
                    .map(|p| {
                        f.shares(p, w)
                            .iter()
                            .zip(mixture.pair(p.a, p.b).iter())
                            .map(|(o, m)| (o - f64::from(*m)).abs())
                            .sum::<f64>()
                            / 2.0
                    })
                    .sum::<f64>()
                    / pairs.len() as f64
            };
            let before = tv(&fit, &even);
            let after = tv(&fit, &fit.weights());
            let (mut c2, mut r2) = (Vec::new(), Vec::new());
            network.sample(units, rows_column, rng, &mut c2, &mut r2);
            let cols: Vec<Vec<u16>> = (0..width).map(|j| c2.iter().skip(j).step_by(width).copied().collect()).collect();
            let largest = fit.log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mean = fit.log_weights.iter().map(|w| (w - largest).exp()).sum::<f64>() / units as f64;
            let me = Self {
                offsets: offsets.clone(),
                log_factors: log_factors.clone(),
                log_mean: (largest + mean.ln()) as f32,
            };
            let mut lw = Vec::new();
            me.log_weights(&c2, &r2, &mut lw);
            let f2 = Fit { units: UnitRows { offsets: &r2 }, columns: cols, log_weights: lw };
            let fresh = tv(&f2, &f2.weights());
            use crate::model::Generator;
            mixture.generate(units, rows_column, None, rng, &mut c2, &mut r2);
            let cols: Vec<Vec<u16>> = (0..width).map(|j| c2.iter().skip(j).step_by(width).copied().collect()).collect();
            let f3 = Fit { units: UnitRows { offsets: &r2 }, columns: cols, log_weights: vec![] };
            eprintln!(
                "projection: ess {:.3} kept4 {:.3} tv before {before:.4} after {after:.4} fresh {fresh:.4} floor {:.4} units {units} cells {}",
                shares.0,
                shares.1,
                tv(&f3, &even),
                mixture.width()
            );
        }
        let largest = fit.log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = fit.log_weights.iter().map(|w| (w - largest).exp()).sum::<f64>() / units as f64;
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
    units: UnitRows<'a>,
    columns: Vec<Vec<u16>>,
    log_weights: Vec<f64>,
}

struct UnitRows<'a> {
    offsets: &'a [u32],
}

fn inclusion_stats(l: &[f64]) -> (f64, f64) {
    let m = l.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let w: Vec<f64> = l.iter().map(|x| (x - m).exp()).collect();
    let s: f64 = w.iter().sum();
    let q: f64 = w.iter().map(|x| x * x).sum();
    let n = w.len() as f64;
    (s * s / q / n, w.iter().map(|x| (x / s * n).min(4.0)).sum::<f64>() / n)
}

impl Fit<'_> {
    fn column_shares(&self, j: usize, weights: &[f64], shares: &mut [f64]) {
        for (weight, unit) in weights.iter().zip(self.units.offsets.windows(2)) {
            let part = weight / f64::from(unit[1] - unit[0]).max(1.0);
            for r in unit[0] as usize..unit[1] as usize {
                shares[usize::from(self.columns[j][r])] += part;
            }
        }
    }

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
        for (weight, unit) in weights.iter().zip(self.units.offsets.windows(2)) {
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
        for (weight, unit) in self.log_weights.iter_mut().zip(self.units.offsets.windows(2)) {
            let part = 1.0 / f64::from(unit[1] - unit[0]).max(1.0);
            for r in unit[0] as usize..unit[1] as usize {
                *weight += part * f64::from(log_factors[usize::from(a[r]) * pair.stride + usize::from(b[r])]);
            }
        }
    }
}
