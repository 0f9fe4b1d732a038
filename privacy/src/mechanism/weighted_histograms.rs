//! Several histograms in one Gaussian event, each with a weight of its own.

use super::histogram::{UNIT_WEIGHT, add_unit_counts};
use super::integer_noise::add_discrete_gaussians;
use crate::{Error, Event, Released, Sensitive};
use rayon::prelude::*;
use std::ops::Range;

/// Units that are counted in one go; likewise.
const UNITS_PER_BLOCK: usize = 1 << 13;

/// One of the histograms of a release.
///
/// # Privacy
/// Public or released: chosen from the schema and from what was released before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Number of cells.
    pub cells: usize,
    /// Weight `a`, above 0; the squares of all weights of a release add up to at most 1. The larger, the less noise.
    pub weight: f64,
}

impl Part {
    /// The weight of one unit on the fixed-point grid, rounded down.
    fn unit_weight(&self) -> i64 {
        (self.weight * UNIT_WEIGHT as f64) as i64
    }
}

/// Noisy histograms of the same units over several partitions, as one vector.
///
/// The counts of histogram `m` are multiplied by its weight `a_m` before the noise is added and divided by it
/// afterwards. A unit has total weight `a_m` in histogram `m`, shared equally by its rows, so adding or removing a unit
/// moves that histogram by at most `a_m` in L1, hence in L2, and the whole vector by at most `sqrt(sum a_m^2) <= 1`.
/// What is added up is the fixed-point number below `a_m`, so rounding can only lower the sensitivity. One release of
/// many histograms costs what one histogram costs, and who may see which histogram with how much noise is decided by
/// the weights, which may depend on anything that was released before.
///
/// # Privacy
/// One release is one planned discrete Gaussian event, sensitivity 1 unit, add/remove adjacency.
pub struct WeightedHistograms {
    noise_multiplier: f64,
}

impl WeightedHistograms {
    pub(crate) fn new(noise_multiplier: f64) -> Self {
        Self { noise_multiplier }
    }

    /// The event of one release: discrete Gaussian noise on integers of sensitivity [`UNIT_WEIGHT`].
    pub(crate) fn event(noise_multiplier: f64) -> Event {
        Event::DiscreteGaussian { sigma: noise_multiplier * UNIT_WEIGHT as f64, sensitivity: UNIT_WEIGHT as u64 }
    }

    /// Standard deviation of the noise on each count of a histogram of this weight, in units.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn noise_std(&self, weight: f64) -> f64 {
        self.noise_multiplier / weight
    }

    /// Counts, for each part, how much unit weight falls into each of its cells, and releases the noisy counts of all
    /// parts in units (they may be negative).
    ///
    /// `block_of(data, range)` gives the units of a range of all, and `cells_of(block, part, unit, into)` pushes the cell
    /// of each row of the block's unit in histogram `part`; a unit with `k` rows adds `1/k` to each of its cells. A cell
    /// beyond the last is dropped.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a weight is no number above 0 (or too small for the fixed-point grid), or the squares
    /// of the weights add up to more than 1: then nothing is released.
    ///
    /// # Privacy
    /// Releases one planned discrete Gaussian event, unit sensitivity 1, add/remove adjacency (Canonne, Kamath and
    /// Steinke 2020). The parts must be public or depend on released values alone.
    pub fn release<T, B: Sync>(
        self,
        data: &Sensitive<T>,
        units: impl FnOnce(&T) -> usize,
        block_of: impl Fn(&T, Range<usize>) -> B,
        parts: &[Part],
        cells_of: impl Fn(&B, usize, usize, &mut Vec<usize>) + Sync,
    ) -> Result<Released<Vec<Vec<f64>>>, Error> {
        check(parts)?;
        let data = data.expose();
        let units = units(data);
        let mut counts: Vec<Vec<i64>> = parts.iter().map(|part| vec![0; part.cells]).collect();
        for start in (0..units).step_by(UNITS_PER_BLOCK) {
            let range = start..units.min(start + UNITS_PER_BLOCK);
            let (block, units) = (block_of(data, range.clone()), range.len());
            counts.par_iter_mut().zip(parts).enumerate().for_each(|(index, (counts, part))| {
                add_unit_counts(counts, units, part.unit_weight(), |unit, into| cells_of(&block, index, unit, into));
            });
        }
        let mut counts = counts.concat();
        #[cfg(feature = "test-noise")]
        {
            counts = crate::tape::play("weighted histograms", counts, UNIT_WEIGHT as f64);
        }
        let sigma = self.noise_multiplier * UNIT_WEIGHT as f64;
        add_discrete_gaussians(&mut counts, sigma)?;
        let mut rest = &counts[..];
        let in_units = parts.iter().map(|part| {
            let (own, others) = rest.split_at(part.cells);
            rest = others;
            own.iter().map(|&count| count as f64 / part.unit_weight() as f64).collect()
        });
        Ok(Released::by_mechanism(in_units.collect()))
    }
}

/// The weights are numbers above 0 whose squares add up to at most 1, on the grid that counts.
fn check(parts: &[Part]) -> Result<(), Error> {
    let odd = |found: f64, expected| Err(Error::Parameter { name: "weight", found: found.to_string(), expected });
    let mut squares = 0i128;
    for part in parts {
        if !(part.weight <= 1.0 && part.unit_weight() > 0) {
            return odd(part.weight, "a number above 0 and at most 1");
        }
        squares += i128::from(part.unit_weight()).pow(2);
    }
    if squares > i128::from(UNIT_WEIGHT).pow(2) {
        return odd((squares as f64).sqrt() / UNIT_WEIGHT as f64, "weights whose squares add up to at most 1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(cells: usize, weight: f64) -> Part {
        Part { cells, weight }
    }

    #[test]
    fn counts_are_those_of_single_histograms() {
        let data = Sensitive::new(vec![vec![0usize], vec![1, 1], vec![0, 1, 1, 1]]);
        let counts = WeightedHistograms::new(1e-4)
            .release(
                &data,
                Vec::len,
                |d, units| d[units].to_vec(),
                &[part(3, 0.6), part(2, 0.8)],
                |d, part, unit, into| {
                    into.extend(d[unit].iter().map(|cell| if part == 0 { *cell } else { 1 - cell }));
                },
            )
            .unwrap()
            .into_inner();
        for (found, expected) in counts.concat().iter().zip([1.25, 1.75, 0.0, 1.75, 1.25]) {
            assert!((found - expected).abs() < 0.02, "{counts:?}");
        }
    }

    /// 3,000 empty cells at noise multiplier 5 and each of two weights: the variance is (5 / weight)^2 within four
    /// standard errors (false-alarm rate 1.3e-4 for both).
    #[test]
    fn noise_goes_down_with_the_weight() {
        let data = Sensitive::new(Vec::<usize>::new());
        let mechanism = WeightedHistograms::new(5.0);
        assert_eq!(mechanism.noise_std(0.5), 10.0);
        let counts = mechanism
            .release(&data, Vec::len, |_, _| (), &[part(3000, 0.8), part(3000, 0.5)], |_, _, _, _| ())
            .unwrap()
            .into_inner();
        for (counts, weight) in counts.iter().zip([0.8, 0.5]) {
            let variance = counts.iter().map(|c| c * c).sum::<f64>() / 3000.0;
            assert!((variance * weight * weight / 25.0 - 1.0).abs() < 4.0 * (2.0f64 / 3000.0).sqrt(), "{variance}");
        }
    }

    /// Two blocks and a bit: each unit is counted once, in the block that it is in.
    #[test]
    fn blocks_of_units_add_up() {
        let units = 2 * UNITS_PER_BLOCK + 7;
        let data = Sensitive::new((0..units).map(|unit| unit % 3).collect::<Vec<_>>());
        let counts = WeightedHistograms::new(1e-4)
            .release(
                &data,
                Vec::len,
                |d, units| d[units].to_vec(),
                &[part(3, 1.0)],
                |d, _, unit, into| into.push(d[unit]),
            )
            .unwrap()
            .into_inner();
        for (cell, count) in counts[0].iter().enumerate() {
            let expected = (0..units).filter(|unit| unit % 3 == cell).count() as f64;
            assert!((count - expected).abs() < 0.1, "{count} {expected}");
        }
    }

    #[test]
    fn weights_that_cost_more_than_was_paid_are_refused() {
        for weights in [vec![0.8, 0.61], vec![1.1], vec![0.0], vec![-0.5], vec![f64::NAN], vec![1e-9]] {
            let parts: Vec<Part> = weights.iter().map(|&weight| part(2, weight)).collect();
            let data = Sensitive::new(Vec::<usize>::new());
            assert!(WeightedHistograms::new(1.0).release(&data, Vec::len, |_, _| (), &parts, |_, _, _, _| ()).is_err());
        }
        assert!(check(&[part(2, 0.8), part(2, 0.6)]).is_ok() && check(&[]).is_ok());
    }

    proptest! {
        /// For random neighbouring tables (one unit added) and random weights, the whole vector moves by at most the
        /// declared sensitivity in L2.
        #[test]
        fn one_unit_moves_all_parts_together_by_at_most_one(
            table in prop::collection::vec(prop::collection::vec(0usize..12, 0..9), 0..10),
            extra in prop::collection::vec(0usize..12, 0..40),
            weights in prop::collection::vec(1e-3f64..1.0, 1..6),
        ) {
            let norm = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
            let parts: Vec<Part> = weights.iter().map(|w| part(10, w / norm)).collect();
            prop_assume!(check(&parts).is_ok());
            let count = |t: &[Vec<usize>]| -> Vec<i64> {
                let one = |(m, part): (usize, &Part)| {
                    super::super::histogram::unit_counts(t.len(), 10, part.unit_weight(), |u, into| into.extend(t[u].iter().map(|c| (c + m) % 12)))
                };
                parts.iter().enumerate().flat_map(one).collect()
            };
            let mut more = table.clone();
            more.push(extra);
            let squared: i128 =
                count(&table).iter().zip(count(&more)).map(|(a, b)| i128::from(b - a).pow(2)).sum();
            prop_assert!(squared <= i128::from(UNIT_WEIGHT).pow(2));
        }
    }
}
