//! The normal and the binomial law, for the audit alone.

use statrs::function::beta::beta_reg;
use statrs::function::erf::{erfc, erfc_inv};
use statrs::function::gamma::ln_gamma;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// `P(X <= x)` for a standard normal X.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * FRAC_1_SQRT_2)
}

/// The x with `P(X <= x) = p` for a standard normal X; infinite at 0 and 1.
pub fn normal_quantile(p: f64) -> f64 {
    -SQRT_2 * erfc_inv(2.0 * p)
}

/// `P(X = k)` for `k` from 0 to `n`, X binomial with `n` trials of probability `p`.
pub fn binomial_law(n: usize, p: f64) -> Vec<f64> {
    if p <= 0.0 || p >= 1.0 {
        let certain = if p <= 0.0 { 0 } else { n };
        return (0..=n).map(|k| if k == certain { 1.0 } else { 0.0 }).collect();
    }
    let (log_p, log_q) = (p.ln(), (-p).ln_1p());
    let log_factorial: Vec<f64> = (0..=n).map(|k| ln_gamma(k as f64 + 1.0)).collect();
    let log_choose = |k: usize| log_factorial[n] - log_factorial[k] - log_factorial[n - k];
    (0..=n).map(|k| (log_choose(k) + k as f64 * log_p + (n - k) as f64 * log_q).exp()).collect()
}

/// `P(X >= k)` for X binomial with `n` trials of probability `p`.
pub fn binomial_tail(n: usize, p: f64, k: usize) -> f64 {
    match k {
        0 => 1.0,
        k if k > n => 0.0,
        k => beta_reg(k as f64, (n - k) as f64 + 1.0, p.clamp(0.0, 1.0)),
    }
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
