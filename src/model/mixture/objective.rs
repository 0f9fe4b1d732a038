//! The distance of a mixture to noisy marginals, and its gradient.

use ndarray::{ArrayViewMut2, s};
use rayon::prelude::*;

use super::measured::{Measured, MeasuredTable};
use crate::nn::{Matrix, gemm};

/// Rows of a Gram matrix that one task computes. A part of the law of the sums, so it never follows the machine.
const ROWS_PER_TASK: usize = 64;

/// The sum, over the measured marginals, of squared differences between the mixture's shares and the wanted ones, each
/// divided by the variance of its noise.
pub(super) struct Objective {
    offsets: Vec<usize>,
    /// The column of each cell.
    columns: Vec<usize>,
    /// Measured cells.
    cells: usize,
    one_way: Vec<f32>,
    one_way_weights: Vec<f32>,
    pairs: Blocks,
    labels: Vec<Label>,
}

/// Wanted shares of pairs of columns, as blocks above the diagonal of a matrix of all cells by all cells.
struct Blocks {
    wanted: Matrix,
    /// One over the variance of each pair's noise, columns by columns; 0 where nothing was measured.
    weights: Matrix,
}

/// Pairs of columns measured together with a label: one set of blocks a value of the label.
struct Label {
    column: usize,
    slices: Vec<Blocks>,
}

/// Memory of [`Objective::gradient`], and its results.
#[derive(Default)]
pub(super) struct Workspace {
    /// The gradient with respect to `P`, classes by cells.
    pub by_probability: Matrix,
    /// The gradient with respect to `w`.
    pub by_weight: Vec<f32>,
    by_share: Vec<f32>,
    slice: Vec<f32>,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    weighted: Matrix,
    gram: Matrix,
    product: Matrix,
    distances: Vec<f64>,
}

impl Objective {
    pub fn new(measured: &Measured) -> Self {
        let offsets = measured.layout.offsets();
        let (width, total) = (measured.layout.width(), measured.layout.total());
        let mut pairs = Blocks::new(width, total);
        let mut labels: Vec<Label> = Vec::new();
        for table in &measured.tables {
            let Some(&column) = table.columns.get(2) else {
                pairs.add(table, &offsets, 0, 1);
                continue;
            };
            let values = measured.layout.cells[column];
            let place = labels.iter().position(|label| label.column == column).unwrap_or_else(|| {
                labels.push(Label { column, slices: (0..values).map(|_| Blocks::new(width, total)).collect() });
                labels.len() - 1
            });
            for (value, blocks) in labels[place].slices.iter_mut().enumerate() {
                blocks.add(table, &offsets, value, values);
            }
        }
        let one_way = measured.marginals.probabilities().to_vec();
        let one_way_weights = measured.marginals_noise_std.iter().map(|std| std.powi(-2)).collect();
        let columns = measured.layout.cells.iter().enumerate().flat_map(|(c, &n)| std::iter::repeat_n(c, n)).collect();
        let cells = total + measured.tables.iter().map(|table| table.shares.len()).sum::<usize>();
        Self { offsets, columns, cells, one_way, one_way_weights, pairs, labels }
    }

    /// Writes the gradient at the classes `p` (classes by cells) of weights `w` to `workspace`.
    ///
    /// Returns the objective itself over the number of measured cells: what noise alone makes of it is 1.
    pub fn gradient(&self, p: &Matrix, w: &[f32], workspace: &mut Workspace) -> f64 {
        let Workspace { by_probability, by_weight, by_share, slice, scratch } = workspace;
        let (classes, total) = (p.rows(), p.columns());
        by_probability.reshape(classes, total);
        by_probability.values_mut().fill(0.0);
        let mut distance = self.pairs.gradient(self, p, w, by_probability, by_weight, scratch);

        // What the one-way shares miss, in the place of the shares.
        let shares = by_share;
        shares.clear();
        shares.resize(total, 0.0);
        for k in 0..classes {
            shares.iter_mut().zip(scratch.weighted.row(k)).for_each(|(share, p)| *share += p);
        }
        for ((share, wanted), weight) in shares.iter_mut().zip(&self.one_way).zip(&self.one_way_weights) {
            distance += f64::from(weight * (*share - wanted).powi(2));
            *share = 2.0 * weight * (*share - wanted);
        }
        for (k, (&w, by_weight)) in w.iter().zip(by_weight.iter_mut()).enumerate() {
            by_probability.row_mut(k).iter_mut().zip(&*shares).for_each(|(g, s)| *g += w * s);
            *by_weight += p.row(k).iter().zip(&*shares).map(|(p, s)| p * s).sum::<f32>();
        }

        let by_slice = shares;
        for label in &self.labels {
            for (value, blocks) in label.slices.iter().enumerate() {
                let cell = self.offsets[label.column] + value;
                slice.clear();
                slice.extend(w.iter().enumerate().map(|(k, w)| w * p.row(k)[cell]));
                distance += blocks.gradient(self, p, slice, by_probability, by_slice, scratch);
                for (k, (&w, &by_slice)) in w.iter().zip(&*by_slice).enumerate() {
                    by_weight[k] += p.row(k)[cell] * by_slice;
                    by_probability.row_mut(k)[cell] += w * by_slice;
                }
            }
        }
        distance / self.cells as f64
    }
}

impl Blocks {
    fn new(width: usize, total: usize) -> Self {
        let (mut wanted, mut weights) = (Matrix::default(), Matrix::default());
        wanted.reshape(total, total);
        weights.reshape(width, width);
        Self { wanted, weights }
    }

    /// Every `step`-th share of a table, from the `first`, as the block of its first two columns.
    fn add(&mut self, table: &MeasuredTable, offsets: &[usize], first: usize, step: usize) {
        let (a, b) = (table.columns[0], table.columns[1]);
        // Nothing below the diagonal is compared with what is wanted.
        assert!(a < b, "the columns of a pair are in order");
        let block = offsets[b]..offsets[b + 1];
        for (row, shares) in table.shares.chunks_exact(block.len() * step).enumerate() {
            let wanted = &mut self.wanted.row_mut(offsets[a] + row)[block.clone()];
            wanted.iter_mut().zip(shares.iter().skip(first).step_by(step)).for_each(|(w, s)| *w = *s);
        }
        self.weights.row_mut(a)[b] = table.noise_std.powi(-2);
    }

    /// Adds to the rows of `by_probability` the gradient of these blocks at classes `p` of weights `u` (which need not
    /// add up to one), `2 u_k R P_k`, where `R` holds the weighted differences, and writes the derivative by each
    /// `u_k`, `P_k . R P_k`, to `by_weight`.
    fn gradient(
        &self,
        objective: &Objective,
        p: &Matrix,
        u: &[f32],
        by_probability: &mut Matrix,
        by_weight: &mut Vec<f32>,
        Scratch { weighted, gram, product, distances }: &mut Scratch,
    ) -> f64 {
        let (classes, total) = (p.rows(), p.columns());
        weighted.reshape(classes, total);
        for (k, u) in u.iter().enumerate() {
            weighted.row_mut(k).iter_mut().zip(p.row(k)).for_each(|(w, p)| *w = p * u);
        }
        gram.reshape(total, total);
        let tasks = gram.values_mut().par_chunks_mut(ROWS_PER_TASK * total).enumerate();
        tasks
            .map(|(task, rows)| {
                let first = task * ROWS_PER_TASK;
                let count = rows.len() / total;
                let mut view = ArrayViewMut2::from_shape((count, total), &mut *rows).expect("whole rows");
                gemm(
                    p.view().slice(s![.., first..first + count]).reversed_axes(),
                    weighted.view().slice(s![.., first..]),
                    0.0,
                    view.slice_mut(s![.., first..]),
                );
                let rows = rows.chunks_exact_mut(total).enumerate();
                rows.map(|(row, shares)| self.weighted_differences(objective, first + row, shares)).sum()
            })
            .collect_into_vec(distances);
        for row in 1..total {
            for column in 0..row {
                gram.row_mut(row)[column] = gram.row(column)[row];
            }
        }
        product.reshape(classes, total);
        product.values_mut().par_chunks_mut(ROWS_PER_TASK * total).enumerate().for_each(|(task, rows)| {
            let first = task * ROWS_PER_TASK;
            let count = rows.len() / total;
            let view = ArrayViewMut2::from_shape((count, total), rows).expect("whole rows");
            gemm(p.view().slice(s![first..first + count, ..]), gram.view(), 0.0, view);
        });
        by_weight.clear();
        for (k, u) in u.iter().enumerate() {
            by_weight.push(p.row(k).iter().zip(product.row(k)).map(|(p, h)| p * h).sum());
            by_probability.row_mut(k).iter_mut().zip(product.row(k)).for_each(|(g, h)| *g += 2.0 * u * h);
        }
        distances.iter().sum()
    }

    /// Replaces the shares in the row of one cell by their weighted differences to what is wanted, and everything
    /// that was not measured, the part below the diagonal included, by zero. Returns the row's part of the objective.
    fn weighted_differences(&self, objective: &Objective, cell: usize, shares: &mut [f32]) -> f64 {
        let mut distance = 0.0;
        let (wanted, weights) = (self.wanted.row(cell), self.weights.row(objective.columns[cell]));
        for (block, &weight) in objective.offsets.windows(2).zip(weights) {
            let shares = &mut shares[block[0]..block[1]];
            if weight > 0.0 {
                let wanted = &wanted[block[0]..block[1]];
                let mut squares = 0.0f32;
                for (s, w) in shares.iter_mut().zip(wanted) {
                    let difference = *s - w;
                    squares += difference * difference;
                    *s = weight * difference;
                }
                distance += f64::from(weight * squares);
            } else {
                shares.fill(0.0);
            }
        }
        distance
    }
}
