//! From an event to (epsilon, delta): three accountants behind one door.
//!
//! | accountant | composes | answer |
//! |---|---|---|
//! | [`Accountant::Pld`] | privacy loss distributions | tight; a rounded-up figure |
//! | [`Accountant::Rdp`] | Renyi divergences at fixed orders | an upper bound, some 5 to 15 % above for DP-SGD |
//! | [`Accountant::Zcdp`] | rho | an upper bound; knows no subsampling |
//!
//! All take add/remove adjacency, both directions, and adaptive composition.
//! Every figure is an upper bound on what the mechanisms leak. An event that
//! an accountant cannot read is refused by name; [`Event::NonPrivate`] costs
//! infinity.

mod lattice;
mod numeric;
mod pair;
mod pld;
mod rdp;
pub(crate) mod zcdp;

use crate::event::Event;
use pair::Bound;
use serde::{Deserialize, Serialize};

/// What an accountant refuses. It names the culprit.
///
/// # Privacy
/// Holds public parameters only.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AccountingError {
    /// A parameter outside its range.
    #[error("{name} = {found} is not usable; expected {expected}")]
    Parameter { name: &'static str, found: f64, expected: &'static str },
    /// An event that this accountant has no sound bound for.
    #[error("{accountant} cannot account for the event {event}; take another accountant")]
    Unsupported { accountant: &'static str, event: &'static str },
    /// No noise in the searched range meets the target.
    #[error("no {what} between {low:e} and {high:e} meets epsilon {epsilon} at delta {delta:e}")]
    Unreachable { what: &'static str, low: f64, high: f64, epsilon: f64, delta: f64 },
}

impl AccountingError {
    pub(crate) fn parameter(name: &'static str, found: f64, expected: &'static str) -> Self {
        AccountingError::Parameter { name, found, expected }
    }
}

/// Which theory turns an event into (epsilon, delta).
///
/// # Privacy
/// Public: part of the claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accountant {
    /// Privacy loss distributions, composed by FFT.
    #[default]
    Pld,
    /// Renyi differential privacy (Mironov 2017, arXiv:1702.07476).
    Rdp,
    /// Zero-concentrated differential privacy (Bun and Steinke 2016, arXiv:1605.02065).
    Zcdp,
}

impl std::fmt::Display for Accountant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Accountant::Pld => "privacy loss distribution (PLD)",
            Accountant::Rdp => "Renyi differential privacy (RDP)",
            Accountant::Zcdp => "zero-concentrated differential privacy (zCDP)",
        })
    }
}

impl Accountant {
    /// The smallest epsilon this accountant can prove at `delta`: at least 0,
    /// infinite where there is no guarantee.
    ///
    /// # Errors
    /// A delta outside (0, 1), a parameter of the event out of range, or an
    /// event that this accountant does not read.
    ///
    /// # Privacy
    /// Post-processing: arithmetic on public parameters, touches no data.
    pub fn epsilon(self, event: &Event, delta: f64) -> Result<f64, AccountingError> {
        check_delta(delta)?;
        match self {
            Accountant::Pld => pld::epsilon(event, delta, Bound::Upper),
            Accountant::Rdp => rdp::epsilon(event, delta),
            Accountant::Zcdp => Ok(zcdp::epsilon(zcdp::rho(event)?, delta)),
        }
    }

    /// The smallest delta this accountant can prove at `epsilon`: at most 1.
    ///
    /// # Errors
    /// An epsilon that is negative or not finite, and as [`Accountant::epsilon`].
    ///
    /// # Privacy
    /// Post-processing: arithmetic on public parameters, touches no data.
    pub fn delta(self, event: &Event, epsilon: f64) -> Result<f64, AccountingError> {
        check_epsilon(epsilon)?;
        match self {
            Accountant::Pld => pld::delta(event, epsilon, Bound::Upper),
            Accountant::Rdp => rdp::delta(event, epsilon),
            Accountant::Zcdp => Ok(zcdp::delta(zcdp::rho(event)?, epsilon)),
        }
    }
}

/// The optimistic twin of [`Accountant::Pld`]: no sound accounting of the event
/// can prove an epsilon below this at `delta`.
///
/// # Errors
/// As [`Accountant::epsilon`].
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub fn epsilon_lower(event: &Event, delta: f64) -> Result<f64, AccountingError> {
    check_delta(delta)?;
    pld::epsilon(event, delta, Bound::Lower)
}

/// The optimistic twin of [`Accountant::Pld`] for delta at `epsilon`.
///
/// # Errors
/// As [`Accountant::delta`].
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub fn delta_lower(event: &Event, epsilon: f64) -> Result<f64, AccountingError> {
    check_epsilon(epsilon)?;
    pld::delta(event, epsilon, Bound::Lower)
}

/// Whether the PLD accountant answers without a lattice.
pub(crate) fn has_closed_form(event: &Event) -> Result<bool, AccountingError> {
    Ok(match event.mechanisms()?.as_slice() {
        [] | [(_, 1)] => true,
        events => events.iter().all(|e| matches!(e.0, Event::Gaussian { .. } | Event::ZeroConcentrated { .. })),
    })
}

pub(crate) fn check_delta(delta: f64) -> Result<(), AccountingError> {
    if delta > 0.0 && delta < 1.0 {
        Ok(())
    } else {
        Err(AccountingError::parameter("delta", delta, "a probability above 0 and below 1"))
    }
}

pub(crate) fn check_epsilon(epsilon: f64) -> Result<(), AccountingError> {
    if epsilon >= 0.0 && epsilon.is_finite() {
        Ok(())
    } else {
        Err(AccountingError::parameter("epsilon", epsilon, "a finite number, at least 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Accountant; 3] = [Accountant::Pld, Accountant::Rdp, Accountant::Zcdp];

    fn repeated(event: Event, count: u64) -> Event {
        Event::Repeated { event: Box::new(event), count }
    }

    fn composed(events: &[Event]) -> Event {
        Event::Composed { events: events.to_vec() }
    }

    fn pld(event: &Event, delta: f64) -> f64 {
        Accountant::Pld.epsilon(event, delta).unwrap()
    }

    #[test]
    fn golden_epsilons() {
        let gaussian = |noise_multiplier| Event::Gaussian { noise_multiplier };
        let discrete_laplace = |scale, count| repeated(Event::DiscreteLaplace { scale, sensitivity: 1 }, count);
        // T = 1 or q = 1: closed form (Balle-Wang; hockey-stick), mpmath 1.4.1. Others: saddle-point contour in
        // numpy 2.4.6, two contours agreeing to 1e-8; dp-accounting 0.6.0 (PLD) lies 1e-9 to 2e-4 above each.
        for (event, delta, truth) in [
            (gaussian(0.3), 1e-6, 20.781_222_256_538_165),
            (gaussian(2.0), 1e-12, 3.449_052_150_482_807_6),
            (gaussian(50.0), 1e-6, 0.070_960_682_985_433_16),
            (Event::dp_sgd(1.0, 50.0, 1_000_000), 1e-5, 284.391_849_497_742_5),
            (Event::dp_sgd(0.01, 1.0, 1), 1e-5, 0.199_450_447_795_914_73),
            (Event::dp_sgd(1e-5, 0.3, 1), 1e-6, 0.077_338_028_207_914_55),
            (Event::dp_sgd(0.2, 2.0, 1), 1e-9, 1.384_147_377_304_872_3),
            (Event::dp_sgd(0.1, 5.0, 1000), 1e-5, 2.650_676_806_790_564_4),
            (Event::dp_sgd(0.5, 0.3, 10), 1e-5, 75.506_973_471_209_76),
            (Event::dp_sgd(0.9, 2.0, 100), 1e-6, 31.302_609_083_785_793),
            (Event::dp_sgd(0.05, 1.5, 500), 1e-12, 6.686_646_681_938_76),
            (Event::dp_sgd(0.0625, 1.3, 2), 1e-5, 0.723_057_522_836_471_6),
            (composed(&[repeated(gaussian(20.0), 8), Event::dp_sgd(0.01, 1.1, 1000)]), 1e-6, 1.859_083_708_485_491_6),
            (
                composed(&[discrete_laplace(1.0, 1), discrete_laplace(4.0, 3), Event::dp_sgd(0.05, 3.0, 400)]),
                1e-5,
                2.910_511_951_878_332_2,
            ),
        ] {
            let (upper, lower) = (pld(&event, delta), epsilon_lower(&event, delta).unwrap());
            assert!(
                upper >= truth * (1.0 - 1e-9) && upper <= truth * (1.0 + 5e-5),
                "{event:?}: {upper}, truth {truth}"
            );
            assert!(
                lower <= truth * (1.0 + 1e-9) && lower >= truth * (1.0 - 5e-4),
                "{event:?}: {lower}, truth {truth}"
            );
            let rdp = Accountant::Rdp.epsilon(&event, delta).unwrap();
            assert!(rdp >= truth && rdp < 80.0 * truth, "{event:?}: {rdp}");
        }
    }

    #[test]
    fn golden_renyi_epsilons() {
        // dp-accounting 0.6.0, RdpAccountant; our orders are a superset of its default ones.
        for (event, delta, theirs) in [
            (Event::dp_sgd(0.01, 1.0, 1), 1e-5, 0.955_549_148_028_879_2),
            (Event::dp_sgd(0.001, 0.8, 100_000), 1e-8, 3.889_997_475_124_777_4),
            (Event::dp_sgd(0.05, 1.5, 500), 1e-12, 7.007_794_529_982_831_5),
            (Event::Gaussian { noise_multiplier: 1.0 }, 1e-5, 4.728_507_067_217_623),
        ] {
            let ours = Accountant::Rdp.epsilon(&event, delta).unwrap();
            assert!(ours <= theirs * (1.0 + 1e-9) && ours > theirs * (1.0 - 1e-5), "{event:?}: {ours} {theirs}");
        }
    }

    #[test]
    fn laplace_has_its_closed_form() {
        // delta = 1 - exp((epsilon - 1 / scale) / 2) for 0 <= epsilon <= 1 / scale
        for epsilon in [0.0f64, 0.3, 0.49] {
            let found = Accountant::Pld.delta(&Event::Laplace { scale: 2.0 }, epsilon).unwrap();
            assert!((found + (0.5 * (epsilon - 0.5)).exp_m1()).abs() < 1e-15, "{found}");
        }
    }

    /// Delta of `k` randomized responses by their binomial sum.
    fn randomized_responses(each: f64, k: i32, epsilon: f64) -> f64 {
        let truth = 1.0 / (1.0 + (-each).exp());
        let mut binomial = 1.0;
        (0..=k)
            .map(|lies| {
                if lies > 0 {
                    binomial *= f64::from(k - lies + 1) / f64::from(lies);
                }
                let mass = binomial * truth.powi(k - lies) * (1.0 - truth).powi(lies);
                mass * -(epsilon - each * f64::from(k - 2 * lies)).min(0.0).exp_m1()
            })
            .sum()
    }

    #[test]
    fn compositions_of_pure_mechanisms_match_their_binomial_sum() {
        for (each, k) in [(0.5, 2), (0.2, 30), (1.0, 7)] {
            for delta in [1e-3, 1e-6] {
                let event = repeated(Event::PureDp { epsilon: each }, k as u64);
                let (upper, lower) = (pld(&event, delta), epsilon_lower(&event, delta).unwrap());
                assert!(randomized_responses(each, k, upper) <= delta * (1.0 + 1e-9), "{each} {k} {delta}: {upper}");
                let tighter = upper * (1.0 - 2e-4);
                assert!(randomized_responses(each, k, tighter) > delta, "{each} {k} {delta}: {upper}");
                assert!(lower <= upper && lower > upper * (1.0 - 2e-3), "{lower} {upper}");
            }
        }
    }

    /// Delta of discrete Gaussian noise on an integer of this sensitivity, straight from its definition
    /// (Canonne, Kamath and Steinke 2020, theorem 7).
    fn discrete_gaussian(sigma: f64, shift: i64, epsilon: f64) -> f64 {
        let reach = (30.0 * sigma) as i64 + shift;
        let density = |k: i64| (-0.5 * (k as f64 / sigma).powi(2)).exp();
        let norm: f64 = (-reach..=reach).map(density).sum();
        (-reach..=reach).map(|k| (density(k) - epsilon.exp() * density(k - shift)).max(0.0) / norm).sum()
    }

    #[test]
    fn discrete_gaussians_match_their_definition() {
        for (sigma, delta) in [(0.7, 1e-3), (3.0, 1e-6), (40.0, 1e-9)] {
            let epsilon = pld(&Event::DiscreteGaussian { sigma, sensitivity: 1 }, delta);
            assert!((discrete_gaussian(sigma, 1, epsilon) / delta - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn discrete_gaussian_vectors_are_covered() {
        for (sigma, sensitivity, slack) in [(12.0, 2u64, 0.03), (60.0, 3, 0.003)] {
            let event = Event::DiscreteGaussian { sigma, sensitivity };
            let (upper, lower) = (pld(&event, 1e-6), epsilon_lower(&event, 1e-6).unwrap());
            // All of the sensitivity in one coordinate, or one in each of its square.
            assert!(discrete_gaussian(sigma, sensitivity as i64, upper) <= 1e-6);
            let spread = repeated(Event::DiscreteGaussian { sigma, sensitivity: 1 }, sensitivity * sensitivity);
            assert!(upper >= epsilon_lower(&spread, 1e-6).unwrap());
            assert!(lower <= upper && lower > upper * (1.0 - slack), "{lower} {upper}");
        }
        // On a fine grid there is nothing to pay.
        let grid = 1u64 << 20;
        let fine = pld(&Event::DiscreteGaussian { sigma: 3.0 * grid as f64, sensitivity: grid }, 1e-6);
        let smooth = pld(&Event::Gaussian { noise_multiplier: 3.0 }, 1e-6);
        assert!(fine >= smooth && fine < smooth * (1.0 + 1e-9), "{fine} {smooth}");
    }

    #[test]
    fn bounded_range_lies_between_its_worst_pair_and_pure_privacy() {
        for epsilon in [0.3, 2.0] {
            let event = Event::ExponentialMechanism { epsilon };
            for at in [0.0, 0.1, 0.5 * epsilon] {
                let found = Accountant::Pld.delta(&event, at).unwrap();
                // Losses t and t - epsilon with the probability that makes them one.
                let worst = (1..1000).map(|i| {
                    let t = epsilon * f64::from(i) / 1000.0;
                    let high = (epsilon.exp() - t.exp()) / epsilon.exp_m1();
                    high * -(at - t).min(0.0).exp_m1() + (1.0 - high) * -(at - t + epsilon).min(0.0).exp_m1()
                });
                let worst = worst.fold(0.0, f64::max);
                assert!(found >= worst - 1e-15 && found < worst + 1e-6, "{found} {worst}");
                assert!(found < Accountant::Pld.delta(&Event::PureDp { epsilon }, at).unwrap());
            }
        }
        let (bounded, pure) = (Event::ExponentialMechanism { epsilon: 0.1 }, Event::PureDp { epsilon: 0.1 });
        for accountant in ALL {
            let epsilon = |event: &Event| accountant.epsilon(&repeated(event.clone(), 50), 1e-6).unwrap();
            assert!(epsilon(&bounded) < 0.8 * epsilon(&pure), "{accountant:?}");
        }
    }

    #[test]
    fn every_accountant_keeps_the_house_rules() {
        let gaussians = composed(&[
            repeated(Event::Gaussian { noise_multiplier: 5.0 }, 3),
            Event::PureDp { epsilon: 0.1 },
            Event::Laplace { scale: 8.0 },
            Event::DiscreteLaplace { scale: 20.0, sensitivity: 2 },
            Event::ExponentialMechanism { epsilon: 0.2 },
            Event::ReportNoisyMax { epsilon: 0.1 },
            Event::DiscreteGaussian { sigma: 30.0, sensitivity: 2 },
        ]);
        let tight = pld(&gaussians, 1e-6);
        for accountant in ALL {
            assert_eq!(accountant.epsilon(&Event::NonPrivate, 0.5), Ok(f64::INFINITY));
            assert_eq!(accountant.delta(&composed(&[gaussians.clone(), Event::NonPrivate]), 1.0), Ok(1.0));
            assert_eq!(accountant.epsilon(&composed(&[]), 1e-6), Ok(0.0));
            assert_eq!(accountant.delta(&composed(&[]), 0.0), Ok(0.0));
            let epsilon = accountant.epsilon(&gaussians, 1e-6).unwrap();
            assert!(epsilon >= tight && epsilon < 2.0 * tight, "{accountant:?} {epsilon} {tight}");
            let delta = accountant.delta(&gaussians, epsilon).unwrap();
            assert!((delta / 1e-6 - 1.0).abs() < 0.01, "{accountant:?} {delta}");
            for delta in [0.0, 1.0, -1.0, f64::NAN] {
                assert!(accountant.epsilon(&gaussians, delta).unwrap_err().to_string().starts_with("delta"));
            }
            for epsilon in [-1.0, f64::NAN, f64::INFINITY] {
                assert!(accountant.delta(&gaussians, epsilon).unwrap_err().to_string().starts_with("epsilon"));
            }
            assert!(accountant.epsilon(&Event::dp_sgd(f64::NAN, 1.0, 1), 0.1).is_err());
        }
        let refused = |accountant: Accountant, event: Event, name: &str| {
            assert!(accountant.epsilon(&event, 1e-6).unwrap_err().to_string().contains(name));
        };
        refused(Accountant::Zcdp, Event::dp_sgd(0.1, 1.0, 1), "PoissonSubsampled");
        refused(Accountant::Zcdp, Event::ApproximateDp { epsilon: 1.0, delta: 1e-9 }, "ApproximateDp");
        refused(Accountant::Pld, Event::ZeroConcentrated { rho: 1.0 }, "ZeroConcentrated");
    }

    #[test]
    fn the_deltas_of_approximate_events_are_spent() {
        let event = repeated(Event::ApproximateDp { epsilon: 0.1, delta: 1e-7 }, 20);
        for accountant in [Accountant::Pld, Accountant::Rdp] {
            assert_eq!(accountant.epsilon(&event, 1e-6), Ok(f64::INFINITY));
            let epsilon = accountant.epsilon(&event, 1e-5).unwrap();
            assert!(epsilon > accountant.epsilon(&repeated(Event::PureDp { epsilon: 0.1 }, 20), 1e-5).unwrap());
            assert!(epsilon < 2.0);
            assert!(accountant.delta(&event, epsilon).unwrap() >= 2e-6 * (1.0 - 1e-6));
        }
    }

    #[test]
    fn extreme_events_are_answered_soundly() {
        for (event, delta) in [
            (Event::dp_sgd(0.02, 2.0, 2500), 1e-12),
            (Event::dp_sgd(1e-6, 1.0, 1000), 1e-10),
            (Event::dp_sgd(0.5, 0.05, 3), 1e-9),
            (Event::dp_sgd(0.999, 0.3, 30), 1e-3),
            (Event::dp_sgd(0.3, 200.0, 50), 0.3),
        ] {
            let (upper, lower) = (pld(&event, delta), epsilon_lower(&event, delta).unwrap());
            let rdp = Accountant::Rdp.epsilon(&event, delta).unwrap();
            assert!(0.0 <= lower && lower <= upper && upper <= rdp * (1.0 + 1e-4), "{event:?} {lower} {upper} {rdp}");
        }
        // q .02, sigma 2, T 2500 at 1e-12: saddle-point contour 3.82829, prv-accountant 0.2.0 estimates 3.828289.
        let epsilon = pld(&Event::dp_sgd(0.02, 2.0, 2500), 1e-12);
        assert!((3.828_28..3.828_6).contains(&epsilon), "{epsilon}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        #[test]
        fn monotone_and_bracketed(
            rate in 0.01f64..1.0,
            noise_multiplier in 0.8f64..8.0,
            steps in 2u64..150,
            log_delta in -25.0f64..-4.0,
            more in 1.02f64..2.0,
        ) {
            let delta = log_delta.exp();
            let epsilon = |rate: f64, noise: f64, steps: u64, delta: f64| pld(&Event::dp_sgd(rate, noise, steps), delta);
            let here = epsilon(rate, noise_multiplier, steps, delta);
            prop_assert!(here >= epsilon(rate, noise_multiplier * more, steps, delta), "noise");
            prop_assert!(here <= epsilon((rate * more).min(1.0), noise_multiplier, steps, delta), "rate");
            prop_assert!(here <= epsilon(rate, noise_multiplier, steps * 2, delta), "steps");
            prop_assert!(here >= epsilon(rate, noise_multiplier, steps, delta * more), "delta");
            let event = Event::dp_sgd(rate, noise_multiplier, steps);
            prop_assert!(epsilon_lower(&event, delta).unwrap() <= here);
            prop_assert!(here <= Accountant::Rdp.epsilon(&event, delta).unwrap() * (1.0 + 1e-4));
            let back = Accountant::Pld.delta(&event, here).unwrap();
            prop_assert!(delta_lower(&event, here).unwrap() <= delta * (1.0 + 1e-6));
            prop_assert!((back / delta - 1.0).abs() < 5e-3 || here == 0.0, "{back} {delta}");
        }

        #[test]
        fn order_and_nesting_do_not_matter(
            events in prop::collection::vec(prop_oneof![
                (0.5f64..5.0).prop_map(|scale| Event::Laplace { scale }),
                (1.0f64..9.0).prop_map(|noise_multiplier| Event::Gaussian { noise_multiplier }),
                (0.1f64..1.0).prop_map(|epsilon| Event::ExponentialMechanism { epsilon }),
                (2.0f64..9.0).prop_map(|sigma| Event::DiscreteGaussian { sigma, sensitivity: 1 }),
                (0.1f64..0.9, 1u64..20).prop_map(|(rate, steps)| Event::dp_sgd(rate, 4.0, steps)),
            ], 2..5),
        ) {
            let flat = composed(&events);
            let turned: Vec<Event> = events.iter().rev().cloned().collect();
            let nested = composed(&[composed(&turned[..1]), composed(&[composed(&turned[1..])])]);
            prop_assert_eq!(pld(&flat, 1e-5), pld(&nested, 1e-5));
            prop_assert_eq!(Accountant::Rdp.epsilon(&flat, 1e-5), Accountant::Rdp.epsilon(&nested, 1e-5));
            prop_assert!(pld(&flat, 1e-5) >= pld(&composed(&events[1..]), 1e-5));
            prop_assert!(pld(&flat, 1e-5) >= epsilon_lower(&flat, 1e-5).unwrap());
        }
    }
}
