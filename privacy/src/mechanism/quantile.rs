//! One end of a range, from a public list of candidates.

use crate::{Error, Event, Released, Sensitive};
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::make_private_quantile;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::SymmetricDistance;

/// OpenDP rounds the quantile to this grid before it scores, and the noise
/// must cover the rounded one.
const QUANTILE_GRID: f64 = 1e-4;

/// A quantile of one value per unit by the exponential mechanism (McSherry and
/// Talwar 2007; scores of Smith 2011, doi:10.1145/1993636.1993743; exact sampler
/// of OpenDP, `make_private_quantile`).
///
/// A candidate `c` scores `|(1 - q) #(values < c) - q #(values > c)|`, lowest is
/// best. One unit more is one value more, which moves each score by at most
/// `max(q, 1 - q)`, whichever way.
///
/// # Privacy
/// One release is one planned exponential mechanism, bounded range epsilon, add/remove adjacency.
pub struct Quantile {
    epsilon: f64,
}

impl Quantile {
    pub(crate) fn new(epsilon: f64) -> Self {
        Self { epsilon }
    }

    /// The event of one release.
    pub(crate) fn event(epsilon: f64) -> Event {
        Event::ExponentialMechanism { epsilon }
    }

    /// Standard deviation of the Gumbel noise that selects in the same way,
    /// over the sensitivity of a score.
    pub(crate) fn noise_multiplier(epsilon: f64) -> f64 {
        2.0 / epsilon * std::f64::consts::PI / 6f64.sqrt()
    }

    /// What one release costs.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// Releases the candidate that lies near the `quantile` of the units'
    /// values. `value_of(data, unit)` is any one number made from the rows of
    /// that unit alone; a unit for which it is NaN has no value.
    ///
    /// `candidates` are public, finite and distinct, in any order; `quantile` is
    /// public or released.
    ///
    /// # Errors
    /// [`Error::NotCertified`] when OpenDP's privacy map does not confirm the
    /// planned cost; [`Error::Sampler`] for no or unordered candidates.
    ///
    /// # Privacy
    /// Releases one planned exponential mechanism of bounded range epsilon
    /// (Durfee and Rogers 2019, arXiv:1905.04273), unit sensitivity of the scores
    /// `max(q, 1 - q)`, add/remove adjacency.
    pub fn release<T>(
        self,
        data: &Sensitive<T>,
        units: impl FnOnce(&T) -> usize,
        candidates: Vec<f64>,
        quantile: f64,
        mut value_of: impl FnMut(&T, usize) -> f64,
    ) -> Result<Released<f64>, Error> {
        let data = data.expose();
        let values = one_value_per_unit(units(data), |unit| value_of(data, unit));
        // Weights exp(-score / scale): two sensitivities of a score cost epsilon.
        let scale = 2.0 * (quantile.max(1.0 - quantile) + QUANTILE_GRID) / self.epsilon;
        let measurement = make_private_quantile(
            VectorDomain::new(AtomDomain::<f64>::new_non_nan()),
            SymmetricDistance,
            ZeroConcentratedDivergence,
            candidates,
            quantile,
            scale,
        )
        .map_err(|_| Error::Sampler)?;
        // The map is that of bounded range: epsilon^2 / 8.
        let rho = measurement.map(&1).map_err(|_| Error::Sampler)?;
        if !(rho <= self.epsilon * self.epsilon / 8.0) {
            return Err(Error::NotCertified { mechanism: "quantile" });
        }
        let choose = || measurement.invoke(&values).map_err(|_| Error::Sampler);
        #[cfg(feature = "test-noise")]
        let choose = || crate::tape::play_choice("quantile", crate::tape::weights(&values), 1, choose);
        choose().map(Released::by_mechanism)
    }
}

/// At most one number a unit.
fn one_value_per_unit(units: usize, value_of: impl FnMut(usize) -> f64) -> Vec<f64> {
    (0..units).map(value_of).filter(|value| !value.is_nan()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn release(values: Vec<f64>, candidates: Vec<f64>, quantile: f64, epsilon: f64) -> f64 {
        let data = Sensitive::new(values);
        Quantile::new(epsilon).release(&data, Vec::len, candidates, quantile, |d, unit| d[unit]).unwrap().into_inner()
    }

    /// 10,000 values 0..=99, each 100 times, at epsilon 5: a candidate more
    /// than ten away from the quantile scores at least 900 worse and is drawn
    /// with probability below exp(-2000).
    #[test]
    fn an_end_lands_near_the_true_quantile() {
        let values: Vec<f64> = (0..10_000).map(|i| f64::from(i % 100)).collect();
        let candidates: Vec<f64> = (-100..200).map(f64::from).collect();
        for quantile in [0.1, 0.5, 0.9] {
            let end = release(values.clone(), candidates.clone(), quantile, 5.0);
            assert!((end - 100.0 * quantile).abs() <= 10.0, "{quantile}: {end}");
        }
    }

    #[test]
    fn missing_and_infinite_values_are_no_obstacle() {
        let values = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0];
        assert_eq!(release(values, vec![3.0], 0.5, 1.0), 3.0);
        assert!([1.0, 2.0].contains(&release(vec![], vec![1.0, 2.0], 0.5, 1.0)), "no value at all");
    }

    #[test]
    fn no_candidate_is_no_release() {
        let data = Sensitive::new(vec![1.0]);
        assert!(Quantile::new(1.0).release(&data, Vec::len, vec![], 0.5, |d, u| d[u]).is_err());
    }

    proptest! {
        /// OpenDP's map confirms the planned cost for any quantile and epsilon.
        #[test]
        fn every_cost_is_certified(quantile in 0.0f64..=1.0, epsilon in 1e-4f64..100.0) {
            let end = release(vec![1.0, 2.0], vec![0.0, 1.5], quantile, epsilon);
            prop_assert!(end == 0.0 || end == 1.5);
        }

        /// For random neighbouring tables (one unit added anywhere), one value
        /// at most is added, and each score moves by at most `max(q, 1 - q)`.
        #[test]
        fn one_unit_moves_each_score_by_at_most_the_sensitivity(
            table in prop::collection::vec(prop_oneof![-50f64..50.0, Just(f64::NAN)], 0..30),
            extra in prop_oneof![-50f64..50.0, Just(f64::NAN)],
            place in 0usize..30,
            quantile in 0.0f64..=1.0,
        ) {
            let score = |t: &[f64], c: f64| {
                let values = one_value_per_unit(t.len(), |u| t[u]);
                let below = values.iter().filter(|v| **v < c).count() as f64;
                let above = values.iter().filter(|v| **v > c).count() as f64;
                ((1.0 - quantile) * below - quantile * above).abs()
            };
            let mut more = table.clone();
            more.insert(place.min(table.len()), extra);
            for candidate in -50..50 {
                let moved = score(&more, f64::from(candidate)) - score(&table, f64::from(candidate));
                prop_assert!(moved.abs() <= quantile.max(1.0 - quantile) + 1e-9);
            }
        }
    }
}
