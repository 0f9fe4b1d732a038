//! Clipped sums of per-unit gradients, without the per-unit gradients.

use std::ops::Range;

use rayon::prelude::*;

use super::dense::Dense;
use super::embedding::Embedding;
use super::gemm::gemm;
use super::matrix::Matrix;
use super::simd::{dot, squared_norm};

/// Rows of a tile: a forward and a backward pass of these stay in the cache. A unit is never split, so a unit with
/// more rows is a tile of its own.
const TILE_ROWS: usize = 256;

/// A lane sums its tiles one after the other; lanes are then summed in order. Their number is a function of the
/// batch alone, which makes the result independent of the number of threads.
const MAX_LANES: usize = 16;

/// What a multiplication of a Gram matrix (`f64`, short vectors) costs in those of a matrix product, measured.
const GRAM_COST: usize = 8;

/// What one layer leaves behind after forward and backward: all that its per-unit norms and its clipped sum need.
///
/// Every layer of a network shows up once; a layer used several times a row shows the uses as further rows.
pub enum Trace<'a> {
    Dense { layer: &'a Dense, input: &'a mut Matrix, gradient: &'a mut Matrix },
    Embedding { layer: &'a Embedding, codes: &'a [u16], gradient: &'a mut Matrix },
}

/// A loss that is a sum over privacy units, each with its own rows.
pub trait Network: Sync {
    /// Activations and gradients of a tile, reused from tile to tile.
    type Buffers: Default + Send + Sync;

    /// Number of rows of a unit.
    fn rows(&self, unit: u32) -> usize;

    /// Forward and backward through the rows of `units`, one unit after the other: the loss of a unit is summed,
    /// not averaged, over its rows, and touches no other unit.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    fn backpropagate(&self, parameters: &[f32], units: &[u32], buffers: &mut Self::Buffers);

    /// Shows what each layer left behind, every layer once.
    fn traces(&self, buffers: &mut Self::Buffers, visit: &mut dyn FnMut(Trace<'_>));
}

/// Memory of [`clipped_sum`], reused from step to step.
#[derive(Default)]
pub struct Workspace<B> {
    tiles: Vec<Range<usize>>,
    lanes: Vec<Lane<B>>,
}

#[derive(Default)]
struct Lane<B> {
    sum: Vec<f32>,
    buffers: B,
    /// `units + 1` row offsets of the tile's units.
    offsets: Vec<usize>,
    squared_norms: Vec<f64>,
    coefficients: Vec<f32>,
    scratch: Scratch,
}

/// Room for one unit's gradient in one layer.
#[derive(Default)]
struct Scratch {
    matrix: Matrix,
    sum: Vec<f64>,
    order: Vec<usize>,
}

/// Writes `sum over units u of c(|g_u|^2) g_u` to `out`, where `g_u` is the gradient, over **all** parameters, of
/// the loss summed over the rows of `u`, and `c` is `coefficient`.
///
/// Squared norms are accumulated in `f64`. A unit whose norm is not finite is dropped, whatever `coefficient`
/// says of it. The result has the same bits at any number of threads.
///
/// # Shapes
/// `parameters` and `out` hold all parameters; `units` may be empty and may be of any size.
///
/// # Privacy
/// Touches sensitive data, releases nothing: `out` has sensitivity `max c(n^2) n` to one unit, up to `f32` rounding.
pub fn clipped_sum<N: Network>(
    network: &N,
    parameters: &[f32],
    units: &[u32],
    coefficient: &(dyn Fn(f64) -> f32 + Sync),
    workspace: &mut Workspace<N::Buffers>,
    out: &mut [f32],
) {
    assert_eq!(parameters.len(), out.len(), "one gradient entry a parameter");
    let Workspace { tiles, lanes } = workspace;
    cut(network, units, tiles);
    let count = (tiles.len() / 2).clamp(1, MAX_LANES);
    lanes.resize_with(count.max(lanes.len()), Lane::default);
    let lanes = &mut lanes[..count];
    lanes.par_iter_mut().enumerate().for_each(|(l, lane)| {
        lane.sum.clear();
        lane.sum.resize(out.len(), 0.0);
        for tile in &tiles[l * tiles.len() / count..(l + 1) * tiles.len() / count] {
            lane.add(network, parameters, &units[tile.clone()], coefficient);
        }
    });
    const CHUNK: usize = 8192;
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(i, out)| {
        out.copy_from_slice(&lanes[0].sum[i * CHUNK..i * CHUNK + out.len()]);
        for lane in &lanes[1..] {
            out.iter_mut().zip(&lane.sum[i * CHUNK..]).for_each(|(o, s)| *o += s);
        }
    });
}

/// Cuts the batch into tiles of whole units.
fn cut<N: Network>(network: &N, units: &[u32], tiles: &mut Vec<Range<usize>>) {
    tiles.clear();
    let (mut start, mut rows) = (0, 0);
    for (i, &unit) in units.iter().enumerate() {
        let more = network.rows(unit);
        if rows + more > TILE_ROWS && i > start {
            tiles.push(start..i);
            (start, rows) = (i, 0);
        }
        rows += more;
    }
    if start < units.len() {
        tiles.push(start..units.len());
    }
}

impl<B> Lane<B> {
    fn add<N: Network<Buffers = B>>(
        &mut self,
        network: &N,
        parameters: &[f32],
        units: &[u32],
        coefficient: &dyn Fn(f64) -> f32,
    ) {
        let Self { sum, buffers, offsets, squared_norms, coefficients, scratch } = self;
        offsets.clear();
        offsets.push(0);
        for &unit in units {
            offsets.push(offsets[offsets.len() - 1] + network.rows(unit));
        }
        if offsets[units.len()] == 0 {
            return;
        }
        network.backpropagate(parameters, units, buffers);
        squared_norms.clear();
        squared_norms.resize(units.len(), 0.0);
        network.traces(buffers, &mut |trace| trace.add_squared_norms(offsets, squared_norms, scratch));
        coefficients.clear();
        let drop_unusable = |&n: &f64| if n.is_finite() { coefficient(n) } else { 0.0 };
        coefficients.extend(squared_norms.iter().map(drop_unusable));
        network.traces(buffers, &mut |trace| trace.add_weighted_sum(offsets, coefficients, sum));
    }
}

impl Trace<'_> {
    /// Adds this layer's part of the squared norm of each unit's gradient.
    fn add_squared_norms(&self, offsets: &[usize], norms: &mut [f64], scratch: &mut Scratch) {
        for (norm, unit) in norms.iter_mut().zip(offsets.windows(2)) {
            let rows = unit[0]..unit[1];
            let part = match (self, rows.len()) {
                (_, 0) => 0.0,
                (Self::Dense { input, gradient, .. }, 1) => {
                    squared_norm(gradient.row(rows.start)) * (squared_norm(input.row(rows.start)) + 1.0)
                }
                (Self::Embedding { layer, gradient, .. }, 1) => {
                    squared_norm(gradient.row(rows.start)) * (layer.width() as f64 + 1.0)
                }
                (Self::Dense { layer, input, gradient }, n) => {
                    let (i, o) = (layer.inputs(), layer.outputs());
                    // Gram: n (n + 1) / 2 pairs of i + o terms. Materialised: n i o terms and a pass over i o.
                    if GRAM_COST * n * (n + 1) / 2 * (i + o) <= (n + 1) * i * o {
                        gram(rows, gradient, |s, t| dot(input.row(s), input.row(t)))
                    } else {
                        dense_by_materialising(input, gradient, rows, scratch)
                    }
                }
                (Self::Embedding { layer, codes, gradient }, n) => {
                    let (w, o) = (layer.width(), layer.outputs());
                    let row = |r: usize| &codes[r * w..(r + 1) * w];
                    if n.div_ceil(2) * (w + o) <= w * o {
                        gram(rows, gradient, |s, t| row(s).iter().zip(row(t)).filter(|(a, b)| a == b).count() as f64)
                    } else {
                        embedding_by_cell(codes, w, gradient, rows, scratch)
                    }
                }
            };
            // Rounding can leave a Gram sum just below zero; NaN must stay NaN.
            *norm += if part < 0.0 { 0.0 } else { part };
        }
    }

    /// Adds `sum over units c_u g_u` of this layer's parameters to `out`. Spoils the rows it has used.
    fn add_weighted_sum(self, offsets: &[usize], coefficients: &[f32], out: &mut [f32]) {
        let units = coefficients.iter().zip(offsets.windows(2));
        match self {
            Self::Dense { layer, input, gradient } => {
                for (&c, unit) in units {
                    for r in unit[0]..unit[1] {
                        if c == 0.0 {
                            // A dropped unit may hold infinities, and 0 times infinity is not 0.
                            input.row_mut(r).fill(0.0);
                            gradient.row_mut(r).fill(0.0);
                        } else if c != 1.0 {
                            gradient.row_mut(r).iter_mut().for_each(|g| *g *= c);
                        }
                    }
                }
                layer.accumulate(input.view(), gradient.view(), out);
            }
            Self::Embedding { layer, codes, gradient } => {
                let used = units.filter(|(c, _)| **c != 0.0);
                for (&c, unit) in used {
                    for r in unit[0]..unit[1] {
                        let g = gradient.row_mut(r);
                        g.iter_mut().for_each(|g| *g *= c);
                        layer.accumulate(&codes[r * layer.width()..(r + 1) * layer.width()], g, out);
                    }
                }
            }
        }
    }
}

/// `sum_{s,t} (g_s.g_t)(alike(s, t) + 1)`, where `alike` is the inner product of the inputs and the 1 is the bias.
fn gram(rows: Range<usize>, gradient: &Matrix, alike: impl Fn(usize, usize) -> f64) -> f64 {
    let mut sum = 0.0;
    for s in rows.clone() {
        for t in rows.start..=s {
            let twice = if s == t { 1.0 } else { 2.0 };
            sum += twice * dot(gradient.row(s), gradient.row(t)) * (alike(s, t) + 1.0);
        }
    }
    sum
}

/// Forms the unit's weight gradient `A^T G` and measures it.
fn dense_by_materialising(input: &Matrix, gradient: &Matrix, rows: Range<usize>, scratch: &mut Scratch) -> f64 {
    let part = ndarray::s![rows.clone(), ..];
    scratch.matrix.reshape(input.columns(), gradient.columns());
    gemm(input.view().slice(part).t(), gradient.view().slice(part), 0.0, scratch.matrix.view_mut());
    squared_norm(scratch.matrix.values()) + summed_squared_norm(rows, gradient, &mut scratch.sum)
}

/// Sums, column by column, the gradients that hit the same cell, and measures each sum.
fn embedding_by_cell(codes: &[u16], width: usize, gradient: &Matrix, rows: Range<usize>, scratch: &mut Scratch) -> f64 {
    let Scratch { sum, order, .. } = scratch;
    let mut norm = summed_squared_norm(rows.clone(), gradient, sum);
    for column in 0..width {
        let code = |r: usize| codes[r * width + column];
        order.clear();
        order.extend(rows.clone());
        order.sort_unstable_by_key(|&r| (code(r), r));
        for hits in order.chunk_by(|&r, &s| code(r) == code(s)) {
            norm += summed_squared_norm(hits.iter().copied(), gradient, sum);
        }
    }
    norm
}

/// Squared norm of the sum of some rows.
fn summed_squared_norm(rows: impl Iterator<Item = usize>, gradient: &Matrix, sum: &mut Vec<f64>) -> f64 {
    sum.clear();
    sum.resize(gradient.columns(), 0.0);
    for r in rows {
        sum.iter_mut().zip(gradient.row(r)).for_each(|(s, &g)| *s += f64::from(g));
    }
    sum.iter().map(|s| s * s).sum()
}

#[cfg(test)]
#[path = "per_unit_tests.rs"]
mod tests;
