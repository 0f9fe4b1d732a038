//! What a mechanism did to the data, as plain data for any accountant to read.

use crate::accountant::AccountingError;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// One privacy event, or a composition of them.
///
/// All events are stated for add/remove adjacency at the privacy unit:
/// neighbouring datasets differ by one unit's whole contribution. Composition
/// is adaptive: a later mechanism may look at what earlier ones released.
///
/// An event is checked when an accountant reads it: see [`AccountingError`].
///
/// # Privacy
/// Public parameters of mechanisms; touches no data.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Gaussian noise on a vector: standard deviation over L2 sensitivity.
    Gaussian { noise_multiplier: f64 },
    /// The inner mechanism on a Poisson sample: each unit takes part
    /// independently with probability `sampling_rate`, in (0, 1].
    PoissonSubsampled {
        sampling_rate: f64,
        #[serde(rename = "of")]
        event: Box<Event>,
    },
    /// Laplace noise on a number: `scale` over sensitivity.
    Laplace { scale: f64 },
    /// Discrete Gaussian noise, independent in each coordinate, on a vector of
    /// integers. `sigma` is the distribution's parameter and `sensitivity` the
    /// L2 sensitivity, both in the integers' unit (Canonne, Kamath and Steinke
    /// 2020, arXiv:2004.00010). The PLD accountant is exact at sensitivity 1
    /// and otherwise takes a continuous Gaussian that provably reveals more,
    /// with a variance smaller by 1 to 20 of the integers' unit squared: nothing
    /// on a fine grid, some percent of epsilon if sigma is below 10.
    DiscreteGaussian { sigma: f64, sensitivity: u64 },
    /// Discrete Laplace (two-sided geometric) noise on one integer, with
    /// weights `exp(-|k| / scale)`; `scale` and `sensitivity` in the integers' unit.
    DiscreteLaplace { scale: f64, sensitivity: u64 },
    /// Exponential mechanism with weights `exp(epsilon score / (2 sensitivity))`:
    /// bounded range `epsilon` (Durfee and Rogers 2019, arXiv:1905.04273).
    ExponentialMechanism { epsilon: f64 },
    /// Report-noisy-max with noise that gives `epsilon`-DP, whatever the noise;
    /// with Gumbel noise it is the exponential mechanism and better declared so.
    ReportNoisyMax { epsilon: f64 },
    /// Any `epsilon`-DP mechanism.
    PureDp { epsilon: f64 },
    /// Any `(epsilon, delta)`-DP mechanism.
    ApproximateDp { epsilon: f64, delta: f64 },
    /// Any `rho`-zCDP mechanism (Bun and Steinke 2016, arXiv:1605.02065).
    ZeroConcentrated { rho: f64 },
    /// The same mechanism `count` times.
    Repeated {
        #[serde(rename = "of")]
        event: Box<Event>,
        count: u64,
    },
    /// One after another.
    Composed { events: Vec<Event> },
    /// Something that gives no guarantee: epsilon is infinite.
    NonPrivate,
}

impl Event {
    /// The event of DP-SGD: `steps` Gaussian sums, each over its own Poisson sample.
    ///
    /// # Privacy
    /// Public parameters only; touches no data.
    pub fn dp_sgd(sampling_rate: f64, noise_multiplier: f64, steps: u64) -> Self {
        let gaussian = Box::new(Event::Gaussian { noise_multiplier });
        Event::Repeated { event: Box::new(Event::PoissonSubsampled { sampling_rate, event: gaussian }), count: steps }
    }

    /// The name by which an accountant refuses the event.
    ///
    /// # Privacy
    /// Public.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Gaussian { .. } => "Gaussian",
            Event::PoissonSubsampled { .. } => "PoissonSubsampled",
            Event::Laplace { .. } => "Laplace",
            Event::DiscreteGaussian { .. } => "DiscreteGaussian",
            Event::DiscreteLaplace { .. } => "DiscreteLaplace",
            Event::ExponentialMechanism { .. } => "ExponentialMechanism",
            Event::ReportNoisyMax { .. } => "ReportNoisyMax",
            Event::PureDp { .. } => "PureDp",
            Event::ApproximateDp { .. } => "ApproximateDp",
            Event::ZeroConcentrated { .. } => "ZeroConcentrated",
            Event::Repeated { .. } => "Repeated",
            Event::Composed { .. } => "Composed",
            Event::NonPrivate => "NonPrivate",
        }
    }

    /// The single mechanisms and how often each runs: checked, sorted, equal
    /// ones merged, so that order and nesting cannot change any accountant's
    /// answer. Sampling at rate 1 is no sampling.
    ///
    /// # Errors
    /// [`AccountingError::Parameter`] with the field's name;
    /// [`AccountingError::Unsupported`] for sampling of anything but a Gaussian.
    pub(crate) fn mechanisms(&self) -> Result<Vec<(Event, u64)>, AccountingError> {
        let mut found = Vec::new();
        self.collect(1, &mut found)?;
        found.sort_by(|a: &(Event, u64), b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal));
        let mut merged: Vec<(Event, u64)> = Vec::with_capacity(found.len());
        for (event, count) in found {
            match merged.last_mut() {
                Some((last, total)) if *last == event => *total = add(*total, count)?,
                _ => merged.push((event, count)),
            }
        }
        Ok(merged)
    }

    fn collect(&self, count: u64, into: &mut Vec<(Event, u64)>) -> Result<(), AccountingError> {
        match self {
            Event::Composed { events } => return events.iter().try_for_each(|event| event.collect(count, into)),
            Event::Repeated { event, count: times } => {
                if *times == 0 {
                    return Err(AccountingError::parameter("count", 0.0, "at least 1"));
                }
                let count = count.checked_mul(*times).ok_or_else(too_many)?;
                return event.collect(count, into);
            }
            Event::PoissonSubsampled { sampling_rate, event } => {
                if !(*sampling_rate > 0.0 && *sampling_rate <= 1.0) {
                    let expected = "a probability above 0 and at most 1";
                    return Err(AccountingError::parameter("sampling_rate", *sampling_rate, expected));
                }
                if *sampling_rate == 1.0 {
                    return event.collect(count, into);
                }
                match event.as_ref() {
                    Event::Gaussian { noise_multiplier } => positive("noise_multiplier", *noise_multiplier)?,
                    Event::NonPrivate => return Event::NonPrivate.collect(count, into),
                    other => {
                        return Err(AccountingError::Unsupported {
                            accountant: "Poisson subsampling",
                            event: other.name(),
                        });
                    }
                }
            }
            Event::Gaussian { noise_multiplier } => positive("noise_multiplier", *noise_multiplier)?,
            Event::Laplace { scale } => positive("scale", *scale)?,
            Event::DiscreteGaussian { sigma, sensitivity } => {
                positive("sigma", *sigma)?;
                positive("sensitivity", *sensitivity as f64)?;
            }
            Event::DiscreteLaplace { scale, sensitivity } => {
                positive("scale", *scale)?;
                positive("sensitivity", *sensitivity as f64)?;
            }
            Event::ExponentialMechanism { epsilon } | Event::ReportNoisyMax { epsilon } | Event::PureDp { epsilon } => {
                positive("epsilon", *epsilon)?
            }
            Event::ApproximateDp { epsilon, delta } => {
                positive("epsilon", *epsilon)?;
                if !(*delta >= 0.0 && *delta < 1.0) {
                    return Err(AccountingError::parameter("delta", *delta, "a probability below 1"));
                }
            }
            Event::ZeroConcentrated { rho } => positive("rho", *rho)?,
            Event::NonPrivate => {}
        }
        into.push((self.clone(), count));
        Ok(())
    }
}

fn positive(name: &'static str, found: f64) -> Result<(), AccountingError> {
    if found > 0.0 && found.is_finite() {
        Ok(())
    } else {
        Err(AccountingError::parameter(name, found, "a finite number above 0"))
    }
}

fn add(a: u64, b: u64) -> Result<u64, AccountingError> {
    a.checked_add(b).ok_or_else(too_many)
}

fn too_many() -> AccountingError {
    AccountingError::parameter("count", f64::INFINITY, "fewer than 2^64 mechanisms in all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_and_order_do_not_matter() {
        let laplace = Event::Laplace { scale: 2.0 };
        let sgd = Event::dp_sgd(0.1, 1.0, 10);
        let flat = Event::Composed { events: vec![laplace.clone(), sgd.clone(), laplace.clone()] };
        let nested = Event::Composed {
            events: vec![
                Event::Repeated { event: Box::new(Event::Composed { events: vec![laplace] }), count: 2 },
                Event::Composed { events: vec![sgd] },
            ],
        };
        assert_eq!(flat.mechanisms().unwrap(), nested.mechanisms().unwrap());
        assert_eq!(flat.mechanisms().unwrap().iter().map(|m| m.1).sum::<u64>(), 12);
    }

    #[test]
    fn a_full_sample_is_no_sample() {
        assert_eq!(
            Event::dp_sgd(1.0, 2.0, 3).mechanisms().unwrap(),
            vec![(Event::Gaussian { noise_multiplier: 2.0 }, 3)]
        );
    }

    #[test]
    fn odd_parameters_are_refused_by_name() {
        let huge = Event::Repeated { event: Box::new(Event::NonPrivate), count: u64::MAX };
        for (event, culprit) in [
            (Event::dp_sgd(0.0, 1.0, 1), "sampling_rate"),
            (Event::dp_sgd(1.5, 1.0, 1), "sampling_rate"),
            (Event::dp_sgd(f64::NAN, 1.0, 1), "sampling_rate"),
            (Event::dp_sgd(0.1, 0.0, 1), "noise_multiplier"),
            (Event::dp_sgd(0.1, f64::NAN, 1), "noise_multiplier"),
            (Event::dp_sgd(0.1, 1.0, 0), "count"),
            (Event::Repeated { event: Box::new(huge), count: 2 }, "count"),
            (Event::Laplace { scale: f64::INFINITY }, "scale"),
            (Event::DiscreteGaussian { sigma: 1.0, sensitivity: 0 }, "sensitivity"),
            (Event::DiscreteGaussian { sigma: -1.0, sensitivity: 1 }, "sigma"),
            (Event::DiscreteLaplace { scale: 0.0, sensitivity: 1 }, "scale"),
            (Event::PureDp { epsilon: f64::NAN }, "epsilon"),
            (Event::ApproximateDp { epsilon: 1.0, delta: 1.0 }, "delta"),
            (Event::ZeroConcentrated { rho: -1.0 }, "rho"),
        ] {
            let message = event.mechanisms().unwrap_err().to_string();
            assert!(message.starts_with(culprit), "{message}");
        }
        let sampled = Event::PoissonSubsampled { sampling_rate: 0.5, event: Box::new(Event::Laplace { scale: 1.0 }) };
        assert!(sampled.mechanisms().unwrap_err().to_string().contains("Laplace"));
    }

    #[test]
    fn events_survive_json() {
        let event = Event::Composed { events: vec![Event::dp_sgd(0.01, 1.1, 1000), Event::PureDp { epsilon: 0.5 }] };
        let json = serde_json::to_string(&event).unwrap();
        assert!(json.contains(r#""event":"composed""#), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }
}
