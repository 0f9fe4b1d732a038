//! Clipped sums of per-unit gradients, without the per-unit gradients.
//!
//! # What a sum is made of
//! The mechanism that adds the noise proves how far one unit can move it, and asks of a unit's gradient for few terms, each of
//! them and their sum at most as long as the clipping norm, and rounded few times (`synthward_privacy`,
//! `mechanism::subsampled_gaussian`). Rows that cancel are what stands in the way: their sum may be small and they may not.
//!
//! - A unit of at most [`MOST_ROWS`] rows gives a term a row: what the row adds to each layer. It is clipped by the norm of its
//!   gradient or by that of its longest row, whichever is larger. The norm of a gradient comes from Gram products in `f64`, whose
//!   error is relative to the squared *sum* of the rows' norms: at most 32^2 times the square of the longest, times 2^-35. Of the
//!   larger of the two norms it is below 2^-25.
//! - A unit with more rows gives one term: its whole gradient is formed by itself, by the same products, and then measured and
//!   scaled. What rounding did to it before does not matter, since it did so to nobody else.
//!
//! Scaling rounds each number of a row's output gradient once, by 2^-24 of it, and so the sum of 32 rows by at most 2^-19 of
//! the longest. A row with an input beyond 2^50 has no usable norm: scaling it might leave the range of single precision.
//!
//! # How a sum is rounded
//! Units come in the order of their terms, those with most first and those that are summed by themselves last. Each kernel adds
//! in this order: [`gemm`] runs through the rows one by one in each entry, and so do biases and embeddings. A product is
//! rounded once, or not at all where the processor fuses it, each addition once; the sums of two tiles are added once more.
//!
//! A layer that sees some rows of a unit alone, as in a trajectory, adds its i-th row where others add theirs: the i-th term is
//! what all layers add then.
//!
//! What a row leaves behind does not depend on the rows that share its tile, to the last bit: products are made by [`gemm`] and
//! everything else row by row. Tests hold that against each row alone.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::dense::Dense;
use super::embedding::Embedding;
use super::matrix::Matrix;
use super::simd::{row_pair_products, row_squared_norms, squared_norm, vectorised};

/// Rows of a tile: a forward and a backward pass of these stay in the cache.
pub(super) const TILE_ROWS: usize = 320;

/// A unit with more rows is summed by itself: its Gram matrices would cost more than its gradient.
pub const MOST_ROWS: usize = 32;

/// Sums of a batch that is summed as a whole, at most. Their number is a function of the batch alone, which makes the result
/// independent of the number of threads.
const MOST_LANES: usize = 16;

/// Largest squared norm of a row's input that can be used.
const LARGEST_INPUT: f64 = (1u128 << 100) as f64;

/// Terms that a unit of so many rows gives to a sum.
pub fn terms(rows: usize) -> usize {
    if rows > MOST_ROWS { 1 } else { rows }
}

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

/// Memory of the sums of this module, reused from step to step: once the largest tile has been seen, nothing is allocated
/// any more.
#[derive(Default)]
pub struct Workspace<B> {
    /// One a thread, so that a thread works in memory that its cache still holds. Never contended.
    desks: Vec<Mutex<Desk<B>>>,
    lanes: Vec<Range<usize>>,
    /// One partial sum a lane.
    sums: Vec<Vec<f32>>,
}

/// What a thread needs for a tile.
#[derive(Default)]
struct Desk<B> {
    buffers: B,
    /// The units that are summed row by row.
    units: Vec<u32>,
    /// `units + 1` row offsets of the tile's units.
    offsets: Vec<usize>,
    squared_norms: Vec<f64>,
    /// Of each row alone.
    of_rows: Vec<f64>,
    coefficients: Vec<f32>,
    /// The gradient of a unit that is summed by itself.
    own: Vec<f32>,
    scratch: Scratch,
}

/// Room for the norms of one layer.
#[derive(Default)]
struct Scratch {
    /// Inner products of rows, of inputs and of gradients.
    inputs: Vec<f64>,
    gradients: Vec<f64>,
    sum: Vec<f64>,
    order: Vec<usize>,
}

/// Puts into each of `sums` the sum, over the units of the leaf of the same number, of `c(q_u) g_u`: `g_u` is the gradient,
/// over **all** parameters, of the loss summed over the rows of `u`, `c` is `coefficient`, and `q_u` is `|g_u|^2`, or that of
/// the unit's longest row where it is larger and the unit has at most [`MOST_ROWS`] rows.
///
/// Squared norms are accumulated in `f64`. A unit whose norm is not finite is dropped, whatever `coefficient` says of it. A
/// sum is a function of its leaf alone, and has the same bits at any number of threads.
///
/// # Shapes
/// `parameters` and each sum hold all parameters; a leaf may be empty and may be of any size.
///
/// # Privacy
/// Touches sensitive data, releases nothing: each term of a sum is at most `max c(n^2) n` long. See the module's page.
pub fn clipped_sums<'u, N: Network>(
    network: &N,
    parameters: &[f32],
    leaf: impl Fn(usize) -> &'u [u32] + Sync,
    coefficient: &(dyn Fn(f64) -> f32 + Sync),
    workspace: &mut Workspace<N::Buffers>,
    sums: &mut [Vec<f32>],
) {
    sum_leaves(network, parameters, leaf, Some(coefficient), &mut workspace.desks, sums);
}

/// As [`clipped_sums`], of a batch that is summed as a whole: in parts, to be added in their order.
///
/// # Privacy
/// One unit more may change how everything is rounded: not for what is released under noise.
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
    let Workspace { desks, lanes, sums } = workspace;
    cut(network, units, lanes);
    sums.resize_with(lanes.len().max(sums.len()), Vec::new);
    let sums = &mut sums[..lanes.len()];
    sum_leaves(network, parameters, |lane: usize| &units[lanes[lane].clone()], coefficient, desks, sums);
    sums
}

/// Cuts a batch into lanes of about as many rows each.
fn cut<N: Network>(network: &N, units: &[u32], lanes: &mut Vec<Range<usize>>) {
    lanes.clear();
    let total: usize = units.iter().map(|&unit| network.rows(unit)).sum();
    let aim = total.div_ceil(total.div_ceil(TILE_ROWS).clamp(1, MOST_LANES));
    let (mut start, mut rows) = (0, 0);
    for (i, &unit) in units.iter().enumerate() {
        let more = network.rows(unit);
        if rows > 0 && rows + more > aim && lanes.len() + 1 < MOST_LANES {
            lanes.push(start..i);
            (start, rows) = (i, 0);
        }
        rows += more;
    }
    if start < units.len() {
        lanes.push(start..units.len());
    }
}

fn sum_leaves<'u, N: Network>(
    network: &N,
    parameters: &[f32],
    leaf: impl Fn(usize) -> &'u [u32] + Sync,
    coefficient: Coefficient<'_>,
    desks: &mut Vec<Mutex<Desk<N::Buffers>>>,
    sums: &mut [Vec<f32>],
) {
    desks.resize_with(rayon::current_num_threads().max(desks.len()), Mutex::default);
    sums.par_iter_mut().enumerate().for_each(|(number, sum)| {
        sum.resize(parameters.len(), 0.0);
        let desk = &desks[rayon::current_thread_index().unwrap_or(0)];
        // What a panic left behind is overwritten like everything else.
        let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.sum(network, parameters, leaf(number), coefficient, sum);
    });
}

impl<B> Desk<B> {
    /// Puts the sum over some units there.
    fn sum<N: Network<Buffers = B>>(
        &mut self,
        network: &N,
        parameters: &[f32],
        units: &[u32],
        coefficient: Coefficient<'_>,
        sum: &mut [f32],
    ) {
        let by_rows = |&unit: &u32| coefficient.is_none() || network.rows(unit) <= MOST_ROWS;
        let mut own = std::mem::take(&mut self.units);
        own.clear();
        own.extend(units.iter().copied().filter(by_rows));
        own.sort_unstable_by_key(|&unit| (Reverse(network.rows(unit)), unit));
        let total: usize = own.iter().map(|&unit| network.rows(unit)).sum();
        let aim = total.div_ceil(total.div_ceil(TILE_ROWS).max(1)).next_multiple_of(MOST_ROWS).min(TILE_ROWS);
        let (mut start, mut rows, mut is_first) = (0, 0, true);
        for end in 0..=own.len() {
            let more = own.get(end).map(|&unit| network.rows(unit));
            if rows > 0 && more.is_none_or(|more| rows + more > aim) {
                self.add_tile(network, parameters, &own[start..end], coefficient, is_first, sum);
                (start, rows, is_first) = (end, 0, false);
            }
            rows += more.unwrap_or(0);
        }
        self.units = own;
        if is_first {
            sum.fill(0.0);
        }
        if let Some(coefficient) = coefficient {
            for &unit in units.iter().filter(|unit| !by_rows(unit)) {
                self.add_by_itself(network, parameters, unit, coefficient, sum);
            }
        }
    }

    /// Adds a tile that has rows to `sum`, or, when it is the `first`, puts it there.
    fn add_tile<N: Network<Buffers = B>>(
        &mut self,
        network: &N,
        parameters: &[f32],
        units: &[u32],
        coefficient: Coefficient<'_>,
        first: bool,
        sum: &mut [f32],
    ) {
        let Self { buffers, offsets, squared_norms, of_rows, coefficients, scratch, .. } = self;
        offsets.clear();
        offsets.push(0);
        for &unit in units {
            offsets.push(offsets[offsets.len() - 1] + network.rows(unit));
        }
        network.backpropagate(parameters, units, buffers);
        if let Some(coefficient) = coefficient {
            squared_norms.clear();
            squared_norms.resize(units.len(), 0.0);
            of_rows.clear();
            of_rows.resize(offsets[units.len()], 0.0);
            network.traces(buffers, &mut |trace| trace.add_squared_norms(offsets, squared_norms, of_rows, scratch));
            coefficients.clear();
            let of_unit = |(&norm, rows): (&f64, &[usize])| {
                let q = of_rows[rows[0]..rows[1]].iter().fold(norm, |q, &row| if q >= row { q } else { row + 0.0 * q });
                if q.is_finite() { coefficient(q) } else { 0.0 }
            };
            coefficients.extend(squared_norms.iter().zip(offsets.windows(2)).map(of_unit));
            network.traces(buffers, &mut |trace| {
                let units = trace.units().unwrap_or(offsets);
                trace.scale(units, coefficients);
            });
        }
        network.traces(buffers, &mut |trace| trace.add_sum(first, sum));
    }

    /// Adds the gradient of one unit, formed and measured by itself.
    fn add_by_itself<N: Network<Buffers = B>>(
        &mut self,
        network: &N,
        parameters: &[f32],
        unit: u32,
        coefficient: &dyn Fn(f64) -> f32,
        sum: &mut [f32],
    ) {
        let Self { buffers, own, .. } = self;
        own.resize(sum.len(), 0.0);
        network.backpropagate(parameters, &[unit], buffers);
        network.traces(buffers, &mut |trace| trace.add_sum(true, own));
        let norm = squared_norm(own);
        let c = if norm.is_finite() { coefficient(norm) } else { 0.0 };
        // 0 times infinity is not 0.
        if c != 0.0 {
            vectorised(|| sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += c * *own));
        }
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

    /// Adds this layer's part of the squared norm of each unit's gradient, and of each of its rows; `offsets` are those of the
    /// tile.
    fn add_squared_norms(&self, offsets: &[usize], norms: &mut [f64], of_rows: &mut [f64], scratch: &mut Scratch) {
        let own = self.units().unwrap_or(offsets);
        if own.len() == own[own.len() - 1] + 1 && own.windows(2).all(|unit| unit[1] == unit[0] + 1) {
            self.row_squared_norms(0..norms.len(), scratch);
            for ((norm, row), &start) in norms.iter_mut().zip(&scratch.inputs).zip(offsets) {
                *norm += row;
                of_rows[start] += row;
            }
            return;
        }
        for ((norm, unit), &start) in norms.iter_mut().zip(own.windows(2)).zip(offsets) {
            if unit[1] > unit[0] {
                let part = self.unit_squared_norm(unit[0]..unit[1], &mut of_rows[start..], scratch);
                // Rounding can leave a Gram sum just below zero; NaN must stay NaN.
                *norm += if part < 0.0 { 0.0 } else { part };
            }
        }
    }

    /// Puts `|g|^2 (|a|^2 + 1)` of each row into `scratch.inputs`.
    fn row_squared_norms(&self, rows: Range<usize>, scratch: &mut Scratch) {
        let Scratch { inputs, gradients, .. } = scratch;
        let squares = |matrix: &Matrix, out: &mut Vec<f64>| {
            out.resize(rows.len(), 0.0);
            row_squared_norms(matrix.rows_of(rows.clone()), matrix.columns(), out);
        };
        match self {
            Self::Dense { input, gradient, .. } => {
                squares(input, inputs);
                squares(gradient, gradients);
                inputs.iter_mut().zip(gradients).for_each(|(a, g)| *a = of_row(*a, *g));
            }
            Self::Embedding { layer, gradient, .. } => {
                squares(gradient, inputs);
                inputs.iter_mut().for_each(|g| *g = of_row(layer.width() as f64, *g));
            }
        }
    }

    /// The squared norm of the sum of a unit's rows; adds those of the rows to `of_rows`.
    fn unit_squared_norm(&self, rows: Range<usize>, of_rows: &mut [f64], scratch: &mut Scratch) -> f64 {
        let n = rows.len();
        match self {
            Self::Dense { layer, input, gradient, .. } => {
                row_pair_products(input.rows_of(rows.clone()), layer.inputs(), &mut scratch.sum, &mut scratch.inputs);
                gram(rows, gradient, of_rows, scratch)
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
                    gram(rows, gradient, of_rows, scratch)
                } else {
                    self.row_squared_norms(rows.clone(), scratch);
                    of_rows.iter_mut().zip(&scratch.inputs).for_each(|(sum, row)| *sum += row);
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

/// `|g|^2 (|a|^2 + 1)`; infinite where the input cannot be used.
fn of_row(input: f64, gradient: f64) -> f64 {
    if input <= LARGEST_INPUT { gradient * (input + 1.0) } else { f64::INFINITY }
}

/// `sum_{s,t} (g_s.g_t)(a_s.a_t + 1)`: the products of the inputs, `s >= t`, are in `scratch.inputs`, and the 1 is the
/// bias. The terms with `s = t` are those of the rows alone.
fn gram(rows: Range<usize>, gradient: &Matrix, of_rows: &mut [f64], scratch: &mut Scratch) -> f64 {
    let Scratch { inputs, gradients, sum, .. } = scratch;
    row_pair_products(gradient.rows_of(rows.clone()), gradient.columns(), sum, gradients);
    let mut pairs = inputs.iter().zip(gradients.iter());
    of_rows.iter_mut().take(rows.len()).enumerate().fold(0.0, |sum, (s, of_row)| {
        let below: f64 = pairs.by_ref().take(s).map(|(a, g)| g * (a + 1.0)).sum();
        let alone = pairs.next().map_or(0.0, |(&a, &g)| self::of_row(a, g));
        *of_row += alone;
        sum + 2.0 * below + alone
    })
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
pub(super) mod tests;
