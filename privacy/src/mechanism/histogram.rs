//! Counts of cells, with the total weight of one unit bounded by one.

use super::integer_noise::add_discrete_gaussian;
use crate::{Error, Event, Released, Sensitive};

/// Fixed-point weight of one unit: its rows share this much.
pub(crate) const UNIT_WEIGHT: i64 = 1 << 20;

/// A noisy histogram at the privacy unit.
///
/// Each unit has total weight one, shared equally by its rows, so adding or
/// removing a unit changes the vector of counts by at most one in L1, hence in
/// L2. Counts are fixed-point integers and the noise is an exact discrete
/// Gaussian on the same grid.
///
/// # Privacy
/// One release is one planned discrete Gaussian event, sensitivity 1 unit, add/remove adjacency.
pub struct Histogram {
    noise_multiplier: f64,
}

impl Histogram {
    pub(crate) fn new(noise_multiplier: f64) -> Self {
        Self { noise_multiplier }
    }

    /// The event of one release: discrete Gaussian noise on integers of
    /// sensitivity [`UNIT_WEIGHT`].
    pub(crate) fn event(noise_multiplier: f64) -> Event {
        Event::DiscreteGaussian { sigma: noise_multiplier * UNIT_WEIGHT as f64, sensitivity: UNIT_WEIGHT as u64 }
    }

    /// Standard deviation of the noise on each count, in units.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn noise_std(&self) -> f64 {
        self.noise_multiplier
    }

    /// Counts how much unit weight falls into each of `cells` cells and
    /// releases the noisy counts (they may be negative).
    ///
    /// `cells_of(data, unit, into)` pushes the cell of each row of the unit; a
    /// unit with `k` rows adds `1/k` to each of its cells. A cell beyond the
    /// last is dropped.
    ///
    /// # Privacy
    /// Releases one planned discrete Gaussian event, unit sensitivity 1,
    /// add/remove adjacency (Canonne, Kamath and Steinke 2020).
    pub fn release<T>(
        self,
        data: &Sensitive<T>,
        units: impl FnOnce(&T) -> usize,
        cells: usize,
        mut cells_of: impl FnMut(&T, usize, &mut Vec<usize>),
    ) -> Result<Released<Vec<f64>>, Error> {
        let data = data.expose();
        let counts = unit_counts(units(data), cells, UNIT_WEIGHT, |unit, into| cells_of(data, unit, into));
        #[cfg(feature = "test-noise")]
        let counts = crate::tape::play("histogram", counts, UNIT_WEIGHT as f64);
        let noisy = add_discrete_gaussian(&counts, self.noise_multiplier * UNIT_WEIGHT as f64)?;
        Ok(Released::by_mechanism(noisy.into_iter().map(|c| c as f64 / UNIT_WEIGHT as f64).collect()))
    }
}

/// Fixed-point counts before noise: the rows of a unit share `unit_weight`, rounded down.
pub(super) fn unit_counts(
    units: usize,
    cells: usize,
    unit_weight: i64,
    cells_of: impl FnMut(usize, &mut Vec<usize>),
) -> Vec<i64> {
    let mut counts = vec![0; cells];
    add_unit_counts(&mut counts, units, unit_weight, cells_of);
    counts
}

/// Adds the fixed-point counts of some units to those of others: see [`unit_counts`].
pub(super) fn add_unit_counts(
    counts: &mut [i64],
    units: usize,
    unit_weight: i64,
    mut cells_of: impl FnMut(usize, &mut Vec<usize>),
) {
    let mut hit = Vec::new();
    for unit in 0..units {
        hit.clear();
        cells_of(unit, &mut hit);
        if hit.is_empty() {
            continue;
        }
        let weight = unit_weight / hit.len() as i64;
        for &cell in &hit {
            if let Some(count) = counts.get_mut(cell) {
                *count += weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn noise_is_small_beside_many_units() {
        let data = Sensitive::new(vec![vec![0usize], vec![1, 1], vec![0, 1, 1, 1]]);
        let counts = Histogram::new(1e-3)
            .release(&data, Vec::len, 3, |d, unit, into| into.extend(&d[unit]))
            .unwrap()
            .into_inner();
        for (found, expected) in counts.iter().zip([1.25, 1.75, 0.0]) {
            assert!((found - expected).abs() < 0.02, "{counts:?}");
        }
    }

    /// 2,000 empty cells at noise multiplier 5: the variance is 25 within four
    /// standard errors (false-alarm rate 6e-5).
    #[test]
    fn noise_has_the_stated_scale() {
        let data = Sensitive::new(Vec::<usize>::new());
        let counts = Histogram::new(5.0).release(&data, Vec::len, 2000, |_, _, _| ()).unwrap().into_inner();
        let variance = counts.iter().map(|c| c * c).sum::<f64>() / 2000.0;
        assert!((variance / 25.0 - 1.0).abs() < 4.0 * (2.0f64 / 2000.0).sqrt(), "{variance}");
    }

    proptest! {
        /// For random neighbouring tables (one unit added), the counts move by
        /// at most the declared sensitivity in L2.
        #[test]
        fn one_unit_moves_counts_by_at_most_its_weight(
            table in prop::collection::vec(prop::collection::vec(0usize..12, 0..9), 0..20),
            extra in prop::collection::vec(0usize..12, 0..40),
        ) {
            let count = |t: &[Vec<usize>]| unit_counts(t.len(), 10, UNIT_WEIGHT, |u, into| into.extend(&t[u]));
            let mut more = table.clone();
            more.push(extra);
            let squared: i128 =
                count(&table).iter().zip(count(&more)).map(|(a, b)| i128::from(b - a).pow(2)).sum();
            prop_assert!(squared <= i128::from(UNIT_WEIGHT).pow(2));
        }
    }
}
