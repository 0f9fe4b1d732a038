//! The few numerical tools that the accountants share.

use libm::erfc;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// P(X > x) for a standard normal X, to full relative precision in the tail.
pub(crate) fn normal_tail(x: f64) -> f64 {
    0.5 * erfc(x * FRAC_1_SQRT_2)
}

/// P(from < X <= to) for a standard normal X, from whichever tail is smaller.
pub(crate) fn normal_between(from: f64, to: f64) -> f64 {
    if from >= 0.0 { normal_tail(from) - normal_tail(to) } else { normal_tail(-to) - normal_tail(-from) }
}

/// `ln P(X > x)` for a standard normal X, also where the probability underflows.
pub(crate) fn log_normal_tail(x: f64) -> f64 {
    if x < 5.0 { normal_tail(x).ln() } else { (0.5 * scaled_erfc(x * FRAC_1_SQRT_2)).ln() - 0.5 * x * x }
}

/// `exp(x^2) erfc(x)`; for large x by the asymptotic series.
pub(crate) fn scaled_erfc(x: f64) -> f64 {
    if x < 20.0 {
        (x * x).exp() * erfc(x)
    } else {
        let y = 0.5 / (x * x);
        (1.0 - y * (1.0 - 3.0 * y * (1.0 - 5.0 * y * (1.0 - 7.0 * y)))) / (x * PI.sqrt())
    }
}

/// `ln(sum(exp(terms)))` without overflow; minus infinity for no terms.
pub(crate) fn log_sum_exp(terms: &[f64]) -> f64 {
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top.is_infinite() { top } else { top + terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln() }
}

/// Where a function with one valley is least, by golden section to the last
/// digits that its flat bottom shows.
pub(crate) fn valley(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    const SHRINK: f64 = 0.618_033_988_749_894_8;
    let (mut left, mut right) = (high - SHRINK * (high - low), low + SHRINK * (high - low));
    let (mut at_left, mut at_right) = (f(left), f(right));
    while high - low > 1e-9 * (1.0 + low.abs() + high.abs()) {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - SHRINK * (high - low);
            at_left = f(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + SHRINK * (high - low);
            at_right = f(right);
        }
    }
    if at_left <= at_right { left } else { right }
}

/// The end of an interval on which `holds` is true, to neighbouring floats:
/// `holds(yes)` is taken for granted, and so is its failing at `no`.
pub(crate) fn last_holding(mut yes: f64, mut no: f64, holds: impl Fn(f64) -> bool) -> f64 {
    loop {
        let middle = 0.5 * (yes + no);
        if middle == yes || middle == no {
            return yes;
        }
        if holds(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_keep_their_digits() {
        // mpmath 1.4.1, 50 digits
        for (x, expected) in [
            (0.5, 0.308_537_538_725_986_9),
            (5.0, 2.866_515_718_791_939e-7),
            (20.0, 2.753_624_118_606_233_7e-89),
            (-3.0, 0.998_650_101_968_369_9),
        ] {
            assert!((normal_tail(x) / expected - 1.0).abs() < 1e-13, "{x} {}", normal_tail(x));
        }
        for x in [19.999, 20.001] {
            let bound = 1.0 / (x * PI.sqrt());
            assert!(scaled_erfc(x) < bound && scaled_erfc(x) > bound * (1.0 - 0.5 / (x * x)));
        }
        assert!((scaled_erfc(20.0) - scaled_erfc(20.0 - 1e-13)).abs() < 1e-13);
    }

    #[test]
    fn valley_and_edge_are_found() {
        assert!((valley(-3.0, 9.0, |x| (x - 2.0).powi(2)) - 2.0).abs() < 1e-6);
        let root = last_holding(0.0, 4.0, |x| x * x <= 2.0);
        assert!(root * root <= 2.0 && root.next_up().powi(2) > 2.0);
    }
}
