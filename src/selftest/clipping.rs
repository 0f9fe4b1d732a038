//! The bound on what one unit can move, through the compute core.

use super::Check;
use crate::nn::{Dense, Matrix, Network, Table, Trace, Workspace, clipped_sum};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::RangeInclusive;

/// The clipping norm of the check.
pub(super) const NORM: f64 = 0.7;
/// How far below the bound the largest norm ends: by the clip's margin of 1/4096, which pays for single precision.
const ALLOWED: RangeInclusive<f64> = 0.0..=0.001;
const UNITS: u32 = 500;
const INPUTS: usize = 24;
const OUTPUTS: usize = 10;
const MOST_ROWS: usize = 5;

/// One dense layer, the gradients of its outputs given: those of a unit's rows, of any size.
struct Layer {
    table: Table,
    layer: Dense,
    /// Rows of each unit: inputs and gradients.
    units: Vec<(Matrix, Matrix)>,
}

impl Layer {
    /// Units whose gradients have norms from far below to far above the clipping norm.
    fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut table = Table::default();
        let layer = Dense::new(&mut table, "layer", INPUTS, OUTPUTS);
        let unit = |_| {
            let (rows, size) = (rng.random_range(1..=MOST_ROWS), 10f32.powf(rng.random_range(-6.0..6.0)));
            let mut matrix = |columns: usize, size: f32| {
                let mut matrix = Matrix::default();
                matrix.reshape(rows, columns);
                matrix.values_mut().fill_with(|| size * rng.random_range(-1.0..1.0));
                matrix
            };
            (matrix(INPUTS, 1.0), matrix(OUTPUTS, size))
        };
        Self { table, layer, units: (0..UNITS).map(unit).collect() }
    }
}

impl Network for Layer {
    type Buffers = (Matrix, Matrix);

    fn rows(&self, unit: u32) -> usize {
        self.units[unit as usize].0.rows()
    }

    fn backpropagate(&self, _parameters: &[f32], units: &[u32], (input, gradient): &mut (Matrix, Matrix)) {
        let rows = units.iter().map(|&unit| self.rows(unit)).sum();
        input.reshape(rows, INPUTS);
        gradient.reshape(rows, OUTPUTS);
        let mut at = 0;
        for (inputs, gradients) in units.iter().map(|&unit| &self.units[unit as usize]) {
            let rows = at..at + inputs.rows();
            input.rows_of_mut(rows.clone()).copy_from_slice(inputs.values());
            gradient.rows_of_mut(rows.clone()).copy_from_slice(gradients.values());
            at = rows.end;
        }
    }

    fn traces(&self, (input, gradient): &mut (Matrix, Matrix), visit: &mut dyn FnMut(Trace<'_>)) {
        visit(Trace::Dense { layer: &self.layer, input, gradient, units: None });
    }
}

/// The largest norm of any unit's clipped gradient, with the coefficient `of_squared_norm`.
pub(super) fn check(of_squared_norm: &(dyn Fn(f64) -> f32 + Sync)) -> Check {
    let network = Layer::new();
    let parameters = vec![0.0; network.table.len()];
    let mut workspace = Workspace::default();
    let mut norm = |unit: u32| {
        let parts = clipped_sum(&network, &parameters, &[unit], of_squared_norm, &mut workspace);
        parts.iter().flatten().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
    };
    let largest = (0..UNITS).map(&mut norm).fold(0.0, f64::max);
    Check::new(
        "a unit's clipped gradient keeps the bound",
        format!("C less the largest norm of {UNITS} units, relative"),
        1.0 - largest / NORM,
        ALLOWED,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthward_privacy::Clip;

    #[test]
    fn a_clip_that_is_none_or_too_wide_or_too_narrow_is_found() {
        let coefficient = |norm: f64| move |squared| Clip::new(norm).unwrap().coefficient(squared);
        assert!(check(&coefficient(NORM)).passed);
        for broken in [coefficient(1.001 * NORM), coefficient(0.99 * NORM)] {
            assert!(!check(&broken).passed);
        }
        assert!(!check(&|_| 1.0).passed, "no clip");
        assert!(!check(&|_| 0.0).passed, "nobody counts");
        // A margin for rounding that was forgotten.
        assert!(!check(&|squared: f64| (1.000_001 * NORM / squared.sqrt()).min(1.0) as f32).passed);
    }
}
