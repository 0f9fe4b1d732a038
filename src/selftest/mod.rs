//! Does this copy of the program, on this machine, do what the claim rests on?
//!
//! Each check takes a part as users get it (a mechanism that a calibrated plan hands out, the clipping of the compute
//! core, the accountant, the audit), gives it something of which the answer is known, and compares one figure with the
//! range that it may lie in. No real row is involved.
//!
//! | file | holds |
//! |---|---|
//! | `noise` | keys, Gaussian and discrete Gaussian noise, the coins of Poisson sampling |
//! | `clipping` | the norm of a unit's clipped gradient |
//! | `accounting` | the accountant against known epsilons |
//! | `controls` | the audit on tables with and without copies |
//!
//! Checks of chance have a level of [`LEVEL`] each; the others are the same each time. So a sound program fails with a
//! probability below [`FALSE_ALARM`]: a check that fails is a fault.

mod accounting;
mod clipping;
mod controls;
mod noise;

use crate::audit::audit;
use crate::error::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use synthward_privacy::Clip;
use synthward_privacy::accountant::Accountant;

/// A check of chance fails where its p is below this.
const LEVEL: f64 = 5e-8;
/// At most this is the probability that any check of a sound program fails: a bound on the sum of all levels, with room
/// for the error of the chi-square approximation far out.
const FALSE_ALARM: f64 = 1e-6;

/// The outcome of all checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Probability that a sound program fails one of the checks by chance, at most.
    pub false_alarm: f64,
    pub checks: Vec<Check>,
}

/// One figure and the range that it may lie in, ends included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What is tested.
    pub name: String,
    /// What the figure is.
    pub figure: String,
    pub found: f64,
    pub least: f64,
    pub most: f64,
    pub passed: bool,
}

impl Check {
    fn new(name: &str, figure: impl Into<String>, found: f64, allowed: RangeInclusive<f64>) -> Self {
        let (least, most) = (*allowed.start(), *allowed.end());
        Self { name: name.into(), figure: figure.into(), found, least, most, passed: allowed.contains(&found) }
    }

    /// A check of chance: `p` is exact, or too large.
    fn of_chance(name: &str, figure: impl Into<String>, p: f64) -> Self {
        Self::new(name, format!("p of {}", figure.into()), p, LEVEL..=1.0)
    }
}

impl SelfTest {
    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }
}

/// Runs all checks, in about a second.
///
/// # Errors
/// Where a part refuses to work at all: the operating system has no randomness, a plan cannot be calibrated.
///
/// # Privacy
/// Touches no data; the mechanisms run on nothing and release their noise alone.
pub fn selftest() -> Result<SelfTest> {
    let clip = Clip::new(clipping::NORM)?;
    let mut checks = noise::checks(&noise::Samples::draw()?);
    checks.push(clipping::check(&|squared_norm| clip.coefficient(squared_norm)));
    checks.extend(accounting::checks(|event, delta| Accountant::default().epsilon(event, delta)));
    checks.extend(controls::checks(audit)?);
    Ok(SelfTest { false_alarm: FALSE_ALARM, checks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_program_passes() {
        let found = selftest().unwrap();
        assert_eq!(found.failed().collect::<Vec<_>>(), Vec::<&Check>::new());
        let of_chance = found.checks.iter().filter(|check| check.least == LEVEL).count();
        assert!(of_chance as f64 * LEVEL <= FALSE_ALARM / 2.0, "{of_chance} checks of chance");
    }

    #[test]
    fn a_figure_that_is_no_number_fails() {
        assert!(!Check::new("a", "b", f64::NAN, 0.0..=1.0).passed);
        assert!(Check::new("a", "b", 1.0, 0.0..=1.0).passed);
    }
}
