//! From a target (epsilon, delta) to the noise, or to the number of steps.

use crate::accountant::{Accountant, AccountingError, check_delta};
use crate::event::Event;

/// How far above the smallest sufficient noise an answer may lie, relative.
const TOLERANCE: f64 = 2e-4;
/// Noise scales that are searched.
const SCALES: (f64, f64) = (1e-6, 1e12);
/// Numbers of steps that are searched.
const MOST_STEPS: u64 = 1 << 40;

/// The smallest noise multiplier for which DP-SGD meets the target, rounded up
/// by at most 0.1 %: see [`scale`].
///
/// # Errors
/// As [`scale`].
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub fn noise_multiplier(
    accountant: Accountant,
    sampling_rate: f64,
    steps: u64,
    epsilon: f64,
    delta: f64,
) -> Result<f64, AccountingError> {
    scale(accountant, |s| Event::dp_sgd(sampling_rate, s, steps), epsilon, delta)
}

/// The smallest common noise scale `s` for which `make(s)` meets the target:
/// the event returned by `make` at the answer has, by this accountant, at most
/// the target's epsilon, and one at a scale 0.1 % smaller has not.
/// More scale must mean more noise in every part of the event.
///
/// # Errors
/// A target out of range; [`AccountingError::Unreachable`] if no scale meets
/// it, as when a part that does not scale costs more than the whole target; and
/// what the accountant refuses.
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub fn scale(
    accountant: Accountant,
    make: impl Fn(f64) -> Event,
    epsilon: f64,
    delta: f64,
) -> Result<f64, AccountingError> {
    let (low, high) = SCALES;
    let target = Target { what: "noise scale", epsilon, delta, low, high };
    target.solve(|log_scale| accountant.epsilon(&make(log_scale.exp()), delta), TOLERANCE)
}

/// The largest number of DP-SGD steps that stays within the target; 0 if
/// one step exceeds it.
///
/// # Errors
/// A target out of range and what the accountant refuses.
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub fn steps(
    accountant: Accountant,
    sampling_rate: f64,
    noise_multiplier: f64,
    epsilon: f64,
    delta: f64,
) -> Result<u64, AccountingError> {
    check_delta(delta)?;
    let fits = |steps: u64| -> Result<bool, AccountingError> {
        Ok(accountant.epsilon(&Event::dp_sgd(sampling_rate, noise_multiplier, steps), delta)? <= epsilon)
    };
    let (mut yes, mut no) = (0, 1);
    while fits(no)? {
        (yes, no) = (no, no * 2);
        if no > MOST_STEPS {
            return Ok(yes);
        }
    }
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if fits(middle)? { yes = middle } else { no = middle }
    }
    Ok(yes)
}

struct Target {
    what: &'static str,
    epsilon: f64,
    delta: f64,
    low: f64,
    high: f64,
}

impl Target {
    /// The scale above which the epsilon at a log-scale falls to the target.
    /// Secant steps in (ln scale, ln epsilon), which is nearly a line, kept
    /// inside a bracket that bisection halves when they stall.
    fn solve(
        &self,
        epsilon_at: impl Fn(f64) -> Result<f64, AccountingError>,
        tolerance: f64,
    ) -> Result<f64, AccountingError> {
        check_delta(self.delta)?;
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(AccountingError::parameter("epsilon", self.epsilon, "a finite number above 0"));
        }
        let (bottom, top) = (self.low.ln(), self.high.ln());
        // Positive above the target; bounded, so that a line through two points makes sense.
        let excess = |at: f64| -> Result<f64, AccountingError> {
            Ok((epsilon_at(at)?.max(1e-300) / self.epsilon).ln().clamp(-50.0, 50.0))
        };
        let unreachable = AccountingError::Unreachable {
            what: self.what,
            low: self.low,
            high: self.high,
            epsilon: self.epsilon,
            delta: self.delta,
        };
        // The Gaussian rule of thumb starts the search.
        let mut at = ((2.0 * (1.25 / self.delta).ln()).sqrt() / self.epsilon).ln().clamp(bottom, top);
        let (mut below, mut above): (Option<(f64, f64)>, Option<(f64, f64)>) = (None, None);
        let mut stride = 0.5;
        loop {
            let found = excess(at)?;
            if found > 0.0 { below = Some((at, found)) } else { above = Some((at, found)) }
            at = match (below, above) {
                (Some((at, _)), None) if at >= top => return Err(unreachable),
                (Some((at, excess)), None) => {
                    stride *= 2.0;
                    (at + excess.clamp(0.05, stride)).min(top)
                }
                (None, Some((at, _))) if at <= bottom => return Ok(self.low),
                (None, Some((at, excess))) => {
                    stride *= 2.0;
                    (at + excess.clamp(-stride, -0.05)).max(bottom)
                }
                (Some((low, over)), Some((high, under))) => {
                    if high - low <= tolerance {
                        return Ok(high.exp());
                    }
                    let guess = low + (high - low) * over / (over - under);
                    // Step a little past the root, so that both ends close in.
                    let margin = (0.4 * tolerance).max(0.02 * (high - low));
                    let toward = if guess - low < high - guess { guess + margin } else { guess - margin };
                    toward.clamp(low + 0.3 * tolerance, high - 0.3 * tolerance)
                }
                (None, None) => return Err(unreachable),
            };
        }
    }
}
