//! How many units a table has, as far as a fit may know it: what its schema declares, or what a mechanism released.
//!
//! The exact number decides nothing. Tables that differ by one unit are both accepted or both refused, and both are fitted
//! with the same rate, the same divisor and the same settings. A table of another number than the declared one is fitted,
//! and the operator's terminal alone is told.

use crate::error::{Error, Result};
use crate::schema::TableSpec;
use synthward_privacy::Budget;

/// Fewest units that a model is fitted to ...
const LEAST_UNITS: u64 = 10;
/// ... and those below which it is hardly more than its noise.
const FEW_UNITS: f64 = 1000.0;
/// Number of units that settings are chosen for while it is not public.
const NOMINAL_UNITS: u64 = 20_000;
/// Name of the entry that counts the units.
pub(super) const COUNT: &str = "number of units";
/// Part of the budget (of rho) for counting the units, where their number is not public.
pub(super) const COUNT_SHARE: f64 = 0.01;

/// The operator is told of a number of units that is off by more than this share of the declared one ...
const TOLD_SHARE: f64 = 0.01;
/// ... and by more than so many.
const TOLD_UNITS: f64 = 10.0;
/// Standard deviations of noise by which released counts have to differ from a number of units before they are believed.
const DOUBT: f64 = 4.0;

/// What a schema says of the number of units.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicUnits {
    /// Their number, where it is public.
    pub declared: Option<u64>,
    /// A number that they are not below, where that is public.
    at_least: Option<u64>,
}

impl PublicUnits {
    pub fn of(table: &TableSpec) -> Self {
        Self { declared: table.units, at_least: table.at_least_units }
    }

    /// Checks a budget, and that there is something to fit, before anything is spent.
    ///
    /// # Errors
    /// A delta that would allow publishing a unit outright; bad input where fewer units are declared than are of use.
    pub fn check(self, budget: &Budget) -> Result<()> {
        let Some(units) = self.declared.or(self.at_least) else { return Ok(budget.check_delta()?) };
        budget.check_units(units)?;
        match self.declared {
            Some(units) if units < LEAST_UNITS => Err(Error::bad_input("fewer units are declared than a model is of")
                .expected(format!("at least {LEAST_UNITS} units"))
                .remedy("a model of so few people would be noise alone; pool the table with others")),
            Some(units) => {
                warn_of_few(units as f64);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The number that settings are chosen for.
    pub fn for_settings(self) -> u64 {
        self.declared.unwrap_or_else(|| NOMINAL_UNITS.max(self.at_least.unwrap_or(0)))
    }

    /// Warns where a released number of units makes delta too large, or the model useless. What was spent is spent: nothing
    /// is refused any more.
    pub fn counted(budget: &Budget, units: f64) {
        if budget.check_units(units as u64).is_err() {
            tracing::warn!(
                "delta is not below 1 / (number of units), as they were counted: it would allow publishing a patient \
                 outright; fit with a smaller one"
            );
        }
        warn_of_few(units);
    }

    /// Tells the operator, who may know it, where a table has noticeably more or fewer units than are declared.
    ///
    /// # Privacy
    /// Touches sensitive data; outside the guarantee, for the operator's terminal alone.
    pub fn compare(self, found: usize) {
        let Some(declared) = self.declared.map(|units| units as f64) else { return };
        let more = found as f64 - declared;
        if more.abs() > TOLD_UNITS.max(TOLD_SHARE * declared) {
            let what = if more > 0.0 { "more" } else { "fewer" };
            tracing::warn!(
                "the table has noticeably {what} units than the schema declares; it is fitted as if there were as many as \
                 declared: correct `units`, or remove it to have them counted privately"
            );
        }
    }
}

fn warn_of_few(units: f64) {
    if units < FEW_UNITS {
        tracing::warn!("there are few units: at a finite epsilon the model is hardly more than its noise");
    }
}

/// What noisy counts say of the number of units, for each histogram adds up to it.
///
/// A declared number may be wrong. Shares of a wrong number would not add up to one, so once the counts differ from it by
/// more than their noise, theirs is taken. It costs nothing: they were released.
pub(super) struct Total {
    expected: f64,
    weighted: f64,
    precision: f64,
}

impl Total {
    /// Of a declared or released number.
    pub fn new(expected: f64) -> Self {
        Self { expected, weighted: 0.0, precision: 0.0 }
    }

    /// Takes in the released counts of a partition, each with noise of this standard deviation.
    pub fn add(&mut self, counts: &[f64], noise_std: f64) {
        let precision = 1.0 / (counts.len().max(1) as f64 * noise_std.powi(2));
        self.weighted += precision * counts.iter().sum::<f64>();
        self.precision += precision;
    }

    /// The number of units to go by.
    pub fn get(&self) -> f64 {
        let counted = self.weighted / self.precision;
        let is_other = (counted - self.expected).abs() > DOUBT / self.precision.sqrt();
        if is_other { counted.max(1.0) } else { self.expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_believed_where_their_noise_cannot_explain_them() {
        let mut total = Total::new(1000.0);
        assert_eq!(total.get(), 1000.0, "nothing was counted yet");
        total.add(&[500.0, 535.0, 0.0, 0.0], 10.0);
        assert_eq!(total.get(), 1000.0, "35 is below four standard deviations of 20");
        total.add(&[2000.0], 10.0);
        assert!((total.get() - (1035.0 / 4.0 + 2000.0) / 1.25).abs() < 1e-9);
        let mut none = Total::new(50.0);
        none.add(&[-900.0], 10.0);
        assert_eq!(none.get(), 1.0);
    }

    #[test]
    fn delta_is_held_against_what_is_public() {
        let budget = |delta| Budget::new(1.0, delta).unwrap();
        let units = |declared, at_least| PublicUnits { declared, at_least };
        assert!(units(Some(9_999), None).check(&budget(1e-4)).is_ok());
        assert!(units(Some(10_000), None).check(&budget(1e-4)).is_err());
        assert!(units(None, Some(9_999)).check(&budget(1e-4)).is_ok());
        assert!(units(None, Some(10_000)).check(&budget(1e-4)).is_err());
        assert!(units(None, None).check(&budget(1e-5)).is_ok() && units(None, None).check(&budget(2e-5)).is_err());
        assert!(units(Some(LEAST_UNITS - 1), None).check(&budget(1e-6)).is_err());
        assert!(units(None, None).check(&Budget::unlimited()).is_ok());
        assert_eq!(units(None, Some(5)).for_settings(), NOMINAL_UNITS);
        assert_eq!(units(None, Some(NOMINAL_UNITS + 1)).for_settings(), NOMINAL_UNITS + 1);
    }
}
