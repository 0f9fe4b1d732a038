//! The settings of a VAE and its training, chosen from public facts.

use serde::{Deserialize, Serialize};

use crate::encode::Layout;
use crate::error::{Error, Result};

/// The wide network is used when `units * epsilon` exceeds this many times the root of its number of parameters: the
/// length of a gradient's noise grows with that root and falls with both factors.
const WIDE_FROM: f64 = 130.0;
const WIDE: [usize; 2] = [256, 128];
const NARROW: [usize; 2] = [128, 64];

/// Everything that shapes a VAE and its training but the privacy budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeSettings {
    /// Widths of the hidden layers of the encoder; the decoder has them in reverse.
    pub hidden: Vec<usize>,
    /// Latent numbers of a row.
    pub latent: usize,
    /// How many of them the rows of a unit share.
    pub shared: usize,
    /// Weight of the Kullback-Leibler term.
    pub kl_weight: f32,
    /// Expected number of units of a Poisson batch.
    pub expected_batch_size: usize,
    pub steps: usize,
    pub learning_rate: f32,
    /// Bound on the norm of a unit's gradient.
    pub clipping_norm: f32,
    /// Decay of the running average of the weights.
    pub average_decay: f32,
}

impl VaeSettings {
    /// Settings from public facts only: the shape of the table, the number of units and the epsilon of the fit.
    /// Measured at epsilon 1 and 3 on two tables of 260 cells and 33,000 and 54,000 units; every constant is the same
    /// for both.
    pub fn choose(layout: &Layout, units: usize, epsilon: f64) -> Self {
        let parameters = 2.0 * (WIDE[0] * layout.total()) as f64;
        let wide = units as f64 * epsilon >= WIDE_FROM * parameters.sqrt();
        let hidden = if wide { WIDE } else { NARROW }.to_vec();
        Self {
            hidden,
            latent: 16,
            shared: 8,
            kl_weight: 0.35,
            expected_batch_size: (units / 32).clamp(256, 8192).min(units.max(1)),
            steps: 1000,
            learning_rate: 3e-3,
            clipping_norm: 1.0,
            average_decay: 0.99,
        }
    }

    /// Refuses settings that no network could be built from, so that a hostile model file cannot ask for more memory
    /// than there is.
    pub(super) fn check(&self, layout: &Layout) -> Result<()> {
        let within = |name: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::bad_input(format!("vae setting `{name}` is {value}")).expected(format!("{low} to {high}")))
        };
        within("hidden layers", self.hidden.len(), 1, 4)?;
        for &width in &self.hidden {
            within("hidden", width, 1, 4096)?;
        }
        within("latent", self.latent, 1, 256)?;
        within("shared", self.shared, 0, self.latent)?;
        within("columns", layout.width(), 1, 1 << 16)?;
        for &cells in &layout.cells {
            within("cells of a column", cells, 1, 1 << 16)?;
        }
        within("cells", layout.total(), 1, 1 << 17)?;
        within("steps", self.steps, 0, 1 << 30)?;
        within("expected_batch_size", self.expected_batch_size, 1, 1 << 30)?;
        let positive = [
            ("kl_weight", self.kl_weight),
            ("learning_rate", self.learning_rate),
            ("clipping_norm", self.clipping_norm),
            ("average_decay", self.average_decay),
        ];
        match positive.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            None => Ok(()),
            Some((name, _)) => Err(Error::bad_input(format!("vae setting `{name}` is not a number above zero"))),
        }
    }
}
