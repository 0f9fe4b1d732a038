//! The bound that assumes nothing but the guarantee itself.

use super::normal::{binomial_law, binomial_tail};
use super::{Guesses, LARGEST, largest};

/// The largest epsilon that the guesses refute (Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, theorem 5.2): were
/// the release (epsilon, `delta`)-DP in each canary, so many right guesses would come with probability below
/// `1 - confidence`. 0 where nothing is refuted.
pub fn steinke(guesses: Guesses, delta: f64, confidence: f64) -> f64 {
    largest(LARGEST, |epsilon| p_value(guesses, epsilon, delta) <= 1.0 - confidence)
}

/// The same at delta 0 where every guess is "in" and a coin shows that with the given odds: guesses cost what the odds
/// give away. Under epsilon the odds that a unit is in, given the release and all other coins, are at most `odds` times
/// e^epsilon, so that the number of right guesses is below a binomial one; at even odds this is theorem 5.2.
pub fn steinke_of_members(right: usize, guesses: usize, odds: f64, confidence: f64) -> f64 {
    let chance = |epsilon: f64| 1.0 / (1.0 + (-epsilon).exp() / odds);
    largest(LARGEST, |epsilon| binomial_tail(guesses, chance(epsilon), right) <= 1.0 - confidence)
}

/// `beta + 2 m delta alpha`: the probability of as many right guesses, at most.
fn p_value(Guesses { canaries, guesses, right }: Guesses, epsilon: f64, delta: f64) -> f64 {
    let law = binomial_law(guesses, 1.0 / (1.0 + (-epsilon).exp()));
    let beta: f64 = law[right..].iter().sum();
    // P(right > X >= right - i) / i, the largest over i.
    let (mut below, mut alpha) = (0.0, 0.0f64);
    for i in 1..=right {
        below += law[right - i];
        alpha = alpha.max(below / i as f64);
    }
    beta + 2.0 * canaries as f64 * delta * alpha
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_right(canaries: usize, guesses: usize, delta: f64) -> f64 {
        steinke(Guesses { canaries, guesses, right: guesses }, delta, 0.95)
    }

    /// 1,000 canaries, delta 1e-5, every guess right: computed with the formula of the paper in Python (mpmath-free,
    /// scipy.stats.binom), and published with two digits in our notes.
    #[test]
    fn every_guess_right() {
        for (guesses, epsilon) in
            [(10, 1.01), (20, 1.79), (50, 2.76), (100, 3.47), (200, 4.17), (500, 5.09), (1000, 5.78)]
        {
            let found = all_right(1000, guesses, 1e-5);
            assert!((found - epsilon).abs() < 0.006, "{guesses}: {found}");
        }
    }

    /// With delta 0 the bound is by hand: q^r = 0.05.
    #[test]
    fn pure_privacy_by_hand() {
        for (guesses, epsilon) in [(10, 1.0), (24, 2.0), (166, 4.0), (8932, 8.0)] {
            assert!(all_right(guesses, guesses, 0.0) >= epsilon, "{guesses} refute {epsilon}");
            assert!(all_right(guesses, guesses - 1, 0.0) < epsilon, "one less does not");
        }
    }

    /// Even odds are the theorem; at odds of two, 30 right guesses say what q^30 = 0.05 says, less ln 2.
    #[test]
    fn odds_are_taken_off() {
        for guesses in [10, 30, 300] {
            let even = steinke_of_members(guesses, guesses, 1.0, 0.95);
            assert!((even - all_right(guesses, guesses, 0.0)).abs() < 1e-6);
            let odds = steinke_of_members(guesses, guesses, 2.0, 0.95);
            assert!((even - odds - 2f64.ln()).abs() < 1e-6, "{even} {odds}");
        }
        assert_eq!(steinke_of_members(0, 0, 2.0, 0.95), 0.0);
        assert_eq!(steinke_of_members(20, 30, 2.0, 0.95), 0.0, "what the odds alone give");
    }

    #[test]
    fn chance_refutes_nothing() {
        assert_eq!(steinke(Guesses { canaries: 100, guesses: 100, right: 50 }, 1e-6, 0.95), 0.0);
        assert_eq!(steinke(Guesses { canaries: 100, guesses: 0, right: 0 }, 1e-6, 0.95), 0.0);
    }
}
