//! Checked parameters: a value of these types is in its range.

use crate::Error;
use serde::{Deserialize, Serialize};

/// The target of a fit: (epsilon, delta) at the privacy unit, or no limit at all.
///
/// # Privacy
/// Public parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    #[serde(with = "crate::infinite")]
    epsilon: f64,
    delta: f64,
}

/// Above this a guarantee says nothing worth printing; it is taken for a typing error.
///
/// # Privacy
/// Public.
pub const LARGEST_EPSILON: f64 = 1000.0;

/// The largest delta of a fit to a table of whose number of units nothing is public. It lies below one over their number
/// for up to 100,000 units; who has more and says so is held to less.
///
/// # Privacy
/// Public parameter.
pub const LARGEST_UNCOUNTED_DELTA: f64 = 1e-5;

impl Budget {
    /// Checks a target.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `0 < epsilon <= 1000` and `0 < delta < 1`.
    ///
    /// # Privacy
    /// Public parameters only; touches no data.
    pub fn new(epsilon: f64, delta: f64) -> Result<Self, Error> {
        if !(epsilon > 0.0 && epsilon <= LARGEST_EPSILON) {
            return Err(Error::Parameter {
                name: "epsilon",
                found: epsilon.to_string(),
                expected: "a number above 0 and at most 1000",
            });
        }
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::Parameter {
                name: "delta",
                found: delta.to_string(),
                expected: "a number above 0 and below 1 / (number of units)",
            });
        }
        Ok(Self { epsilon, delta })
    }

    /// No limit: epsilon is infinite, delta is 0 and means nothing. What is planned under it adds no noise and protects
    /// nobody: the non-private reference that private models are compared with. Nothing else makes an infinite target.
    ///
    /// # Privacy
    /// Voids every guarantee; plans made of it say so.
    pub fn unlimited() -> Self {
        Self { epsilon: f64::INFINITY, delta: 0.0 }
    }

    /// Whether this is [`Budget::unlimited`].
    ///
    /// # Privacy
    /// Public parameter.
    pub fn is_unlimited(&self) -> bool {
        self.epsilon == f64::INFINITY
    }

    /// The target epsilon; infinite when there is no limit.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// The target delta.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn delta(&self) -> f64 {
        self.delta
    }

    /// Refuses a delta that would allow publishing one unit outright: it must
    /// stay below one over the number of units.
    ///
    /// # Privacy
    /// `units` is public by declaration, their number or one that they are not below, or was released by a mechanism.
    pub fn check_units(&self, units: u64) -> Result<(), Error> {
        if units > 0 && self.delta * units as f64 >= 1.0 {
            return Err(Error::Parameter {
                name: "delta",
                found: self.delta.to_string(),
                expected: "a number below 1 / (number of units): a larger one would allow publishing a patient outright",
            });
        }
        Ok(())
    }

    /// Refuses a delta above [`LARGEST_UNCOUNTED_DELTA`], where nothing is public of the number of units.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn check_delta(&self) -> Result<(), Error> {
        if self.delta > LARGEST_UNCOUNTED_DELTA {
            return Err(Error::Parameter {
                name: "delta",
                found: self.delta.to_string(),
                expected: "at most 1e-5 where the number of units is not public: declare a number that they are not \
                           below for a larger one",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_refuses_what_is_no_budget() {
        for (epsilon, delta) in [
            (0.0, 1e-6),
            (-1.0, 1e-6),
            (f64::NAN, 1e-6),
            (f64::INFINITY, 1e-6),
            (1.0, 0.0),
            (1.0, 1.0),
            (1.0, f64::NAN),
        ] {
            assert!(Budget::new(epsilon, delta).is_err(), "{epsilon} {delta}");
        }
        assert!(Budget::new(1.0, 1e-6).is_ok());
    }

    #[test]
    fn only_its_own_constructor_makes_a_budget_without_a_limit() {
        let unlimited = Budget::unlimited();
        assert!(unlimited.is_unlimited() && unlimited.check_units(u64::MAX).is_ok());
        assert!(!Budget::new(LARGEST_EPSILON, 1e-6).unwrap().is_unlimited());
        let json = serde_json::to_string(&unlimited).unwrap();
        assert_eq!(serde_json::from_str::<Budget>(&json).unwrap(), unlimited, "{json}");
    }

    #[test]
    fn delta_must_stay_below_one_over_units() {
        let budget = Budget::new(1.0, 1e-4).unwrap();
        assert!(budget.check_units(9_999).is_ok());
        assert!(budget.check_units(10_000).is_err());
    }
}
