//! Does what was released look like what the plan describes?
//!
//! A bound on epsilon says little where the claim is large. These tests need no attacker: the auditor knows the coins, and
//! who was drawn, so it knows the law of what must come out.

use crate::audit::bound::normal_cdf;
use crate::audit::statistics::holm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The chance that any of an honest run's tests fails.
pub const FAMILY_SIGNIFICANCE: f64 = 0.01;

/// One test of what was released against the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conformity {
    pub name: String,
    /// The chance of such a result, or a worse one, when the plan is kept.
    pub p: f64,
    /// The same after Holm's correction for the number of tests: a value below 0.01 is a bug.
    pub p_holm: f64,
}

/// A test before the correction.
pub struct Check {
    name: &'static str,
    p: f64,
}

impl Check {
    pub fn new(name: &'static str, p: f64) -> Self {
        // What cannot be computed does not conform.
        Self { name, p: if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) } }
    }
}

/// The tests, corrected together, the clearest first.
pub fn corrected(mut checks: Vec<Check>) -> Vec<Conformity> {
    checks.sort_by(|a, b| a.p.total_cmp(&b.p));
    let weight = 1.0 / checks.len().max(1) as f64;
    let adjusted = holm(&checks.iter().map(|check| (check.p, weight)).collect::<Vec<_>>());
    checks
        .into_iter()
        .zip(adjusted)
        .map(|(Check { name, p }, p_holm)| Conformity { name: name.into(), p, p_holm })
        .collect()
}

/// `P(|Z| >= |z|)` for a standard normal Z.
pub fn two_sided(z: f64) -> f64 {
    2.0 * normal_cdf(-z.abs())
}

/// `P(X <= squares)` for X chi-squared with so many degrees of freedom, by the cube-root approximation of Wilson and
/// Hilferty (1931).
pub fn chi_squared_below(squares: f64, degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    normal_cdf(((squares / degrees).cbrt() - (1.0 - spread)) / spread.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrected_by_hand() {
        let tests = corrected(vec![Check::new("a", 0.02), Check::new("b", 0.9), Check::new("c", 0.01)]);
        let wanted = [("c", 0.03), ("a", 0.04), ("b", 0.9)];
        assert!(tests.iter().zip(wanted).all(|(t, (name, p))| t.name == name && (t.p_holm - p).abs() < 1e-12));
        assert_eq!(corrected(vec![Check::new("d", f64::NAN)])[0].p_holm, 0.0);
    }

    /// Quantiles of chi-squared with 100 degrees of freedom (Abramowitz and Stegun, table 26.8).
    #[test]
    fn the_laws_of_the_tests() {
        assert!((chi_squared_below(77.93, 100.0) - 0.05).abs() < 2e-4);
        assert!((chi_squared_below(124.34, 100.0) - 0.95).abs() < 2e-4);
        assert!((two_sided(-1.96) - 0.05).abs() < 1e-4);
    }
}
