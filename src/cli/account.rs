//! `synthward account`.

use super::answers::Accounted;
use super::{Global, print, print_json};
use crate::error::{Error, Result, why};
use std::path::PathBuf;
use std::time::Instant;
use synthward_privacy::Event;
use synthward_privacy::accountant::Accountant;
use synthward_privacy::case::{Cases, answer};
use synthward_privacy::infinite::OrInfinity;

/// Answer accounting questions: what does so much noise cost?
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  synthward account --sampling-rate 0.01 --noise-multiplier 1.1 --steps 10000 --delta 1e-6\n  \
                  synthward account --case cases.json --json"
)]
pub struct Account {
    /// Answer the cases of this JSON file instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sampling_rate", "noise_multiplier", "steps", "delta"])]
    case: Option<PathBuf>,
    /// Probability that a unit takes part in a step
    #[arg(long, value_name = "Q", required_unless_present = "case", allow_hyphen_values = true)]
    sampling_rate: Option<f64>,
    /// Noise standard deviation over the clipping norm; 0 is no noise, at an infinite epsilon
    #[arg(long, value_name = "S", required_unless_present = "case", allow_hyphen_values = true)]
    noise_multiplier: Option<f64>,
    /// Number of steps
    #[arg(long, value_name = "N", required_unless_present = "case")]
    steps: Option<u64>,
    /// Delta of the guarantee
    #[arg(long, value_name = "D", required_unless_present = "case", allow_hyphen_values = true)]
    delta: Option<f64>,
}

impl Account {
    pub fn run(self, global: &Global) -> Result<()> {
        if let Some(path) = &self.case {
            return answer_cases(path, global);
        }
        let (Some(sampling_rate), Some(noise_multiplier), Some(steps), Some(delta)) =
            (self.sampling_rate, self.noise_multiplier, self.steps, self.delta)
        else {
            return Err(Error::usage("--sampling-rate, --noise-multiplier, --steps and --delta go together"));
        };
        let event = if noise_multiplier == 0.0 {
            Event::NonPrivate
        } else {
            Event::dp_sgd(sampling_rate, noise_multiplier, steps)
        };
        let accountant = Accountant::default();
        let epsilon = accountant.epsilon(&event, delta).map_err(|e| Error::bad_input(e.to_string()))?;
        if global.json {
            print_json(&Accounted::Mechanism { epsilon: OrInfinity(epsilon), delta, accountant })
        } else if epsilon == f64::INFINITY {
            print("epsilon infinite at every delta: NOT PRIVATE, nothing is guaranteed\n")
        } else {
            print(&format!("epsilon {epsilon:.6} at delta {delta:e}, add/remove one unit\n"))
        }
    }
}

fn answer_cases(path: &PathBuf, global: &Global) -> Result<()> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::bad_input(format!("the cases cannot be read ({})", why(e.kind()))).file(path))?;
    let cases: Cases = serde_json::from_str(&text).map_err(|e| {
        Error::bad_input(format!("line {}, column {}: is no file of accounting cases", e.line(), e.column()))
            .file(path)
            .expected("{\"cases\": [{\"id\", \"kind\", ...}]}")
    })?;
    let started = Instant::now();
    let results = answer(&cases, || cpu_milliseconds().unwrap_or_else(|| started.elapsed().as_secs_f64() * 1e3));
    if global.json {
        return print_json(&Accounted::Cases { results: &results.results });
    }
    let cell = |x: Option<f64>| x.map_or_else(|| "-".into(), |x| format!("{x:.6}"));
    let mut table = format!("{:<24}{:>16}{:>16}{:>16}\n", "case", "value", "lower", "rdp");
    for answer in &results.results {
        let (value, lower, rdp) = (cell(answer.value), cell(answer.lower), cell(answer.rdp));
        let error = answer.error.as_deref().unwrap_or_default();
        table.push_str(&format!("{:<24}{value:>16}{lower:>16}{rdp:>16}  {error}\n", answer.id));
    }
    print(&table)
}

/// CPU time of this thread, where the system tells it.
fn cpu_milliseconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? * 1e-6)
}
