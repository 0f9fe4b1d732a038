//! The control that everyone must beat: each column on its own.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Generator, Marginals};
use crate::nn::Tensor;

/// Columns drawn independently from their one-way marginals.
#[derive(Clone, Debug)]
pub struct Independent {
    marginals: Marginals,
}

impl Independent {
    pub fn new(marginals: Marginals) -> Self {
        Self { marginals }
    }

    fn draw(&self, column: usize, rng: &mut ChaCha8Rng) -> u16 {
        let cells = self.marginals.column(column);
        let mut rest = rng.random::<f32>() * cells.iter().sum::<f32>();
        let drawn = cells.iter().position(|p| {
            rest -= p;
            rest < 0.0
        });
        drawn.unwrap_or(cells.len().saturating_sub(1)) as u16
    }
}

impl Generator for Independent {
    fn generate(
        &self,
        units: usize,
        rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    ) {
        codes.clear();
        offsets.clear();
        offsets.push(0);
        for _ in 0..units {
            let fixed = rows_column.map(|column| (column, self.draw(column, rng)));
            let rows = fixed.map_or(1, |(_, code)| usize::from(code) + 1);
            for _ in 0..rows {
                let start = codes.len();
                codes.extend((0..self.marginals.width()).map(|j| self.draw(j, rng)));
                if let Some((column, code)) = fixed {
                    codes[start + column] = code;
                }
            }
            offsets.push((codes.len() / self.marginals.width().max(1)) as u32);
        }
    }

    fn tensors(&self) -> Vec<Tensor> {
        vec![self.marginals.tensor()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Layout;
    use rand::SeedableRng;

    #[test]
    fn columns_have_their_frequencies_and_units_their_rows() {
        let layout = Layout { cells: vec![3, 2] };
        let marginals = Marginals::from_noisy(&layout, &[0.0, 500.0, 500.0, 900.0, 100.0]).unwrap();
        let (mut codes, mut offsets) = (Vec::new(), Vec::new());
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        Independent::new(marginals).generate(4000, Some(0), &mut rng, &mut codes, &mut offsets);
        assert_eq!((offsets.len(), codes.len()), (4001, 2 * offsets[4000] as usize));
        for unit in offsets.windows(2) {
            let rows = unit[1] - unit[0];
            assert!((unit[0]..unit[1]).all(|r| u32::from(codes[2 * r as usize]) + 1 == rows));
        }
        let twos = offsets.windows(2).filter(|u| u[1] - u[0] == 2).count();
        assert!(twos.abs_diff(2000) < 160); // five standard deviations
        let ones = codes.chunks(2).filter(|row| row[1] == 1).count() as f64;
        assert!((ones / f64::from(offsets[4000]) - 0.1).abs() < 0.015);
    }
}
