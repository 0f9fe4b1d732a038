//! From a target (epsilon, delta) to the noise, or to the number of steps.

use crate::accountant::{Accountant, AccountingError, check_delta, epsilon_lower, has_closed_form};
use crate::event::Event;

/// How far above the smallest sufficient noise an answer may lie, relative.
const TOLERANCE: f64 = 2e-4;
/// The same for events whose epsilon has a closed form.
const CLOSED_FORM_TOLERANCE: f64 = 1e-9;
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
    let (_, high) = bracket(&make, &|event| accountant.epsilon(event, delta), epsilon, delta, accountant)?;
    Ok(high)
}

/// A noise scale below which no accounting can meet the target: the optimistic
/// twin of [`scale`], by [`epsilon_lower`].
///
/// # Errors
/// As [`scale`].
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub fn scale_lower(make: impl Fn(f64) -> Event, epsilon: f64, delta: f64) -> Result<f64, AccountingError> {
    let (low, _) = bracket(&make, &|event| epsilon_lower(event, delta), epsilon, delta, Accountant::Pld)?;
    Ok(low)
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
    check_target(epsilon, delta)?;
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

fn check_target(epsilon: f64, delta: f64) -> Result<(), AccountingError> {
    check_delta(delta)?;
    if epsilon > 0.0 && epsilon.is_finite() {
        Ok(())
    } else {
        Err(AccountingError::parameter("epsilon", epsilon, "a finite number above 0"))
    }
}

/// A logarithm of a scale and of its epsilon over the target's.
type Point = (f64, f64);

/// Neighbouring scales of which the lower exceeds the target and the upper
/// does not. Secant steps in (ln scale, ln epsilon), which is nearly a line,
/// with a margin that makes both ends close in.
/// `accountant` is the one whose figures `epsilon_of` gives.
fn bracket(
    make: &dyn Fn(f64) -> Event,
    epsilon_of: &dyn Fn(&Event) -> Result<f64, AccountingError>,
    epsilon: f64,
    delta: f64,
    accountant: Accountant,
) -> Result<(f64, f64), AccountingError> {
    check_target(epsilon, delta)?;
    let (bottom, top) = (SCALES.0.ln(), SCALES.1.ln());
    let closed_form = has_closed_form(&make(1.0))?;
    let tolerance = if closed_form { CLOSED_FORM_TOLERANCE } else { TOLERANCE };
    // Positive above the target; bounded, so that a line through two points makes sense.
    let excess = |at: f64| -> Result<f64, AccountingError> {
        Ok((epsilon_of(&make(at.exp()))?.max(1e-300) / epsilon).ln().clamp(-50.0, 50.0))
    };
    // The search starts where the cheap accountant ends, or by the Gaussian rule of thumb.
    let start = if accountant == Accountant::Pld && !closed_form {
        bracket(make, &|event| Accountant::Rdp.epsilon(event, delta), epsilon, delta, Accountant::Rdp)?.1
    } else {
        (2.0 * (1.25 / delta).ln()).sqrt() / epsilon
    };
    let mut at = start.ln().clamp(bottom, top);
    let (mut below, mut above): (Option<Point>, Option<Point>) = (None, None);
    let mut stride = 0.5;
    let mut halve = false;
    loop {
        let found = excess(at)?;
        let width = below.zip(above).map(|((low, _), (high, _))| high - low);
        if found > 0.0 {
            below = Some((at, found))
        } else {
            above = Some((at, found))
        }
        stride *= 2.0;
        at = match (below, above) {
            (Some((low, over)), Some((high, under))) => {
                if high - low <= tolerance {
                    return Ok((low.exp(), high.exp()));
                }
                // A secant step that did not halve the bracket is followed by one that does.
                halve = !halve && width.is_some_and(|width| high - low > 0.5 * width);
                let guess = if halve { 0.5 * (low + high) } else { low + (high - low) * over / (over - under) };
                let margin = (0.4 * tolerance).max(0.02 * (high - low));
                let past = if guess - low < high - guess { guess + margin } else { guess - margin };
                past.clamp(low + 0.3 * tolerance, high - 0.3 * tolerance)
            }
            (Some((at, over)), None) if at < top => (at + over.clamp(0.05, stride)).min(top),
            (None, Some((at, under))) if at > bottom => (at + under.clamp(-stride, -0.05)).max(bottom),
            (None, Some(_)) => return Ok((0.0, SCALES.0)),
            _ => {
                let (low, high) = SCALES;
                return Err(AccountingError::Unreachable { what: "noise scale", low, high, epsilon, delta });
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(scale: f64) -> Event {
        let release = Event::DiscreteGaussian { sigma: 40.0 * scale, sensitivity: 2 };
        let choice = Event::ExponentialMechanism { epsilon: 0.2 / scale };
        let counts = Event::Repeated { event: Box::new(Event::Gaussian { noise_multiplier: 20.0 * scale }), count: 8 };
        Event::Composed { events: vec![release, choice, counts, Event::dp_sgd(0.02, 1.1 * scale, 100)] }
    }

    #[test]
    fn the_answer_meets_the_target_and_less_noise_does_not() {
        for accountant in [Accountant::Pld, Accountant::Rdp] {
            for (epsilon, delta) in [(0.5, 1e-6), (4.0, 1e-9)] {
                let found = scale(accountant, plan, epsilon, delta).unwrap();
                assert!(accountant.epsilon(&plan(found), delta).unwrap() <= epsilon);
                assert!(accountant.epsilon(&plan(0.999 * found), delta).unwrap() > epsilon);
            }
        }
        let (low, high) = (scale_lower(plan, 0.5, 1e-6).unwrap(), scale(Accountant::Pld, plan, 0.5, 1e-6).unwrap());
        // The exponential mechanism's and the vector's twins are further apart.
        assert!(low < high && low > 0.95 * high, "{low} {high}");
    }

    #[test]
    fn golden_noise_multipliers() {
        // Balle-Wang closed form (mpmath 1.4.1); the last: dp-accounting 0.6.0 (PLD), to 1e-5.
        for (rate, steps, epsilon, delta, truth, tolerance) in [
            (1.0, 1, 1.0, 1e-5, 3.730_631_634_815_942, 1e-6),
            (1.0, 1, 0.1, 1e-9, 50.209_818_263_015_33, 1e-6),
            (0.01, 1000, 1.0, 1e-5, 1.414_631_118_192_677_4, 5e-4),
        ] {
            let found = noise_multiplier(Accountant::Pld, rate, steps, epsilon, delta).unwrap();
            assert!(found >= truth - 1e-5 && found < truth * (1.0 + tolerance), "{found} {truth}");
        }
    }

    #[test]
    fn one_more_step_would_exceed_the_target() {
        let most = steps(Accountant::Pld, 0.05, 2.0, 1.0, 1e-5).unwrap();
        let epsilon = |steps| Accountant::Pld.epsilon(&Event::dp_sgd(0.05, 2.0, steps), 1e-5).unwrap();
        assert!(epsilon(most) <= 1.0 && epsilon(most + 1) > 1.0, "{most}");
        assert_eq!(steps(Accountant::Rdp, 0.5, 0.5, 0.1, 1e-5), Ok(0));
    }

    #[test]
    fn what_cannot_be_met_is_refused() {
        let fixed = |_| Event::ApproximateDp { epsilon: 0.1, delta: 1e-3 };
        let error = scale(Accountant::Pld, fixed, 1.0, 1e-5).unwrap_err();
        assert!(matches!(error, AccountingError::Unreachable { .. }), "{error}");
        for (epsilon, delta) in [(0.0, 1e-5), (f64::NAN, 1e-5), (1.0, 0.0), (1.0, 1.0)] {
            assert!(noise_multiplier(Accountant::Pld, 0.1, 10, epsilon, delta).is_err());
            assert!(steps(Accountant::Pld, 0.1, 1.0, epsilon, delta).is_err());
        }
        assert!(noise_multiplier(Accountant::Rdp, 2.0, 10, 1.0, 1e-5).is_err());
    }
}
