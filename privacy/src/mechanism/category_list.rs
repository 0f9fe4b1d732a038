//! Which categories a column has, where nobody may say so for free.

use super::histogram::UNIT_WEIGHT;
use crate::{Error, Event, Released, Sensitive};
use opendp::core::Measurement;
use opendp::domains::{AtomDomain, MapDomain};
use opendp::measurements::make_laplace_threshold;
use opendp::measures::{Approximate, MaxDivergence};
use opendp::metrics::{AbsoluteDistance, L01InfDistance};
use std::collections::HashMap;

type Map = MapDomain<AtomDomain<String>, AtomDomain<i64>>;
type Metric = L01InfDistance<AbsoluteDistance<i64>>;
type Threshold = Measurement<Map, Metric, Approximate<MaxDivergence>, HashMap<String, i64>>;

/// Noise and threshold are this much larger than the closed forms ask for, so
/// that OpenDP's outward-rounded map confirms the plan.
const MARGIN: f64 = 1e-6;
/// Part of delta left to the rounding of that map.
const DELTA_MARGIN: f64 = 1e-3;

/// The categories that enough units have: a thresholded noisy histogram over
/// an unknown domain (Korolova et al. 2009; Rogers 2023, arXiv:2309.09170; exact
/// sampler of OpenDP, `make_laplace_threshold`).
///
/// Each unit has total weight one, shared equally by at most `per_unit`
/// distinct categories, so one unit more changes at most `per_unit` counts, by
/// at most one in sum. Counts are fixed-point integers with discrete Laplace
/// noise of scale `1 / epsilon`; those below the threshold are not shown.
///
/// # Privacy
/// One release is one planned (epsilon, delta) event, unit sensitivity 1 in L1, add/remove adjacency.
pub struct CategoryList {
    per_unit: usize,
    threshold: f64,
    measurement: Threshold,
}

impl CategoryList {
    /// # Errors
    /// [`Error::Parameter`] when delta is too small for the arithmetic to
    /// confirm; [`Error::NotCertified`] when OpenDP's privacy map does not
    /// confirm the cost.
    pub(crate) fn new(epsilon: f64, delta: f64, per_unit: u32) -> Result<Self, Error> {
        let per_unit = per_unit.max(1);
        // A count of at most one unit (all of it new) and noise beyond the rest:
        // probability exp(-epsilon (threshold - 1)) / 2 or less for each category.
        let single = delta * (1.0 - DELTA_MARGIN) / f64::from(per_unit);
        let threshold = 1.0 + (0.5 / single).ln().max(0.0) / epsilon;
        let fixed = (threshold * (1.0 + MARGIN) * UNIT_WEIGHT as f64).ceil() + 1.0;
        // OpenDP's map computes 1 - (1 - p)^k in doubles, which end at 1e-16.
        if !(delta > 1e-12 * f64::from(per_unit) && fixed < (i64::MAX / 2) as f64) {
            return Err(Error::Parameter {
                name: "delta of a category list",
                found: delta.to_string(),
                expected: "more than 1e-12 for each category of a unit, at an epsilon that is not minute",
            });
        }
        let measurement: Threshold = make_laplace_threshold(
            MapDomain::new(AtomDomain::<String>::default(), AtomDomain::<i64>::default()),
            L01InfDistance::default(),
            UNIT_WEIGHT as f64 / epsilon * (1.0 + MARGIN),
            fixed as i64,
            None,
        )
        .map_err(|_| Error::Sampler)?;
        let cost = measurement.map(&(per_unit, UNIT_WEIGHT, UNIT_WEIGHT)).map_err(|_| Error::Sampler)?;
        if !(cost.0 <= epsilon && cost.1 <= delta) {
            return Err(Error::NotCertified { mechanism: "category list" });
        }
        Ok(Self { per_unit: per_unit as usize, threshold, measurement })
    }

    /// The event of one release.
    pub(crate) fn event(epsilon: f64, delta: f64) -> Event {
        Event::ApproximateDp { epsilon, delta }
    }

    /// Standard deviation of the noise on each count, in units.
    pub(crate) fn noise_multiplier(epsilon: f64) -> f64 {
        2f64.sqrt() / epsilon
    }

    /// Categories with less weight than so many units are hardly ever listed.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Releases the categories whose noisy count reaches the threshold, sorted.
    ///
    /// `categories_of(data, unit, into)` pushes the category of each row of the
    /// unit; repeated ones count once, and no more than the planned number
    /// per unit are used.
    ///
    /// # Errors
    /// [`Error::Sampler`] when the operating system gives no randomness.
    ///
    /// # Privacy
    /// Releases one planned (epsilon, delta) event, unit sensitivity 1 in L1,
    /// add/remove adjacency (Rogers 2023). A category of one unit alone is
    /// listed with probability at most delta.
    pub fn release<T>(
        self,
        data: &Sensitive<T>,
        units: impl FnOnce(&T) -> usize,
        categories_of: impl for<'a> Fn(&'a T, usize, &mut Vec<&'a str>),
    ) -> Result<Released<Vec<String>>, Error> {
        let data = data.expose();
        let counts = unit_counts(data, units(data), self.per_unit, categories_of);
        let counts = counts.into_iter().map(|(category, count)| (category.to_owned(), count)).collect();
        let choose = || {
            let listed = self.measurement.invoke(&counts).map_err(|_| Error::Sampler)?;
            let mut categories: Vec<String> = listed.into_keys().collect();
            categories.sort_unstable();
            Ok(categories)
        };
        #[cfg(feature = "test-noise")]
        let choose = || {
            let weights = counts.clone().into_iter().collect();
            crate::tape::play_choice("category list", weights, UNIT_WEIGHT, choose)
        };
        choose().map(Released::by_mechanism)
    }
}

/// Fixed-point counts before noise.
fn unit_counts<T>(
    data: &T,
    units: usize,
    per_unit: usize,
    categories_of: impl for<'a> Fn(&'a T, usize, &mut Vec<&'a str>),
) -> HashMap<&str, i64> {
    let mut counts = HashMap::new();
    let mut all = Vec::new();
    let mut distinct: Vec<&str> = Vec::new();
    for unit in 0..units {
        all.clear();
        categories_of(data, unit, &mut all);
        distinct.clear();
        for category in &all {
            if distinct.len() < per_unit && !distinct.contains(category) {
                distinct.push(category);
            }
        }
        for category in &distinct {
            *counts.entry(*category).or_insert(0) += UNIT_WEIGHT / distinct.len() as i64;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Table = Vec<Vec<String>>;

    fn categories<'a>(table: &'a Table, unit: usize, into: &mut Vec<&'a str>) {
        into.extend(table[unit].iter().map(String::as_str));
    }

    fn release(table: Table, epsilon: f64, delta: f64) -> Vec<String> {
        let list = CategoryList::new(epsilon, delta, 3).unwrap();
        list.release(&Sensitive::new(table), Vec::len, categories).unwrap().into_inner()
    }

    /// At (1, 1e-7) the threshold is 1 + ln(3 / 2e-7) = 17.5 units. A category
    /// of 60 units is missed with probability exp(-42) / 2, one of a single unit
    /// listed with at most 1e-7 a run: over 200 runs 2e-5 in all.
    #[test]
    fn a_category_of_one_unit_is_never_listed() {
        let mut table: Table = (0..120).map(|u| vec![["F", "M"][u % 2].to_owned()]).collect();
        table.push(vec!["canary".into(); 50]);
        for _ in 0..200 {
            assert_eq!(release(table.clone(), 1.0, 1e-7), ["F", "M"]);
        }
    }

    /// With no noise to speak of, what decides is the threshold.
    #[test]
    fn the_threshold_is_where_it_says() {
        let list = CategoryList::new(50.0, 1e-6, 1).unwrap();
        assert!((list.threshold() - (1.0 + (0.5e6f64 / 0.999).ln() / 50.0)).abs() < 1e-9);
        let table: Table = vec![
            vec!["one".into()],
            vec!["four".into()],
            vec!["four".into()],
            vec!["four".into()],
            vec!["four".into()],
        ];
        let listed = list.release(&Sensitive::new(table), Vec::len, categories).unwrap().into_inner();
        // 1.26 units: one unit is 13 noise scales below it, four are 130 above.
        assert_eq!(listed, ["four"]);
    }

    #[test]
    fn a_delta_that_arithmetic_cannot_confirm_is_refused() {
        for (epsilon, delta) in [(1.0, 0.0), (1.0, 1e-15), (1.0, f64::NAN), (1e-30, 1e-6)] {
            assert!(CategoryList::new(epsilon, delta, 2).is_err(), "{epsilon} {delta}");
        }
    }

    proptest! {
        #[test]
        fn every_cost_is_certified(epsilon in 1e-4f64..100.0, log_delta in -23.0f64..-2.0, per_unit in 1u32..50) {
            prop_assert!(CategoryList::new(epsilon, log_delta.exp(), per_unit).is_ok());
        }

        /// For random neighbouring tables (one unit added anywhere), at most
        /// `per_unit` counts move, by at most one unit in sum.
        #[test]
        fn one_unit_moves_counts_by_at_most_its_weight(
            table in prop::collection::vec(prop::collection::vec("[a-e]", 0..9), 0..20),
            extra in prop::collection::vec("[a-h]", 0..40),
            place in 0usize..20,
            per_unit in 1usize..6,
        ) {
            let mut more: Table = table.clone();
            more.insert(place.min(table.len()), extra);
            let before = unit_counts(&table, table.len(), per_unit, categories);
            let after = unit_counts(&more, more.len(), per_unit, categories);
            let moves: Vec<i64> =
                after.iter().map(|(c, n)| n - before.get(c).copied().unwrap_or(0)).filter(|d| *d != 0).collect();
            prop_assert!(before.keys().all(|c| after.contains_key(c)));
            prop_assert!(moves.len() <= per_unit && moves.iter().all(|d| *d > 0));
            prop_assert!(moves.iter().sum::<i64>() <= UNIT_WEIGHT);
        }
    }
}
