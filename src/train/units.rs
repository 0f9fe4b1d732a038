//! How many units a table has, as far as a fit may know it: what its schema declares, or what a mechanism released.
//!
//! The exact number decides nothing. Tables that differ by one unit are both accepted or both refused, and both are fitted
//! with the same rate, the same divisor and the same settings. A table of another number than the declared one is fitted,
//! and the operator's terminal alone is told.

use crate::error::{Error, Result};
use crate::schema::TableSpec;
use schemars::JsonSchema;
use serde::Serialize;
use synthward_privacy::Budget;
use synthward_privacy::plan::{Mechanism, Plan, Share};

/// Fewest units that a model is fitted to.
const LEAST_UNITS: u64 = 10;
/// Number of units that settings are chosen for while it is not public.
const NOMINAL_UNITS: u64 = 20_000;
/// Name of the entry that counts the units.
pub(super) const COUNT: &str = "number of units";
/// Part of the budget (of rho) for counting the units, where their number is not public.
pub(super) const COUNT_SHARE: f64 = 0.01;

/// Above this epsilon the operator is told that it promises little.
const WEAK_EPSILON: f64 = 10.0;
/// Standard deviations of a count by which a category is seen.
const SEEN: f64 = 2.0;
/// A table is too small where a category of this share of its units is not seen.
const SMALL_SHARE: f64 = 0.1;
/// Noise below this, in units, is nothing to speak of.
const LEAST_TOLD: f64 = 0.5;

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
            _ => Ok(()),
        }
    }

    /// The number that settings are chosen for.
    pub fn for_settings(self) -> u64 {
        self.declared.unwrap_or_else(|| NOMINAL_UNITS.max(self.at_least.unwrap_or(0)))
    }

    /// Warns where a released number of units makes delta too large. What was spent is spent: nothing is refused any more.
    pub fn counted(budget: &Budget, units: f64) {
        if budget.check_units(units as u64).is_err() {
            tracing::warn!(
                "delta is not below 1 / (number of units), as they were counted: it would allow publishing a patient \
                 outright; fit with a smaller one"
            );
        }
    }

    /// Tells, before a row is read, what the noise of a plan will leave, and where epsilon promises little.
    pub fn tell(self, plan: &Plan) {
        let Some(noise) = CountNoise::of(plan) else { return };
        let CountNoise { std, least } = noise;
        tracing::info!(
            "counts of a column will be wrong by about {std:.0} units: a category that fewer than {least:.0} have is noise"
        );
        if self.declared.is_some_and(|units| noise.drowns(units as f64)) {
            tracing::warn!("{}", too_small("the units that are declared"));
        }
        let epsilon = plan.epsilon();
        if epsilon > WEAK_EPSILON {
            let nobody =
                if plan.protects() { "" } else { "; it protects nobody, and nothing made of it is called private" };
            tracing::warn!(
                "epsilon {epsilon:.1} promises little: what is released may change the odds of a guess about a person by a \
                 factor of up to e^{epsilon:.0}{nobody}"
            );
        }
    }

    /// Tells the operator, who may know it, where a table has noticeably more or fewer units than are declared, or where none
    /// are declared, so few that the noise of the plan will drown them. Nothing was drawn yet: it can be stopped.
    ///
    /// # Privacy
    /// Touches sensitive data; outside the guarantee, for the operator's terminal alone.
    pub fn compare(self, found: usize, plan: &Plan) {
        let Some(declared) = self.declared.map(|units| units as f64) else {
            if CountNoise::of(plan).is_some_and(|noise| noise.drowns(found as f64)) {
                tracing::warn!("{}", too_small("the units of this table"));
            }
            return;
        };
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

fn too_small(which: &str) -> String {
    format!(
        "the table is too small for this epsilon: of {which}, what not every tenth has is noise; raise epsilon, pool the table \
         with others, or leave columns out"
    )
}

/// What the noise of a plan leaves of the counts of a column.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CountNoise {
    /// Standard deviation of a count, in units.
    pub std: f64,
    /// Of a category that fewer units have nothing is seen but noise.
    pub least: f64,
}

impl CountNoise {
    /// Of a plan whose noise is more than rounding.
    pub fn of(plan: &Plan) -> Option<Self> {
        let counts = plan
            .entries()
            .iter()
            .filter(|entry| entry.share == Share::Measure && entry.mechanism == Mechanism::Histogram);
        let std = counts.map(|entry| entry.noise_multiplier).fold(0.0, f64::max);
        (std >= LEAST_TOLD).then_some(Self { std, least: SEEN * std })
    }

    /// Whether a category that every tenth of so many units has is noise.
    pub fn drowns(self, units: f64) -> bool {
        units * SMALL_SHARE < self.least
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

    /// Half of the counts' budget to each of two columns: at epsilon 1 and delta 1e-6 counts are wrong by about 8.
    #[test]
    fn a_table_is_too_small_where_a_tenth_of_it_drowns() {
        let plan = |budget| {
            let request = |name: &str| {
                let (share, mechanism) = (Share::Measure, Mechanism::Histogram);
                synthward_privacy::plan::Request { name: name.into(), share, weight: 1.0, mechanism }
            };
            Plan::calibrate(synthward_privacy::PrivacyUnit::Row, budget, vec![request("a"), request("b")]).unwrap()
        };
        let noise = CountNoise::of(&plan(Budget::new(1.0, 1e-6).unwrap())).unwrap();
        assert!((4.0..12.0).contains(&noise.std) && noise.least == 2.0 * noise.std, "{noise:?}");
        assert!(noise.drowns(10.0 * noise.least - 1.0) && !noise.drowns(10.0 * noise.least + 1.0));
        assert_eq!(CountNoise::of(&plan(Budget::unlimited())), None);
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
