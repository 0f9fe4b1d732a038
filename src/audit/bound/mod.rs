//! Lower bounds of epsilon from one run.
//!
//! # The idea
//! Canaries were held in or out by fair coins that the release does not know. Whoever looks at the release guesses some
//! of the coins. The better a mechanism protects, the closer to chance the guesses must be; so many right ones refute
//! every epsilon below some value. All canaries sit in one run, so their guesses are not independent trials, and
//! intervals for independent trials (Clopper and Pearson) do not hold: the two bounds here do.
//!
//! Nothing here comes from the accountants: the audit is a second opinion.

mod f_dp;
mod normal;
mod steinke;

pub use f_dp::{f_dp, gaussian_epsilon};
pub use normal::{binomial_law, binomial_tail, normal_cdf, normal_quantile};
pub use steinke::{steinke, steinke_of_members};

/// Epsilon is searched up to here.
const LARGEST: f64 = 400.0;

/// What one run's guesses came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guesses {
    /// Canaries whose coin was thrown.
    pub canaries: usize,
    /// How many coins were guessed: fixed before the run, at most `canaries`.
    pub guesses: usize,
    /// How many guesses were right.
    pub right: usize,
}

impl Guesses {
    /// The same with every guess right: what it gives is the ceiling of the test.
    pub fn all_right(self) -> Self {
        Self { right: self.guesses, ..self }
    }
}

/// How many coins to guess, half of them on either tail: a rule of public facts alone, so that it is fixed before the
/// run. Simulated on an isolated Gaussian (f-DP, 95 %): with small epsilon each score says little and many guesses
/// are needed; with many canaries the tails alone say more.
pub fn guesses_for(canaries: usize, claimed_epsilon: f64) -> usize {
    let share = match (canaries, claimed_epsilon) {
        (..500, _) | (_, ..1.5) => 0.3,
        (..2000, _) => 0.2,
        _ => 0.1,
    };
    let guesses = (share * canaries as f64).ceil() as usize;
    (guesses + guesses % 2).min(canaries)
}

/// Guesses that the highest scores were in and the lowest out, half each.
///
/// Ties keep the order of the list, which must say nothing of the coins.
pub fn guess(scores: &[(f64, bool)], guesses: usize) -> Guesses {
    let mut order: Vec<&(f64, bool)> = scores.iter().collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let low = guesses / 2;
    let high = guesses - low;
    let out = order.iter().take(low).filter(|(_, member)| !member).count();
    let within = order.iter().rev().take(high).filter(|(_, member)| *member).count();
    Guesses { canaries: scores.len(), guesses, right: out + within }
}

/// The largest value up to `most` at which a condition holds that holds below some value and not above it; 0 where it
/// holds nowhere.
fn largest(most: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, most);
    // To 1e-10 of the range.
    for _ in 0..34 {
        let middle = 0.5 * (low + high);
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_take_both_tails() {
        let scores = [(0.1, false), (5.0, true), (-3.0, true), (2.0, true), (-4.0, false), (0.0, true)];
        assert_eq!(guess(&scores, 4), Guesses { canaries: 6, guesses: 4, right: 3 });
        assert_eq!(guess(&scores, 6).right, 3);
        assert_eq!(guess(&scores, 4).all_right().right, 4);
    }

    #[test]
    fn the_number_of_guesses_is_public_and_even() {
        for canaries in [1, 10, 333, 1000, 5000] {
            for epsilon in [0.1, 1.0, 2.0, 8.0] {
                let guesses = guesses_for(canaries, epsilon);
                assert!(guesses <= canaries && (guesses.is_multiple_of(2) || guesses == canaries));
            }
        }
        assert_eq!((guesses_for(1000, 1.0), guesses_for(1000, 2.0), guesses_for(5000, 2.0)), (300, 200, 500));
    }
}
