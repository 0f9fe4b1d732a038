//! A variational autoencoder over rows of codes.
//!
//! # The idea
//! An encoder turns a row into a normal law over a few latent numbers; a decoder turns latent numbers into one
//! distribution a column. Training maximises, per unit, the summed evidence bound of its rows (Kingma and Welling,
//! arXiv:1312.6114). Rows are always *sampled* from the decoder's distributions, never their mode: a column's
//! frequencies then come out right even where `z` says little.
//!
//! # Several rows per unit
//! The first `shared` latent numbers belong to the unit, the others to the row. The encoder's opinions of the shared
//! part are averaged over the rows of a unit; generation draws it once per synthetic unit. A unit touches only its
//! own rows, so its gradient can be clipped.
//!
//! # What is free
//! The decoder's output biases start at the logarithm of the released one-way marginals, so that an untrained VAE is
//! the independent control; [`Vae::calibrate`] moves them back there after training.

mod decoder;
mod generate;
mod loss;
mod prior;
mod settings;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Marginals;
use crate::encode::Layout;
use crate::error::Result;
use crate::nn::{Activation, Embedding, Mlp, Table};
use decoder::Decoder;

pub use generate::VaeGenerator;
pub use loss::VaeBuffers;
pub use prior::Prior;
pub use settings::VaeSettings;

/// The architecture: what the parameters mean. The parameters themselves are one flat vector beside it.
#[derive(Clone, Debug)]
pub struct Vae {
    settings: VaeSettings,
    /// First cell of each column, and the total.
    offsets: Vec<usize>,
    table: Table,
    embedding: Embedding,
    encoder: Mlp,
    decoder: Decoder,
}

/// Activation between the layers.
const ACTIVATION: Activation = Activation::Silu;

impl Vae {
    /// # Errors
    /// Bad input when the settings are beyond what a network can be built from.
    pub fn new(layout: &Layout, settings: VaeSettings) -> Result<Self> {
        settings.check(layout)?;
        let offsets = layout.offsets();
        let mut table = Table::default();
        let VaeSettings { hidden, latent, .. } = &settings;
        let embedding = Embedding::new(&mut table, "encoder.embedding", offsets.clone(), hidden[0]);
        let encoder_widths: Vec<usize> = hidden.iter().copied().chain([2 * latent]).collect();
        let encoder = Mlp::new(&mut table, "encoder", &encoder_widths, ACTIVATION);
        let decoder = Decoder::new(&mut table, offsets.clone(), *latent, hidden);
        Ok(Self { settings, offsets, table, embedding, encoder, decoder })
    }

    pub fn settings(&self) -> &VaeSettings {
        &self.settings
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Fresh parameters: the decoder gives each column its released marginal, whatever the latent numbers.
    ///
    /// # Privacy
    /// Post-processing of the marginals.
    pub fn initialise(&self, marginals: &Marginals, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = vec![0.0; self.table.len()];
        self.embedding.initialise(&mut parameters, std::f32::consts::SQRT_2, &mut rng);
        self.encoder.initialise(&mut parameters, 1.0, &mut rng);
        let biases: Vec<f32> = marginals.probabilities().iter().map(|p| p.max(LEAST_PROBABILITY).ln()).collect();
        self.decoder.initialise(&mut parameters, OUTPUT_GAIN, &biases, &mut rng);
        parameters
    }
}

/// Gain of the decoder's last layer at the start: small, so that training starts from the independent control.
const OUTPUT_GAIN: f32 = 0.1;

/// A cell whose released count was nothing starts here.
const LEAST_PROBABILITY: f32 = 1e-5;

#[cfg(test)]
mod tests;
