//! What is known of a row before it is drawn.

use crate::encode::Layout;

/// For each column, how far each of its cells agrees with what is known: 0 excludes it, 1 says nothing against it, and a
/// number between them is the part of the cell that agrees. Columns of which nothing is known are left alone.
///
/// A condition of `generate` and the known cells of `infer` are both evidence: a generator draws rows from its own law
/// given it.
///
/// # Privacy
/// Public for a condition; for a real record as sensitive as the record.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// First cell of each column, and the total.
    offsets: Vec<usize>,
    agreement: Vec<f32>,
    /// Columns of which something is known, in order.
    columns: Vec<usize>,
}

impl Evidence {
    /// Nothing is known.
    pub fn none(layout: &Layout) -> Self {
        Self { offsets: layout.offsets(), agreement: vec![1.0; layout.total()], columns: Vec::new() }
    }

    /// Further evidence of column `j`: one number of `[0, 1]` a cell, multiplied with what was known.
    ///
    /// # Panics
    /// When there is not one number a cell.
    pub fn restrict(&mut self, j: usize, agreement: &[f32]) {
        let own = &mut self.agreement[self.offsets[j]..self.offsets[j + 1]];
        assert_eq!(own.len(), agreement.len(), "one number a cell");
        own.iter_mut().zip(agreement).for_each(|(own, more)| *own *= more);
        if let Err(place) = self.columns.binary_search(&j) {
            self.columns.insert(place, j);
        }
    }

    /// Column `j` is known to have this code.
    pub fn observe(&mut self, j: usize, code: u16) {
        let mut agreement = vec![0.0; self.offsets[j + 1] - self.offsets[j]];
        agreement[usize::from(code)] = 1.0;
        self.restrict(j, &agreement);
    }

    /// Agreement of the cells of column `j`.
    pub fn column(&self, j: usize) -> &[f32] {
        &self.agreement[self.offsets[j]..self.offsets[j + 1]]
    }

    /// Columns of which something is known, in order.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Whether a column is left without any cell: no row agrees.
    pub fn is_contradictory(&self) -> bool {
        self.columns.iter().any(|&j| self.column(j).iter().all(|&a| a <= 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_adds_up_and_contradictions_show() {
        let mut evidence = Evidence::none(&Layout { cells: vec![2, 3] });
        assert!(evidence.columns().is_empty() && !evidence.is_contradictory());
        evidence.restrict(1, &[0.5, 1.0, 0.0]);
        evidence.restrict(1, &[0.5, 0.0, 1.0]);
        assert_eq!((evidence.column(1), evidence.columns()), (&[0.25, 0.0, 0.0][..], &[1][..]));
        evidence.observe(0, 1);
        assert_eq!((evidence.column(0), evidence.columns()), (&[0.0, 1.0][..], &[0, 1][..]));
        assert!(!evidence.is_contradictory());
        evidence.observe(0, 0);
        assert!(evidence.is_contradictory());
    }
}
