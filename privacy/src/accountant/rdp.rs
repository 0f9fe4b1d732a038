//! Renyi differential privacy: divergences add up at each order, and the best
//! order gives epsilon.

use super::AccountingError;
use super::numeric::log_sum_exp;
use crate::event::Event;
use std::f64::consts::PI;

/// Epsilon at `delta`; infinite where nothing is guaranteed.
pub(super) fn epsilon(event: &Event, delta: f64) -> Result<f64, AccountingError> {
    let curve = Curve::of(event)?;
    if delta <= curve.failure {
        return Ok(f64::INFINITY);
    }
    let delta = (delta - curve.failure) / (1.0 - curve.failure);
    // Bretagnolle-Huber: total variation is at most sqrt(1 - exp(-KL)), and KL
    // at most any divergence of order above 1.
    if curve.points.iter().any(|(_, divergence)| -(-divergence).exp_m1() <= delta * delta) {
        return Ok(0.0);
    }
    let each = curve.points.iter().map(|&(order, divergence)| to_epsilon(order, divergence, delta));
    Ok(each.fold(f64::INFINITY, f64::min).max(0.0))
}

/// Delta at `epsilon`; at most 1.
pub(super) fn delta(event: &Event, epsilon: f64) -> Result<f64, AccountingError> {
    let curve = Curve::of(event)?;
    let total_variation = curve.points.iter().map(|(_, divergence)| (-(-divergence).exp_m1()).max(0.0).sqrt());
    let each = curve.points.iter().map(|&(order, divergence)| to_log_delta(order, divergence, epsilon).exp());
    let rest = each.chain(total_variation).fold(1.0, f64::min);
    Ok(curve.failure + (1.0 - curve.failure) * rest)
}

/// Epsilon from a divergence at one order above 1: Canonne, Kamath and Steinke
/// 2020 (arXiv:2004.00010, proposition 12), the same as Balle et al. 2020
/// (arXiv:1905.09982, theorem 21).
pub(super) fn to_epsilon(order: f64, divergence: f64, delta: f64) -> f64 {
    divergence + (-1.0 / order).ln_1p() - (delta.ln() + order.ln()) / (order - 1.0)
}

/// The logarithm of delta by the same conversion.
pub(super) fn to_log_delta(order: f64, divergence: f64, epsilon: f64) -> f64 {
    (order - 1.0) * (divergence - epsilon + (-1.0 / order).ln_1p()) - order.ln()
}

/// Divergences of a composition at the fixed orders.
struct Curve {
    /// (order, divergence) pairs.
    points: Vec<(f64, f64)>,
    /// Probability of no guarantee at all, from the deltas of approximate events.
    failure: f64,
}

impl Curve {
    fn of(event: &Event) -> Result<Self, AccountingError> {
        let mechanisms = event.mechanisms()?;
        let mut log_success = 0.0;
        for (event, count) in &mechanisms {
            match event {
                Event::ApproximateDp { delta, .. } => log_success += *count as f64 * (-delta).ln_1p(),
                Event::NonPrivate => log_success = f64::NEG_INFINITY,
                _ => {}
            }
        }
        let total = |order: f64| mechanisms.iter().map(|(e, count)| *count as f64 * divergence(e, order)).sum::<f64>();
        let points = orders().into_iter().map(|order| (order, total(order))).collect();
        Ok(Self { points, failure: -f64::exp_m1(log_success) })
    }
}

/// The orders at which divergences are kept: tenths up to 11, integers up to
/// 64, then quarter octaves of integers up to 2^14.
fn orders() -> Vec<f64> {
    let tenths = (1..100).map(|i| 1.0 + f64::from(i) / 10.0);
    let integers = (11..64).map(f64::from);
    let octaves = (24..=56).map(|i| (f64::from(i) / 4.0).exp2().round());
    tenths.chain(integers).chain(octaves).collect()
}

/// Renyi divergence of one mechanism at an order above 1, the larger of both directions.
fn divergence(event: &Event, order: f64) -> f64 {
    let excess = order - 1.0;
    match *event {
        Event::Gaussian { noise_multiplier } => 0.5 * order / (noise_multiplier * noise_multiplier),
        // Canonne, Kamath and Steinke 2020, theorem 4 and its composition over coordinates.
        Event::DiscreteGaussian { sigma, sensitivity } => 0.5 * order * (sensitivity as f64 / sigma).powi(2),
        Event::PoissonSubsampled { sampling_rate, event: ref inner } => match **inner {
            Event::Gaussian { noise_multiplier } => {
                subsampled_gaussian(sampling_rate, noise_multiplier, order).max(0.0) / excess
            }
            _ => f64::INFINITY,
        },
        // Mironov 2017, table II.
        Event::Laplace { scale } => {
            let up = (order / (2.0 * order - 1.0)).ln() + excess / scale;
            let down = (excess / (2.0 * order - 1.0)).ln() - order / scale;
            log_sum_exp(&[up, down]) / excess
        }
        Event::DiscreteLaplace { scale, sensitivity } => discrete_laplace(scale, sensitivity, order) / excess,
        Event::ExponentialMechanism { epsilon } => bounded_range(epsilon, order),
        Event::ReportNoisyMax { epsilon } | Event::PureDp { epsilon } | Event::ApproximateDp { epsilon, .. } => {
            randomized_response(epsilon, order)
        }
        Event::ZeroConcentrated { rho } => rho * order,
        Event::Repeated { .. } | Event::Composed { .. } | Event::NonPrivate => f64::INFINITY,
    }
}

/// `ln E[(1 - q + q exp(x / s - 1 / (2 s^2)))^order]` over a standard normal x:
/// the `A` of Mironov, Talwar and Zhang 2019 (arXiv:1908.10530, section 3.3).
/// Their theorem 5 with corollary 7 says that this direction (remove) is the
/// worse one. Integer orders by their binomial sum; other orders by the
/// trapezoidal rule, whose error is `exp(-2 pi d / step)` for an integrand
/// analytic up to height `d` (Trefethen and Weideman 2014), here `pi s`.
/// Both leave out the terms that sum to exactly one, so that nothing is lost
/// where the divergence is below the last digit of one.
fn subsampled_gaussian(q: f64, s: f64, order: f64) -> f64 {
    let terms: Vec<f64> = if order.fract() == 0.0 {
        let mut log_binomial = order.ln();
        (2..=order as u64)
            .map(|k| {
                let k = k as f64;
                log_binomial += ((order - k + 1.0) / k).ln();
                log_binomial + (order - k) * (-q).ln_1p() + k * q.ln() + log_exp_m1(0.5 * k * (k - 1.0) / (s * s))
            })
            .collect()
    } else {
        const REACH: f64 = 9.5;
        let step = (0.5 * s).min(0.25);
        let points = ((order / s + 2.0 * REACH) / step).ceil() as usize;
        let scale = (step / (2.0 * PI).sqrt()).ln();
        (0..=points)
            .map(|i| {
                let x = i as f64 * step - REACH;
                let exponent = x / s - 0.5 / (s * s);
                // ln((1 + y)^order - 1 - order y), where y averages to zero
                let log_convex = if exponent < 30.0 {
                    let y = q * exponent.exp_m1();
                    let power = order * y.ln_1p();
                    if power < 30.0 { (power.exp_m1() - order * y).max(0.0).ln() } else { power }
                } else {
                    order * (q.ln() + exponent)
                };
                log_convex - 0.5 * x * x + scale
            })
            .collect()
    };
    let excess = log_sum_exp(&terms);
    if excess < 30.0 { excess.exp().ln_1p() } else { excess }
}

/// `ln(exp(x) - 1)` for x above 0.
fn log_exp_m1(x: f64) -> f64 {
    if x < 30.0 { x.exp_m1().ln() } else { x }
}

/// Both outcomes of randomized response, the worst `epsilon`-DP mechanism
/// (Kairouz, Oh and Viswanath 2015, arXiv:1311.0776).
fn randomized_response(epsilon: f64, order: f64) -> f64 {
    let excess = order - 1.0;
    let norm = (-epsilon).exp().ln_1p();
    log_sum_exp(&[excess * epsilon - norm, -order * epsilon - norm]) / excess
}

/// `ln E[exp((order - 1) loss)]` of the discrete Laplace mechanism, whose losses
/// are `(sensitivity - 2 k) / scale`; a sensitivity too large to sum over is
/// taken for randomized response with the same epsilon.
fn discrete_laplace(scale: f64, sensitivity: u64, order: f64) -> f64 {
    let excess = order - 1.0;
    let largest = sensitivity as f64 / scale;
    if sensitivity > 10_000 {
        return excess * randomized_response(largest, order);
    }
    let ratio = (-1.0 / scale).exp();
    let norm = ratio.ln_1p();
    let mut terms = vec![excess * largest - norm, -order * largest - norm];
    terms.extend((1..sensitivity).map(|k| {
        let k = k as f64;
        (-ratio).ln_1p() - norm - k / scale + excess * (largest - 2.0 * k / scale)
    }));
    log_sum_exp(&terms)
}

/// The worst pair of losses `t` and `t - epsilon` that a mechanism of bounded
/// range allows (Dong, Durfee and Rogers 2020, arXiv:1909.13830). With
/// `u = exp(t)` the moment is proportional to `u^(order - 1) (a - b u)`, whose
/// greatest value is at `u = (order - 1) a / (order b)`.
fn bounded_range(epsilon: f64, order: f64) -> f64 {
    let excess = order - 1.0;
    let shrink = (-epsilon * excess).exp();
    // a and b divided by exp(epsilon), and t counted from epsilon downward.
    let (a, b) = (1.0 - (-epsilon * order).exp(), 1.0 - shrink);
    let down = (-(excess * a / (order * b)).ln()).clamp(0.0, epsilon);
    let moment = ((a - b * (-down).exp()) / -(-epsilon).exp_m1()).ln();
    ((moment - excess * down) / excess + epsilon).max(0.0)
}
