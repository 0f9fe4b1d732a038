//! Clipped sums of per-unit gradients, without the per-unit gradients.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::dense::Dense;
use super::embedding::Embedding;
use super::gemm::gemm;
use super::matrix::Matrix;
use super::simd::{row_pair_products, row_squared_norms, squared_norm, vectorised};

/// Rows of a tile: a forward and a backward pass of these stay in the cache. A unit is never split, so a unit with
/// more rows is a tile of its own.
const TILE_ROWS: usize = 256;

/// A lane sums its tiles one after the other, on one thread, into one partial sum. The number of lanes is a function
/// of the batch alone, which makes the result independent of the number of threads.
const MAX_LANES: usize = 16;

/// What a multiplication of a Gram matrix (`f64`, short vectors) costs in those of a matrix product, measured.
const GRAM_COST: usize = 8;

/// What one layer leaves behind after forward and backward: all that its per-unit norms and its clipped sum need.
///
/// Every layer of a network shows up once; a layer used several times a row shows the uses as further rows. A layer that
/// does not see every row of the tile says where the rows that it sees of each unit are: `units` are their offsets.
pub enum Trace<'a> {
    Dense { layer: &'a Dense, input: &'a mut Matrix, gradient: &'a mut Matrix, units: Option<&'a [usize]> },
    Embedding { layer: &'a Embedding, codes: &'a [u16], gradient: &'a mut Matrix, units: Option<&'a [usize]> },
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

/// Memory of [`clipped_sum`] and [`plain_sum`], reused from step to step: once the largest batch has been seen,
/// nothing is allocated any more.
#[derive(Default)]
pub struct Workspace<B> {
    tiles: Vec<Range<usize>>,
    /// One a thread, so that a thread works in memory that its cache still holds. Never contended.
    desks: Vec<Mutex<Desk<B>>>,
    /// One partial sum a lane.
    sums: Vec<Vec<f32>>,
}

/// What a thread needs for a tile.
#[derive(Default)]
struct Desk<B> {
    buffers: B,
    /// `units + 1` row offsets of the tile's units.
    offsets: Vec<usize>,
    squared_norms: Vec<f64>,
    coefficients: Vec<f32>,
    scratch: Scratch,
}

/// Room for the norms of one layer.
#[derive(Default)]
struct Scratch {
    matrix: Matrix,
    /// Inner products of rows, of inputs and of gradients.
    inputs: Vec<f64>,
    gradients: Vec<f64>,
    sum: Vec<f64>,
    order: Vec<usize>,
}

/// The sum over `units` of `c(|g_u|^2) g_u`, where `g_u` is the gradient, over **all** parameters, of the loss summed
/// over the rows of `u`, and `c` is `coefficient`. It comes in parts, to be added in their order.
///
/// Squared norms are accumulated in `f64`. A unit whose norm is not finite is dropped, whatever `coefficient`
/// says of it. The parts have the same bits at any number of threads.
///
/// # Shapes
/// `parameters` and each part hold all parameters; `units` may be empty (no parts) and may be of any size.
///
/// # Privacy
/// Touches sensitive data, releases nothing: the sum has sensitivity `max c(n^2) n` to one unit, up to `f32` rounding.
pub fn clipped_sum<'w, N: Network>(
    network: &N,
    parameters: &[f32],
    units: &[u32],
    coefficient: &(dyn Fn(f64) -> f32 + Sync),
    workspace: &'w mut Workspace<N::Buffers>,
) -> &'w [Vec<f32>] {
    sum(network, parameters, units, Some(coefficient), workspace)
}

/// As [`clipped_sum`] with every coefficient 1 and no norm computed: ordinary training, for rows that nobody has to
/// be protected from.
///
/// # Privacy
/// One unit can move the sum without bound: not for sensitive data.
pub fn plain_sum<'w, N: Network>(
    network: &N,
    parameters: &[f32],
    units: &[u32],
    workspace: &'w mut Workspace<N::Buffers>,
) -> &'w [Vec<f32>] {
    sum(network, parameters, units, None, workspace)
}

/// What turns a squared norm into a coefficient; none for a plain sum.
type Coefficient<'a> = Option<&'a (dyn Fn(f64) -> f32 + Sync)>;

fn sum<'w, N: Network>(
    network: &N,
    parameters: &[f32],
    units: &[u32],
    coefficient: Coefficient<'_>,
    workspace: &'w mut Workspace<N::Buffers>,
) -> &'w [Vec<f32>] {
    let Workspace { tiles, desks, sums } = workspace;
    cut(network, units, tiles);
    let lanes = tiles.len().min(MAX_LANES);
    desks.resize_with(rayon::current_num_threads().max(desks.len()), Mutex::default);
    sums.resize_with(lanes.max(sums.len()), Vec::new);
    let sums = &mut sums[..lanes];
    sums.par_iter_mut().enumerate().for_each(|(lane, sum)| {
        sum.resize(parameters.len(), 0.0);
        let desk = &desks[rayon::current_thread_index().unwrap_or(0)];
        // What a panic left behind is overwritten like everything else.
        let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
        let tiles = &tiles[lane * tiles.len() / lanes..(lane + 1) * tiles.len() / lanes];
        for (i, tile) in tiles.iter().enumerate() {
            desk.add(network, parameters, &units[tile.clone()], coefficient, i == 0, sum);
        }
    });
    sums
}

/// Cuts the batch into tiles of whole units, of about the same number of rows.
fn cut<N: Network>(network: &N, units: &[u32], tiles: &mut Vec<Range<usize>>) {
    tiles.clear();
    let total: usize = units.iter().map(|&unit| network.rows(unit)).sum();
    let aim = total.div_ceil(total.div_ceil(TILE_ROWS).max(1));
    let (mut start, mut rows) = (0, 0);
    for (i, &unit) in units.iter().enumerate() {
        let more = network.rows(unit);
        if rows > 0 && rows + more > aim {
            tiles.push(start..i);
            (start, rows) = (i, 0);
        }
        rows += more;
    }
    if start < units.len() {
        tiles.push(start..units.len());
    }
}

impl<B> Desk<B> {
    /// Adds a tile to `sum`, or, when it is the `first`, puts it there.
    fn add<N: Network<Buffers = B>>(
        &mut self,
        network: &N,
        parameters: &[f32],
        units: &[u32],
        coefficient: Coefficient<'_>,
        first: bool,
        sum: &mut [f32],
    ) {
        let Self { buffers, offsets, squared_norms, coefficients, scratch } = self;
        offsets.clear();
        offsets.push(0);
        for &unit in units {
            offsets.push(offsets[offsets.len() - 1] + network.rows(unit));
        }
        if offsets[units.len()] == 0 {
            if first {
                sum.fill(0.0);
            }
            return;
        }
        network.backpropagate(parameters, units, buffers);
        if let Some(coefficient) = coefficient {
            squared_norms.clear();
            squared_norms.resize(units.len(), 0.0);
            network.traces(buffers, &mut |trace| {
                trace.add_squared_norms(trace.units().unwrap_or(offsets), squared_norms, scratch);
            });
            coefficients.clear();
            let drop_unusable = |&n: &f64| if n.is_finite() { coefficient(n) } else { 0.0 };
            coefficients.extend(squared_norms.iter().map(drop_unusable));
            network.traces(buffers, &mut |trace| {
                let units = trace.units().unwrap_or(offsets);
                trace.scale(units, coefficients);
            });
        }
        network.traces(buffers, &mut |trace| trace.add_sum(first, sum));
    }
}

/// Adds up, in their order, the stretches of `parts` that start at `start`: what the parts of a sum say of the
/// parameters `start..start + out.len()`.
pub fn add_parts(parts: &[Vec<f32>], start: usize, out: &mut [f32]) {
    let Some((first, rest)) = parts.split_first() else { return out.fill(0.0) };
    let stretch = start..start + out.len();
    out.copy_from_slice(&first[stretch.clone()]);
    for part in rest {
        vectorised(|| out.iter_mut().zip(&part[stretch.clone()]).for_each(|(o, p)| *o += p));
    }
}

impl<'a> Trace<'a> {
    fn units(&self) -> Option<&'a [usize]> {
        match self {
            Self::Dense { units, .. } | Self::Embedding { units, .. } => *units,
        }
    }

    /// Adds this layer's part of the squared norm of each unit's gradient.
    fn add_squared_norms(&self, offsets: &[usize], norms: &mut [f64], scratch: &mut Scratch) {
        if offsets.len() == offsets[offsets.len() - 1] + 1 && offsets.windows(2).all(|unit| unit[1] == unit[0] + 1) {
            return self.add_row_squared_norms(norms, scratch);
        }
        for (norm, unit) in norms.iter_mut().zip(offsets.windows(2)) {
            if unit[1] > unit[0] {
                let part = self.unit_squared_norm(unit[0]..unit[1], scratch);
                // Rounding can leave a Gram sum just below zero; NaN must stay NaN.
                *norm += if part < 0.0 { 0.0 } else { part };
            }
        }
    }

    /// Every unit has one row: `|g|^2 (|a|^2 + 1)`.
    fn add_row_squared_norms(&self, norms: &mut [f64], scratch: &mut Scratch) {
        let squares = |matrix: &Matrix, out: &mut Vec<f64>| {
            out.resize(norms.len(), 0.0);
            row_squared_norms(matrix.values(), matrix.columns(), out);
        };
        match self {
            Self::Dense { input, gradient, .. } => {
                squares(input, &mut scratch.inputs);
                squares(gradient, &mut scratch.gradients);
                let squares = scratch.inputs.iter().zip(&scratch.gradients);
                norms.iter_mut().zip(squares).for_each(|(norm, (a, g))| *norm += g * (a + 1.0));
            }
            Self::Embedding { layer, gradient, .. } => {
                squares(gradient, &mut scratch.gradients);
                let hits = layer.width() as f64 + 1.0;
                norms.iter_mut().zip(&scratch.gradients).for_each(|(norm, g)| *norm += g * hits);
            }
        }
    }

    fn unit_squared_norm(&self, rows: Range<usize>, scratch: &mut Scratch) -> f64 {
        let n = rows.len();
        match self {
            Self::Dense { layer, input, gradient, .. } => {
                let (i, o) = (layer.inputs(), layer.outputs());
                // Gram: n (n + 1) / 2 pairs of i + o terms. Materialised: n i o terms and a pass over i o.
                if GRAM_COST * n * (n + 1) / 2 * (i + o) <= (n + 1) * i * o {
                    row_pair_products(input.rows_of(rows.clone()), i, &mut scratch.sum, &mut scratch.inputs);
                    gram(rows, gradient, scratch)
                } else {
                    dense_by_materialising(input, gradient, rows, scratch)
                }
            }
            Self::Embedding { layer, codes, gradient, .. } => {
                let (w, o) = (layer.width(), layer.outputs());
                if n.div_ceil(2) * (w + o) <= w * o {
                    let row = |r: usize| &codes[r * w..(r + 1) * w];
                    scratch.inputs.clear();
                    for s in rows.clone() {
                        let alike = |t| row(s).iter().zip(row(t)).filter(|(a, b)| a == b).count() as f64;
                        scratch.inputs.extend((rows.start..=s).map(alike));
                    }
                    gram(rows, gradient, scratch)
                } else {
                    embedding_by_cell(codes, w, gradient, rows, scratch)
                }
            }
        }
    }

    /// Multiplies the gradients of each unit by its coefficient.
    fn scale(self, offsets: &[usize], coefficients: &[f32]) {
        let (mut input, gradient) = match self {
            Self::Dense { input, gradient, .. } => (Some(input), gradient),
            Self::Embedding { gradient, .. } => (None, gradient),
        };
        for (&c, unit) in coefficients.iter().zip(offsets.windows(2)) {
            let g = gradient.rows_of_mut(unit[0]..unit[1]);
            if c != 0.0 {
                vectorised(|| g.iter_mut().for_each(|g| *g *= c));
                continue;
            }
            // A dropped unit may hold infinities, and 0 times infinity is not 0.
            g.fill(0.0);
            if let Some(input) = &mut input {
                input.rows_of_mut(unit[0]..unit[1]).fill(0.0);
            }
        }
    }

    /// Adds the sum over the rows of this layer's gradients to `out`, or puts it there when it is the `first`.
    fn add_sum(self, first: bool, out: &mut [f32]) {
        match self {
            Self::Dense { layer, input, gradient, .. } => layer.accumulate(input.view(), gradient, first, out),
            Self::Embedding { layer, codes, gradient, .. } => layer.accumulate(codes, gradient, first, out),
        }
    }
}

/// `sum_{s,t} (g_s.g_t)(a_s.a_t + 1)`: the products of the inputs, `s >= t`, are in `scratch.inputs`, and the 1 is the
/// bias.
fn gram(rows: Range<usize>, gradient: &Matrix, scratch: &mut Scratch) -> f64 {
    let Scratch { inputs, gradients, sum, .. } = scratch;
    row_pair_products(gradient.rows_of(rows.clone()), gradient.columns(), sum, gradients);
    let mut pairs = inputs.iter().zip(gradients.iter()).map(|(a, g)| g * (a + 1.0));
    (0..rows.len()).fold(0.0, |sum, s| {
        let below: f64 = pairs.by_ref().take(s).sum();
        sum + 2.0 * below + pairs.next().unwrap_or(0.0)
    })
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
