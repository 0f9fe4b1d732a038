//! One-way marginals made into distributions.

use crate::encode::Layout;
use crate::error::{Error, Result};
use crate::nn::{Tensor, find_tensor};

/// The distribution of each column, over units: a unit's rows weigh 1 together.
#[derive(Clone, Debug, PartialEq)]
pub struct Marginals {
    offsets: Vec<usize>,
    probabilities: Vec<f32>,
}

const TENSOR: &str = "marginals";

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

    pub fn tensor(&self) -> Tensor {
        (TENSOR.to_owned(), vec![1, self.probabilities.len()], self.probabilities.clone())
    }

    /// Reads what [`Marginals::tensor`] wrote.
    ///
    /// # Errors
    /// Bad input when the tensor is missing, has the wrong size, or is no distribution.
    pub fn from_tensors(layout: &Layout, tensors: &[Tensor]) -> Result<Self> {
        let probabilities = find_tensor(tensors, TENSOR, &[1, layout.total()])?.to_vec();
        let marginals = Self { offsets: layout.offsets(), probabilities };
        let proper = |column: &[f32]| {
            column.iter().all(|p| *p >= 0.0) && (column.iter().map(|&p| f64::from(p)).sum::<f64>() - 1.0).abs() < 1e-3
        };
        if (0..marginals.width()).all(|j| proper(marginals.column(j))) {
            Ok(marginals)
        } else {
            Err(Error::bad_input(format!("tensor `{TENSOR}` holds columns that are no distributions")))
        }
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
    fn hostile_numbers_give_a_distribution_or_an_error() {
        let layout = Layout { cells: vec![3] };
        let m = Marginals::from_noisy(&layout, &[-5.0, -7.0, -9.0]).unwrap();
        assert!((m.column(0).iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let (name, shape, _) = m.tensor();
        assert!(Marginals::from_tensors(&layout, &[(name.clone(), shape.clone(), vec![0.5, 0.6, 0.5])]).is_err());
        assert_eq!(Marginals::from_tensors(&layout, &[m.tensor()]).unwrap(), m);
    }
}
