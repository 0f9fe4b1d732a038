//! The accountant against epsilons that others computed.

use super::Check;
use synthward_privacy::Event;
use synthward_privacy::accountant::AccountingError;

/// What rounding may take off an upper bound, and what a tight one may add.
const BELOW: f64 = 1e-9;
const ABOVE: f64 = 5e-5;

/// Name, event, delta and the true epsilon, from `golden_epsilons` of `privacy/src/accountant`: the Gaussian by its
/// closed form (Balle and Wang 2018, mpmath 1.4.1), the others by a saddle-point contour (numpy 2.4.6, two contours
/// agreeing to 1e-8), above each of which dp-accounting 0.6.0 (PLD) lies by 1e-9 to 2e-4.
fn golden() -> [(&'static str, Event, f64, f64); 4] {
    let gaussian = |noise_multiplier| Event::Gaussian { noise_multiplier };
    let many = Event::Repeated { event: Box::new(gaussian(20.0)), count: 8 };
    let composed = Event::Composed { events: vec![many, Event::dp_sgd(0.01, 1.1, 1000)] };
    [
        ("one Gaussian", gaussian(2.0), 1e-12, 3.449_052_150_482_807_6),
        ("DP-SGD, 1,000 steps", Event::dp_sgd(0.1, 5.0, 1000), 1e-5, 2.650_676_806_790_564_4),
        ("DP-SGD, small delta", Event::dp_sgd(0.05, 1.5, 500), 1e-12, 6.686_646_681_938_76),
        ("counts and DP-SGD", composed, 1e-6, 1.859_083_708_485_491_6),
    ]
}

/// Never below the truth, and hardly above it.
pub(super) fn checks(epsilon: impl Fn(&Event, f64) -> Result<f64, AccountingError>) -> Vec<Check> {
    let check = |(name, event, delta, truth): (&str, Event, f64, f64)| {
        let found = epsilon(&event, delta).unwrap_or(f64::NAN);
        let name = format!("accountant: {name}");
        Check::new(&name, "epsilon less the true one, relative", found / truth - 1.0, -BELOW..=ABOVE)
    };
    golden().into_iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthward_privacy::accountant::{Accountant, epsilon_lower};

    #[test]
    fn an_accountant_that_says_too_little_or_too_much_is_found() {
        let passed = |checks: Vec<Check>| checks.iter().filter(|check| check.passed).count();
        assert_eq!(passed(checks(|event, delta| Accountant::Pld.epsilon(event, delta))), 4);
        let at_a_larger_delta = |event: &Event, delta: f64| Accountant::Pld.epsilon(event, delta * 1.01);
        assert_eq!(passed(checks(at_a_larger_delta)), 0, "too little");
        assert_eq!(passed(checks(|event, delta| Accountant::Rdp.epsilon(event, delta))), 0, "too much");
        assert!(passed(checks(epsilon_lower)) < 4, "a lower bound is no claim");
        assert_eq!(passed(checks(|_, delta| Accountant::Pld.epsilon(&Event::PureDp { epsilon: 1.0 }, delta))), 0);
    }
}
