//! One-way marginals made into distributions.

use crate::encode::Layout;
use crate::error::{Error, Result};

/// The distribution of each column, over units: a unit's rows weigh 1 together.
#[derive(Clone, Debug, PartialEq)]
pub struct Marginals {
    offsets: Vec<usize>,
    probabilities: Vec<f32>,
}

impl Marginals {
    /// Noisy counts, column after column, made consistent: every column sums to the same total, and no cell is
    /// negative. The total is the mean over columns; a column is moved to the nearest point (Euclidean) of the
    /// simplex, so that noise in empty cells does not add up to mass.
    ///
    /// # Errors
    /// Bad input when the number of counts is not `layout.total()`.
    ///
    /// # Privacy
    /// Post-processing of released counts.
    pub fn from_noisy(layout: &Layout, counts: &[f64]) -> Result<Self> {
        let offsets = layout.offsets();
        if counts.len() != layout.total() {
            return Err(Error::bad_input(format!("{} one-way counts", counts.len()))
                .expected(format!("{}, one for each cell of each column", layout.total())));
        }
        let total = counts.iter().sum::<f64>() / layout.width().max(1) as f64;
        let columns = offsets.windows(2).map(|block| &counts[block[0]..block[1]]);
        let probabilities = columns.flat_map(|column| onto_simplex(column, total.max(1.0))).collect();
        Ok(Self { offsets, probabilities })
    }

    /// Shares, column after column, moved to the nearest distributions.
    ///
    /// # Privacy
    /// Post-processing of released counts.
    pub fn from_shares(layout: &Layout, shares: Vec<f64>) -> Self {
        let offsets = layout.offsets();
        let columns = offsets.windows(2).map(|block| &shares[block[0]..block[1]]);
        let probabilities = columns.flat_map(|column| onto_simplex(column, 1.0)).collect();
        Self { offsets, probabilities }
    }

    /// Probabilities of column `j`.
    pub fn column(&self, j: usize) -> &[f32] {
        &self.probabilities[self.offsets[j]..self.offsets[j + 1]]
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Probabilities of all columns, one after the other.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }

    /// First cell of each column, and the total.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }
}

/// The nearest distribution to `counts / total`: a constant is subtracted and what falls below zero is cut
/// (Duchi et al. 2008).
fn onto_simplex(counts: &[f64], total: f64) -> Vec<f32> {
    let mut sorted = counts.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut shift) = (0.0, 0.0);
    for (i, count) in sorted.iter().enumerate() {
        sum += count;
        let candidate = (sum - total) / (i + 1) as f64;
        if count - candidate <= 0.0 {
            break;
        }
        shift = candidate;
    }
    counts.iter().map(|c| ((c - shift).max(0.0) / total) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_in_empty_cells_is_cut_and_columns_agree() {
        let layout = Layout { cells: vec![2, 4] };
        let m = Marginals::from_noisy(&layout, &[60.0, 38.0, 90.0, 10.0, 3.0, -1.0]).unwrap();
        assert_eq!(m.column(0), [0.61, 0.39]); // total 100
        let sum: f32 = m.column(1).iter().sum();
        assert!((sum - 1.0).abs() < 1e-6 && m.column(1)[3] == 0.0 && (m.column(1)[0] - 0.89).abs() < 7e-3);
        assert!(Marginals::from_noisy(&layout, &[1.0]).is_err());
    }

    #[test]
    fn hostile_numbers_give_a_distribution() {
        let layout = Layout { cells: vec![3] };
        let m = Marginals::from_noisy(&layout, &[-5.0, -7.0, -9.0]).unwrap();
        assert!((m.column(0).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
