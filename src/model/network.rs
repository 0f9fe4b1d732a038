//! What training needs to know of a network.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::encode::Codes;
use crate::error::{Error, Result};
use crate::nn::Network;

/// A network whose loss is a sum over privacy units.
pub trait Trainable: Sync {
    /// Activations and gradients of a tile of rows.
    type Buffers: Default + Send + Sync;

    /// Number of parameters.
    fn parameters(&self) -> usize;

    /// The loss of the units of `codes`. Its random draws are fixed by `key` and `step`. On real rows the key must be
    /// secret and fresh for each fit: a unit's draws depend on its place among the others, and only unknown draws leave
    /// those others untouched by it.
    ///
    /// # Panics
    /// When `codes` does not have the layout of the network.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    fn loss<'a>(&'a self, codes: &'a Codes, key: [u8; 32], step: u32) -> impl Network<Buffers = Self::Buffers> + 'a;

    /// Rows of `units` units of the network's own, as public as its parameters.
    fn draw(&self, parameters: &[f32], units: usize, rng: &mut ChaCha8Rng) -> Codes;

    /// The parameters that [`Trainable::draw`] uses.
    fn drawn_with(&self) -> Range<usize>;

    /// Puts weights that the network must not have back to 0, as after every step.
    fn mask(&self, parameters: &mut [f32]);
}

/// Expected number of units of a batch, at least and at most: an eighth of all between them. Noise grows with the batch
/// only by what sampling no longer hides, so a larger batch costs time and no privacy.
const LEAST_BATCH: usize = 256;
const LARGEST_BATCH: usize = 8192;

/// How a network is trained by DP-SGD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Expected number of units of a Poisson batch.
    pub expected_batch_size: usize,
    pub steps: usize,
    pub learning_rate: f32,
    /// Bound on the norm of a unit's gradient.
    pub clipping_norm: f32,
    /// Decay of the running average of the weights.
    pub average_decay: f32,
}

impl Training {
    /// From a public fact only: the number of units.
    pub fn choose(units: usize) -> Self {
        Self {
            expected_batch_size: (units / 8).clamp(LEAST_BATCH, LARGEST_BATCH).min(units.max(1)),
            steps: 200,
            learning_rate: 3e-3,
            clipping_norm: 1.0,
            average_decay: 0.98,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        within("steps", self.steps, 0, 1 << 30)?;
        within("expected_batch_size", self.expected_batch_size, 1, 1 << 30)?;
        not_negative("learning_rate", self.learning_rate)?;
        not_negative("clipping_norm", self.clipping_norm)?;
        not_negative("average_decay", self.average_decay)
    }
}

/// Refuses a whole number out of range, so that a hostile model file cannot ask for more memory than there is.
pub(super) fn within(name: &str, value: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::bad_input(format!("network setting `{name}` is {value}")).expected(format!("{low} to {high}")))
}

pub(super) fn not_negative(name: &str, value: f32) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::bad_input(format!("network setting `{name}` is not a number of at least zero")))
}
