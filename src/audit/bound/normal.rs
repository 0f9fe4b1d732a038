//! The normal and the binomial law, written for the audit alone.

use libm::{erfc, lgamma};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// `P(X <= x)` for a standard normal X.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * FRAC_1_SQRT_2)
}

/// The x with `P(X <= x) = p` for a standard normal X; infinite at 0 and 1. Acklam's rational approximation, then two
/// steps of Newton's method.
pub fn normal_quantile(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p > 0.5 {
        // The upper half by symmetry; above 1 there is nothing.
        return if p >= 1.0 { f64::INFINITY } else { -normal_quantile(1.0 - p) };
    }
    let polynomial = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let mut x = if p < 0.024_25 {
        let r = (-2.0 * p.ln()).sqrt();
        polynomial(
            &[
                -7.784_894_002_430_293e-3,
                -3.223_964_580_411_365e-1,
                -2.400_758_277_161_838,
                -2.549_732_539_343_734,
                4.374_664_141_464_968,
                2.938_163_982_698_783,
            ],
            r,
        ) / polynomial(
            &[7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416, 1.0],
            r,
        )
    } else {
        let (d, r) = (p - 0.5, (p - 0.5).powi(2));
        d * polynomial(
            &[
                -3.969_683_028_665_376e1,
                2.209_460_984_245_205e2,
                -2.759_285_104_469_687e2,
                1.383_577_518_672_69e2,
                -3.066_479_806_614_716e1,
                2.506_628_277_459_239,
            ],
            r,
        ) / polynomial(
            &[
                -5.447_609_879_822_406e1,
                1.615_858_368_580_409e2,
                -1.556_989_798_598_866e2,
                6.680_131_188_771_972e1,
                -1.328_068_155_288_572e1,
                1.0,
            ],
            r,
        )
    };
    for _ in 0..2 {
        let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
        if density > 0.0 {
            x -= (normal_cdf(x) - p) / density;
        }
    }
    x
}

/// `P(X = k)` for `k` from 0 to `n`, X binomial with `n` trials of probability `p`.
pub fn binomial_law(n: usize, p: f64) -> Vec<f64> {
    if p <= 0.0 || p >= 1.0 {
        let certain = if p <= 0.0 { 0 } else { n };
        return (0..=n).map(|k| if k == certain { 1.0 } else { 0.0 }).collect();
    }
    let (log_p, log_q) = (p.ln(), (-p).ln_1p());
    let log_factorial = |k: usize| lgamma(k as f64 + 1.0);
    let log_choose = |k: usize| log_factorial(n) - log_factorial(k) - log_factorial(n - k);
    (0..=n).map(|k| (log_choose(k) + k as f64 * log_p + (n - k) as f64 * log_q).exp()).collect()
}

/// `P(X >= k)` for X binomial with `n` trials of probability `p`.
pub fn binomial_tail(n: usize, p: f64, k: usize) -> f64 {
    binomial_law(n, p).iter().skip(k).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the standard normal law to 12 digits (Abramowitz and Stegun, table 26.1 and 26.5).
    #[test]
    fn the_normal_law() {
        for (x, p) in [(0.0, 0.5), (1.0, 0.841_344_746_069), (-2.0, 0.022_750_131_948), (-6.0, 9.865_876_450_38e-10)] {
            assert!((normal_cdf(x) / p - 1.0).abs() < 1e-10, "{x}");
            assert!((normal_quantile(normal_cdf(x)) - x).abs() < 1e-9, "{x}");
        }
        assert!((normal_quantile(0.975) - 1.959_963_984_540).abs() < 1e-11);
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
    }

    /// Ten fair coins by hand.
    #[test]
    fn the_binomial_law() {
        assert!((binomial_tail(10, 0.5, 9) - 11.0 / 1024.0).abs() < 1e-12);
        assert!((binomial_law(5000, 0.3).iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert_eq!((binomial_tail(4, 0.0, 1), binomial_tail(4, 1.0, 4), binomial_tail(4, 0.5, 0)), (0.0, 1.0, 1.0));
    }
}
