//! Accounting cases: questions about epsilon, delta, noise or rho as JSON, and
//! their certified answers. Reading the file and the clock are the caller's.

use crate::accountant::{self, Accountant, AccountingError, check_delta, check_epsilon, zcdp};
use crate::calibrate;
use crate::event::Event;
use serde::{Deserialize, Serialize};

/// A file of cases; whatever else the file holds is ignored.
///
/// # Privacy
/// Public parameters only.
#[derive(Clone, Debug, Deserialize)]
pub struct Cases {
    /// The questions, in the file's order.
    pub cases: Vec<Case>,
}

/// One question.
///
/// # Privacy
/// Public parameters only.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// The name under which it is answered.
    pub id: String,
    /// `kind` and its parameters; read when answered, so that one odd case
    /// does not spoil the others.
    #[serde(flatten)]
    question: serde_json::Value,
}

/// The answers to [`Cases`].
///
/// # Privacy
/// Public: depends on parameters alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    /// One answer a case, in the file's order.
    pub results: Vec<Answer>,
}

/// The answer to one case.
///
/// # Privacy
/// Public: depends on parameters alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    /// The case's name.
    pub id: String,
    /// The certified figure: epsilon, delta or a noise multiplier rounded up,
    /// or rho rounded down. Missing if it is infinite or the case was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Its optimistic twin: no sound accounting can answer less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// The figure of the RDP accountant, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdp: Option<f64>,
    /// Time taken for `value`, by the caller's clock.
    pub cpu_ms: f64,
    /// Why the case was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Question {
    AnalyticEps {
        sigma: f64,
        delta: f64,
    },
    AnalyticDelta {
        sigma: f64,
        eps: f64,
    },
    AnalyticSigma {
        eps: f64,
        delta: f64,
    },
    DpsgdEps {
        q: f64,
        sigma: f64,
        #[serde(rename = "T")]
        steps: u64,
        delta: f64,
    },
    DpsgdDelta {
        q: f64,
        sigma: f64,
        #[serde(rename = "T")]
        steps: u64,
        eps: f64,
    },
    DpsgdSigma {
        q: f64,
        #[serde(rename = "T")]
        steps: u64,
        eps: f64,
        delta: f64,
    },
    HeteroEps {
        events: Vec<CaseEvent>,
        delta: f64,
    },
    HeteroDelta {
        events: Vec<CaseEvent>,
        eps: f64,
    },
    ZcdpEps {
        rho: f64,
        delta: f64,
    },
    ZcdpDelta {
        rho: f64,
        eps: f64,
    },
    ZcdpRho {
        eps: f64,
        delta: f64,
    },
}

#[derive(Deserialize)]
struct CaseEvent {
    #[serde(default = "once")]
    count: u64,
    #[serde(flatten)]
    mechanism: CaseMechanism,
}

fn once() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CaseMechanism {
    Gaussian {
        sigma: f64,
    },
    Dpsgd {
        q: f64,
        sigma: f64,
        steps: u64,
    },
    Laplace {
        scale: f64,
        #[serde(default = "unit")]
        sensitivity: f64,
    },
    DiscreteGaussian {
        sigma: f64,
        #[serde(default = "once")]
        sensitivity: u64,
    },
    DiscreteLaplace {
        scale: f64,
        #[serde(default = "once")]
        sensitivity: u64,
    },
    ExponentialMechanism {
        eps: f64,
    },
    ReportNoisyMax {
        eps: f64,
    },
    PureDp {
        eps: f64,
    },
    ApproximateDp {
        eps: f64,
        delta: f64,
    },
    Zcdp {
        rho: f64,
    },
}

fn unit() -> f64 {
    1.0
}

/// Answers every case; `clock` tells the time in milliseconds, best CPU time.
/// A case that cannot be answered says why in its `error`.
///
/// # Privacy
/// Post-processing: arithmetic on public parameters, touches no data.
pub fn answer(cases: &Cases, clock: impl Fn() -> f64) -> Results {
    let one = |case: &Case| {
        let mut answer = Answer { id: case.id.clone(), ..Answer::default() };
        let start = clock();
        match serde_json::from_value::<Question>(case.question.clone()) {
            Err(error) => answer.error = Some(error.to_string()),
            Ok(question) => {
                let value = question.value();
                answer.cpu_ms = clock() - start;
                match value {
                    Err(error) => answer.error = Some(error.to_string()),
                    Ok(value) => {
                        answer.value = finite(value);
                        answer.lower = question.lower().ok().and_then(finite);
                        answer.rdp = question.rdp().and_then(Result::ok).and_then(finite);
                    }
                }
            }
        }
        answer
    };
    Results { results: cases.cases.iter().map(one).collect() }
}

/// JSON knows no infinity.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// What a case asks of an accountant.
enum Task {
    Epsilon { event: Event, delta: f64 },
    Delta { event: Event, epsilon: f64 },
    Noise { sampling_rate: f64, steps: u64, epsilon: f64, delta: f64 },
    Rho { epsilon: f64, delta: f64 },
}

impl Question {
    fn task(&self) -> Task {
        match *self {
            Question::AnalyticEps { sigma, delta } => {
                Task::Epsilon { event: Event::Gaussian { noise_multiplier: sigma }, delta }
            }
            Question::AnalyticDelta { sigma, eps } => {
                Task::Delta { event: Event::Gaussian { noise_multiplier: sigma }, epsilon: eps }
            }
            Question::AnalyticSigma { eps, delta } => Task::Noise { sampling_rate: 1.0, steps: 1, epsilon: eps, delta },
            Question::DpsgdEps { q, sigma, steps, delta } => {
                Task::Epsilon { event: Event::dp_sgd(q, sigma, steps), delta }
            }
            Question::DpsgdDelta { q, sigma, steps, eps } => {
                Task::Delta { event: Event::dp_sgd(q, sigma, steps), epsilon: eps }
            }
            Question::DpsgdSigma { q, steps, eps, delta } => {
                Task::Noise { sampling_rate: q, steps, epsilon: eps, delta }
            }
            Question::HeteroEps { ref events, delta } => Task::Epsilon { event: composed(events), delta },
            Question::HeteroDelta { ref events, eps } => Task::Delta { event: composed(events), epsilon: eps },
            Question::ZcdpEps { rho, delta } => Task::Epsilon { event: Event::ZeroConcentrated { rho }, delta },
            Question::ZcdpDelta { rho, eps } => Task::Delta { event: Event::ZeroConcentrated { rho }, epsilon: eps },
            Question::ZcdpRho { eps, delta } => Task::Rho { epsilon: eps, delta },
        }
    }

    fn value(&self) -> Result<f64, AccountingError> {
        match self.task() {
            Task::Epsilon { event, delta } => tightest(&event)?.epsilon(&event, delta),
            Task::Delta { event, epsilon } => tightest(&event)?.delta(&event, epsilon),
            Task::Noise { sampling_rate, steps, epsilon, delta } => {
                calibrate::noise_multiplier(Accountant::Pld, sampling_rate, steps, epsilon, delta)
            }
            Task::Rho { epsilon, delta } => {
                check_epsilon(epsilon)?;
                check_delta(delta)?;
                Ok(zcdp::largest_rho(epsilon, delta))
            }
        }
    }

    /// The conversion of rho has a closed form: it is its own twin.
    fn lower(&self) -> Result<f64, AccountingError> {
        match self.task() {
            Task::Epsilon { event, .. } | Task::Delta { event, .. } if tightest(&event)? == Accountant::Zcdp => {
                self.value()
            }
            Task::Epsilon { event, delta } => accountant::epsilon_lower(&event, delta),
            Task::Delta { event, epsilon } => accountant::delta_lower(&event, epsilon),
            Task::Noise { sampling_rate, steps, epsilon, delta } => {
                calibrate::scale_lower(|s| Event::dp_sgd(sampling_rate, s, steps), epsilon, delta)
            }
            Task::Rho { .. } => self.value(),
        }
    }

    fn rdp(&self) -> Option<Result<f64, AccountingError>> {
        match self.task() {
            Task::Epsilon { event, delta } => Some(Accountant::Rdp.epsilon(&event, delta)),
            Task::Delta { event, epsilon } => Some(Accountant::Rdp.delta(&event, epsilon)),
            Task::Noise { sampling_rate, steps, epsilon, delta } => {
                Some(calibrate::noise_multiplier(Accountant::Rdp, sampling_rate, steps, epsilon, delta))
            }
            Task::Rho { .. } => None,
        }
    }
}

/// The tightest accountant that reads the event: PLD; RDP if rho is all that
/// is known of a part; zCDP if it is all that is known of the whole.
fn tightest(event: &Event) -> Result<Accountant, AccountingError> {
    let events = event.mechanisms()?;
    let known_by_rho = events.iter().filter(|e| matches!(e.0, Event::ZeroConcentrated { .. })).count();
    Ok(match known_by_rho {
        0 => Accountant::Pld,
        all if all == events.len() => Accountant::Zcdp,
        _ => Accountant::Rdp,
    })
}

fn composed(events: &[CaseEvent]) -> Event {
    let one = |event: &CaseEvent| {
        let single = match event.mechanism {
            CaseMechanism::Gaussian { sigma } => Event::Gaussian { noise_multiplier: sigma },
            CaseMechanism::Dpsgd { q, sigma, steps } => Event::dp_sgd(q, sigma, steps),
            CaseMechanism::Laplace { scale, sensitivity } => Event::Laplace { scale: scale / sensitivity },
            CaseMechanism::DiscreteGaussian { sigma, sensitivity } => Event::DiscreteGaussian { sigma, sensitivity },
            CaseMechanism::DiscreteLaplace { scale, sensitivity } => Event::DiscreteLaplace { scale, sensitivity },
            CaseMechanism::ExponentialMechanism { eps } => Event::ExponentialMechanism { epsilon: eps },
            CaseMechanism::ReportNoisyMax { eps } => Event::ReportNoisyMax { epsilon: eps },
            CaseMechanism::PureDp { eps } => Event::PureDp { epsilon: eps },
            CaseMechanism::ApproximateDp { eps, delta } => Event::ApproximateDp { epsilon: eps, delta },
            CaseMechanism::Zcdp { rho } => Event::ZeroConcentrated { rho },
        };
        Event::Repeated { event: Box::new(single), count: event.count }
    };
    Event::Composed { events: events.iter().map(one).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(json: &str) -> Vec<Answer> {
        answer(&serde_json::from_str(json).unwrap(), || 0.0).results
    }

    #[test]
    fn each_kind_is_answered_within_its_twins() {
        let found = answers(
            r#"{"meta": {"anything": 1}, "cases": [
                {"id": "a", "kind": "analytic_eps", "sigma": 2, "delta": 1e-12, "note": "ignored"},
                {"id": "b", "kind": "analytic_sigma", "eps": 1, "delta": 1e-5},
                {"id": "c", "kind": "analytic_delta", "sigma": 1, "eps": 1},
                {"id": "d", "kind": "dpsgd_eps", "q": 0.5, "sigma": 10, "T": 200, "delta": 1e-6},
                {"id": "e", "kind": "dpsgd_delta", "q": 0.5, "sigma": 10, "T": 200, "eps": 3.338092323143476},
                {"id": "f", "kind": "dpsgd_sigma", "q": 1, "T": 1, "delta": 1e-9, "eps": 0.1},
                {"id": "g", "kind": "hetero_eps", "delta": 1e-5, "events": [
                    {"type": "discrete_laplace", "scale": 0.5, "sensitivity": 1, "count": 2},
                    {"type": "dpsgd", "q": 0.1, "sigma": 6, "steps": 100}]},
                {"id": "h", "kind": "zcdp_eps", "rho": 0.5, "delta": 1e-9},
                {"id": "i", "kind": "zcdp_delta", "rho": 2, "eps": 20},
                {"id": "j", "kind": "zcdp_rho", "eps": 0.1, "delta": 1e-6}]}"#,
        );
        // Closed forms by Balle-Wang and Canonne-Kamath-Steinke (mpmath 1.4.1); d, e and g: saddle-point
        // contour, which dp-accounting 0.6.0 (PLD) brackets.
        let expected = [
            ("a", 3.449_052_150_482_807_6, 1e-9),
            ("b", 3.730_631_634_815_942, 1e-6),
            ("c", 0.126_936_737_506_643_97, 1e-9),
            ("d", 3.338_092_323_143_476, 1e-4),
            ("e", 1e-6, 1e-3),
            ("f", 50.209_818_263_015_33, 1e-6),
            ("g", 4.604_243_555_459_414, 1e-4),
            ("h", 6.474_070_020_726_486_5, 1e-9),
            ("i", 1.889_603_387_360_383_4e-19, 1e-9),
            ("j", 3.210_476_903_457_401_3e-4, 1e-9),
        ];
        for (found, (id, truth, tolerance)) in found.iter().zip(expected) {
            assert_eq!((found.id.as_str(), found.error.as_deref()), (id, None));
            let (value, lower) = (found.value.unwrap(), found.lower.unwrap());
            assert!(value >= truth * (1.0 - 1e-9) && value <= truth * (1.0 + tolerance), "{id}: {value} {truth}");
            assert!(lower <= truth * (1.0 + 1e-9) && lower >= truth * (1.0 - 1e-3), "{id}: {lower} {truth}");
            if let Some(rdp) = found.rdp {
                assert!(rdp >= value * (1.0 - 1e-6), "{id}: {rdp}");
            }
        }
    }

    #[test]
    fn an_odd_case_does_not_spoil_the_others() {
        let found = answers(
            r#"{"cases": [
                {"id": "kind", "kind": "shuffled_eps", "eps": 1},
                {"id": "field", "kind": "analytic_eps", "sigma": 1},
                {"id": "rate", "kind": "dpsgd_eps", "q": 1.5, "sigma": 1, "T": 1, "delta": 1e-5},
                {"id": "steps", "kind": "dpsgd_eps", "q": 0.5, "sigma": 1, "T": 0, "delta": 1e-5},
                {"id": "delta", "kind": "zcdp_rho", "eps": 1, "delta": 0},
                {"id": "good", "kind": "analytic_eps", "sigma": 1, "delta": 1e-5}]}"#,
        );
        let errors: Vec<&str> = found.iter().map(|a| a.error.as_deref().unwrap_or("none")).collect();
        let culprits = ["shuffled_eps", "delta", "sampling_rate", "count", "delta", "none"];
        for (error, culprit) in errors.iter().zip(culprits) {
            assert!(error.contains(culprit), "{error}");
        }
        assert!((found[5].value.unwrap() - 4.377_178_095_681_225).abs() < 1e-9);
    }
}
