//! Zero-concentrated differential privacy: the costs add up to one number.

use super::AccountingError;
use super::numeric::{last_holding, valley};
use crate::event::Event;

/// The rho of an event (Bun and Steinke 2016, arXiv:1605.02065): Gaussian noise
/// costs `1 / (2 noise_multiplier^2)`, the discrete Gaussian the same (Canonne,
/// Kamath and Steinke 2020, theorem 4), `epsilon`-DP costs
/// `min(epsilon^2 / 2, epsilon)`, and bounded range costs `epsilon^2 / 8`
/// (Cesar and Rogers 2021, arXiv:2004.07223, lemma 3.4).
///
/// # Errors
/// A parameter out of range; subsampling and delta above 0, which rho cannot state.
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub(crate) fn rho(event: &Event) -> Result<f64, AccountingError> {
    event.mechanisms()?.iter().try_fold(0.0, |sum, (event, count)| {
        let pure = |epsilon: f64| (0.5 * epsilon * epsilon).min(epsilon);
        let one = match *event {
            Event::Gaussian { noise_multiplier } => 0.5 / (noise_multiplier * noise_multiplier),
            Event::DiscreteGaussian { sigma, sensitivity } => 0.5 * (sensitivity as f64 / sigma).powi(2),
            Event::Laplace { scale } => pure(1.0 / scale),
            Event::DiscreteLaplace { scale, sensitivity } => pure(sensitivity as f64 / scale),
            Event::ExponentialMechanism { epsilon } => (epsilon * epsilon / 8.0).min(epsilon),
            Event::ReportNoisyMax { epsilon } | Event::PureDp { epsilon } => pure(epsilon),
            Event::ZeroConcentrated { rho } => rho,
            Event::NonPrivate => f64::INFINITY,
            ref other => return Err(AccountingError::Unsupported { accountant: "zCDP", event: other.name() }),
        };
        Ok(sum + one * *count as f64)
    })
}

/// Epsilon at `delta` of any `rho`-zCDP mechanism: the conversion of Canonne,
/// Kamath and Steinke 2020 (arXiv:2004.00010, proposition 12), best order.
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub(crate) fn epsilon(rho: f64, delta: f64) -> f64 {
    if rho == 0.0 || rho.is_infinite() {
        return rho;
    }
    let at = |t: f64| super::rdp::to_epsilon(1.0 + t.exp(), rho * (1.0 + t.exp()), delta);
    at(valley(-25.0, 40.0, at)).max(0.0)
}

/// Delta at `epsilon` of any `rho`-zCDP mechanism, by the same conversion.
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub(crate) fn delta(rho: f64, epsilon: f64) -> f64 {
    if rho == 0.0 || rho.is_infinite() {
        return if rho == 0.0 { 0.0 } else { 1.0 };
    }
    let at = |t: f64| super::rdp::to_log_delta(1.0 + t.exp(), rho * (1.0 + t.exp()), epsilon);
    at(valley(-25.0, 40.0, at)).exp().min(1.0)
}

/// The largest rho that gives (`epsilon`, `delta`)-DP by the same conversion.
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub(crate) fn largest_rho(target_epsilon: f64, delta: f64) -> f64 {
    last_holding(0.0, target_epsilon.max(1.0), |rho| epsilon(rho, delta) <= target_epsilon)
}
