//! The mixture as what a network starts from: the law of each column given those before it.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, s};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::generate::{Mixture, pick};
use crate::nn::{Matrix, gemm, vectorised};

/// Probabilities below this count as this: a network must be able to bring them back.
pub const LEAST_PROBABILITY: f32 = 1e-7;

/// What is known of the classes of some rows: rows by classes, each row a distribution.
#[derive(Clone, Debug, Default)]
pub struct Posterior {
    classes: Matrix,
    logs: Matrix,
}

/// How much likelier the cells of a column are than in the classes alone.
#[derive(Clone, Copy)]
pub struct Factors<'a> {
    /// One a cell.
    pub cells: ArrayView1<'a, f32>,
    /// For each class, the sum of its probabilities times them.
    pub totals: ArrayView1<'a, f32>,
}

impl Mixture {
    /// Forgets all about `rows` rows: their classes have their weights.
    pub fn start(&self, rows: usize, posterior: &mut Posterior) {
        posterior.classes.reshape(rows, self.classes());
        for r in 0..rows {
            posterior.classes.row_mut(r).copy_from_slice(&self.weights);
        }
    }

    /// Forgets all about row `r`.
    pub fn forget(&self, r: usize, posterior: &mut Posterior) {
        posterior.classes.row_mut(r).copy_from_slice(&self.weights);
    }

    /// Keeps of the rows those in `kept`, in their order.
    pub fn keep(&self, kept: &[usize], posterior: &mut Posterior) {
        let classes = self.classes();
        for (to, &from) in kept.iter().enumerate() {
            posterior.classes.values_mut().copy_within(from * classes..(from + 1) * classes, to * classes);
        }
        posterior.classes.reshape(kept.len(), classes);
    }

    /// The logarithms of the probabilities of column `j`, one row a row.
    pub fn column_logs<'p>(&self, j: usize, posterior: &'p mut Posterior) -> &'p mut Matrix {
        self.logs(self.offsets[j]..self.offsets[j + 1], posterior)
    }

    /// The logarithms of the probabilities of all columns, one row a row.
    pub fn all_logs<'p>(&self, posterior: &'p mut Posterior) -> &'p mut Matrix {
        self.logs(0..self.probabilities.columns(), posterior)
    }

    fn logs<'p>(&self, cells: Range<usize>, posterior: &'p mut Posterior) -> &'p mut Matrix {
        let Posterior { classes, logs } = posterior;
        logs.reshape(classes.rows(), cells.len());
        let law = self.probabilities.view().slice_move(s![.., cells]);
        gemm(classes.view(), law, 0.0, logs.view_mut());
        logs.values_mut().iter_mut().for_each(|p| *p = p.max(LEAST_PROBABILITY).ln());
        logs
    }

    /// Row `r` has this code in column `j`; returns how likely that was. What was impossible is forgotten.
    pub fn observe(&self, r: usize, j: usize, code: u16, posterior: &mut Posterior) -> f32 {
        let says = self.by_cell.row(self.offsets[j] + usize::from(code));
        let classes = posterior.classes.row_mut(r);
        let total = vectorised(|| multiply_and_sum(classes, says));
        if total <= f32::MIN_POSITIVE {
            classes.copy_from_slice(&self.weights);
            return 0.0;
        }
        let scale = 1.0 / total;
        vectorised(|| classes.iter_mut().for_each(|c| *c *= scale));
        total
    }

    /// Row `r` has one of the cells of column `j` that agree with what is known, each as far as it does; where there are
    /// `factors`, each cell is likelier by them. Returns how likely that was. What was impossible is forgotten.
    pub fn weigh(
        &self,
        r: usize,
        j: usize,
        agreement: impl Iterator<Item = (usize, f32)>,
        factors: Option<Factors<'_>>,
        posterior: &mut Posterior,
    ) -> f32 {
        let add = |says: &mut [f32], cell: usize, weight: f32| {
            let own = self.by_cell.row(self.offsets[j] + cell);
            vectorised(|| says.iter_mut().zip(own).for_each(|(says, own)| *says += weight * own));
        };
        let mut says = vec![0.0; self.classes()];
        agreement
            .for_each(|(cell, agreement)| add(&mut says, cell, agreement * factors.map_or(1.0, |f| f.cells[cell])));
        if let Some(factors) = factors {
            says.iter_mut().zip(factors.totals).for_each(|(says, total)| *says /= total.max(f32::MIN_POSITIVE));
        }
        let classes = posterior.classes.row_mut(r);
        let total = vectorised(|| multiply_and_sum(classes, &says));
        if total <= f32::MIN_POSITIVE {
            classes.copy_from_slice(&self.weights);
            return 0.0;
        }
        classes.iter_mut().for_each(|c| *c /= total);
        total
    }

    /// The probabilities of the cells of column `j`, one row a row, given what is known of each; where `factors` gives some for
    /// a row, cells are likelier by them.
    pub fn shares<'f>(
        &self,
        j: usize,
        factors: impl Fn(usize) -> Option<Factors<'f>>,
        posterior: &mut Posterior,
        shares: &mut Matrix,
    ) {
        let Posterior { classes, logs: weights } = posterior;
        weights.copy_from(classes);
        for r in 0..weights.rows() {
            if let Some(factors) = factors(r) {
                let own = weights.row_mut(r).iter_mut();
                own.zip(factors.totals).for_each(|(weight, total)| *weight /= total.max(f32::MIN_POSITIVE));
            }
        }
        let law = self.probabilities.view().slice_move(s![.., self.offsets[j]..self.offsets[j + 1]]);
        shares.reshape(weights.rows(), law.ncols());
        gemm(weights.view(), law, 0.0, shares.view_mut());
        for r in 0..shares.rows() {
            if let Some(factors) = factors(r) {
                shares.row_mut(r).iter_mut().zip(factors.cells).for_each(|(share, factor)| *share *= factor);
            }
        }
    }

    /// For each of the rows of `factors`, of cells of column `j`, the sum of each class's probabilities times them.
    pub fn totals(&self, j: usize, factors: &Array2<f32>) -> Array2<f32> {
        let mut totals = Array2::zeros((factors.nrows(), self.classes()));
        let law = self.by_cell.view().slice_move(s![self.offsets[j]..self.offsets[j + 1], ..]);
        gemm(factors.view(), law, 0.0, totals.view_mut());
        totals
    }

    /// Draws the class of row `r`, given what is known of it.
    pub fn draw_class(&self, r: usize, posterior: &Posterior, rng: &mut ChaCha8Rng) -> usize {
        pick(posterior.classes.row(r).iter().copied(), rng.random())
    }

    /// Draws a code of column `j` in a class, among the cells that agree, where some do.
    pub fn draw_code(&self, class: usize, j: usize, agreement: Option<&[f32]>, rng: &mut ChaCha8Rng) -> u16 {
        let own = self.column(class, j);
        match agreement.filter(|agreement| own.iter().zip(*agreement).any(|(p, a)| p * a > 0.0)) {
            None => pick(own.iter().copied(), rng.random()) as u16,
            Some(agreement) => pick(own.iter().zip(agreement).map(|(p, a)| p * a), rng.random()) as u16,
        }
    }

    /// Row `r` knows what row `from` knows.
    pub fn copy_row(&self, from: usize, r: usize, posterior: &mut Posterior) {
        let classes = self.classes();
        posterior.classes.values_mut().copy_within(from * classes..(from + 1) * classes, r * classes);
    }
}

/// Multiplies `x` by `y` and adds the products up, sixteen sums at a time.
#[inline(always)]
fn multiply_and_sum(x: &mut [f32], y: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    for (x, y) in x.chunks_mut(LANES).zip(y.chunks(LANES)) {
        for ((x, y), sum) in x.iter_mut().zip(y).zip(&mut sums) {
            *x *= y;
            *sum += *x;
        }
    }
    sums.iter().sum()
}
