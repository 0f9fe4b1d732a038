//! `synthward account`.

use super::{Global, print, print_json};
use crate::error::{Error, Result};
use synthward_privacy::Event;
use synthward_privacy::accountant::Accountant;

/// Answer accounting questions: what does so much noise cost?
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  synthward account --sampling-rate 0.01 --noise-multiplier 1.1 --steps 10000 --delta 1e-6"
)]
pub struct Account {
    /// Probability that a unit takes part in a step
    #[arg(long, value_name = "Q")]
    sampling_rate: f64,
    /// Noise standard deviation over the clipping norm
    #[arg(long, value_name = "S")]
    noise_multiplier: f64,
    /// Number of steps
    #[arg(long, value_name = "N")]
    steps: u64,
    /// Delta of the guarantee
    #[arg(long, value_name = "D")]
    delta: f64,
}

impl Account {
    pub fn run(self, global: &Global) -> Result<()> {
        let event = Event::dp_sgd(self.sampling_rate, self.noise_multiplier, self.steps);
        let accountant = Accountant::default();
        let epsilon = accountant.epsilon(&event, self.delta).map_err(|e| Error::bad_input(e.to_string()))?;
        if global.json {
            print_json(&serde_json::json!({ "epsilon": epsilon, "delta": self.delta, "accountant": accountant }))
        } else {
            print(&format!("epsilon {epsilon:.6} at delta {:e}, add/remove one unit\n", self.delta))
        }
    }
}
