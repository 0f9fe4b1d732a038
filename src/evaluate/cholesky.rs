//! Cholesky's factorisation of a small symmetric matrix, for normal equations.

/// A pivot below this share of its diagonal entry is rounding: the columns depend on each other.
const SMALLEST_PIVOT: f64 = 1e-10;

/// The lower triangle `L` of `L L' = matrix`, row by row.
pub struct Cholesky {
    size: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factorises `matrix`, `size` by `size`; `None` where it is singular or not finite.
    pub fn new(matrix: &[f64], size: usize) -> Option<Self> {
        let mut lower = vec![0.0; size * size];
        for row in 0..size {
            for column in 0..=row {
                let inner: f64 = (0..column).map(|k| lower[row * size + k] * lower[column * size + k]).sum();
                let left = matrix[row * size + column] - inner;
                lower[row * size + column] = if column < row {
                    left / lower[column * size + column]
                } else if left > SMALLEST_PIVOT * matrix[row * size + row] {
                    left.sqrt()
                } else {
                    return None;
                };
            }
        }
        lower.iter().all(|x| x.is_finite()).then_some(Self { size, lower })
    }

    /// The solution `x` of `matrix x = right`.
    pub fn solve(&self, right: &[f64]) -> Vec<f64> {
        let (n, l) = (self.size, &self.lower);
        let mut x = right.to_vec();
        for row in 0..n {
            let inner: f64 = (0..row).map(|k| l[row * n + k] * x[k]).sum();
            x[row] = (x[row] - inner) / l[row * n + row];
        }
        for row in (0..n).rev() {
            let inner: f64 = (row + 1..n).map(|k| l[k * n + row] * x[k]).sum();
            x[row] = (x[row] - inner) / l[row * n + row];
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_known_by_hand() {
        let factor = Cholesky::new(&[4.0, 2.0, 2.0, 3.0], 2).unwrap();
        let x = factor.solve(&[8.0, 8.0]);
        assert!((x[0] - 1.0).abs() < 1e-15 && (x[1] - 2.0).abs() < 1e-15, "{x:?}");
    }

    #[test]
    fn dependent_columns_are_noticed() {
        assert!(Cholesky::new(&[1.0, 2.0, 2.0, 4.0], 2).is_none());
        assert!(Cholesky::new(&[f64::NAN], 1).is_none());
        assert!(Cholesky::new(&[f64::INFINITY, 0.0, 0.0, 1.0], 2).is_none());
        assert!(Cholesky::new(&[0.0], 1).is_none());
    }
}
