//! Probabilities of pairs of cells.

use super::generate::Mixture;
use crate::nn::{Matrix, gemm};

impl Mixture {
    /// The probability that a row has two cells, for any two cells of different columns, and a third one, a code of
    /// another column, where `with` names it.
    ///
    /// # Shapes
    /// Cells of all columns by cells of all columns.
    pub fn pairs(&self, with: Option<(usize, u16)>) -> Matrix {
        let cells = self.by_cell.rows();
        let mut weights = self.weights.clone();
        if let Some((column, code)) = with {
            let says = self.by_cell.row(self.offsets[column] + usize::from(code));
            weights.iter_mut().zip(says).for_each(|(weight, p)| *weight *= p);
        }
        let mut weighted = self.by_cell.clone();
        for cell in 0..cells {
            weighted.row_mut(cell).iter_mut().zip(&weights).for_each(|(p, weight)| *p *= weight);
        }
        let mut pairs = Matrix::default();
        pairs.reshape(cells, cells);
        gemm(weighted.view(), self.probabilities.view(), 0.0, pairs.view_mut());
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Layout;

    #[test]
    fn pairs_are_summed_over_the_classes() {
        let layout = Layout { cells: vec![2, 2, 2] };
        let rows = vec![0.5, 0.5, 1.0, 0.0, 0.25, 0.75, 0.0, 1.0, 0.5, 0.5, 1.0, 0.0];
        let tensors = [
            ("mixture.probabilities".to_owned(), vec![2, 6], rows),
            ("mixture.weights".to_owned(), vec![1, 2], vec![0.75, 0.25]),
        ];
        let mixture = Mixture::from_tensors(&layout, &tensors).unwrap();
        let pairs = mixture.pairs(None);
        // Cell 1 of the first column and cell 0 of the second: 3/4 * 1/2 * 1 + 1/4 * 1 * 1/2.
        assert!((pairs.row(1)[2] - 0.5).abs() < 1e-6);
        let with = mixture.pairs(Some((2, 0)));
        assert!((with.row(1)[2] - (0.75 * 0.5 * 0.25 + 0.25 * 0.5)).abs() < 1e-6);
    }
}
