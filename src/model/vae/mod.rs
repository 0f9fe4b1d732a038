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
//! # The decoder
//! It is autoregressive: each column is drawn given the latent numbers and the columns before it, and its logits stand
//! on the logarithms of what the mixture of `marginal` says of the column, given the same columns (`base`). A network
//! that says nothing is the mixture, so training starts where marginals end.

mod base;
mod decoder;
mod generate;
mod loss;
mod prior;
mod settings;
pub mod trajectory;

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::mixture::Mixture;
use crate::encode::Layout;
use crate::error::Result;
use crate::nn::{Activation, Embedding, Mlp, Table};
use base::Base;
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
    base: Base,
}

/// Activation between the layers.
const ACTIVATION: Activation = Activation::Silu;

impl Vae {
    /// # Errors
    /// Bad input when the settings are beyond what a network can be built from.
    pub fn new(
        layout: &Layout,
        settings: VaeSettings,
        mixture: Arc<Mixture>,
        rows_column: Option<usize>,
    ) -> Result<Self> {
        settings.check(layout)?;
        let offsets = layout.offsets();
        let mut table = Table::default();
        let VaeSettings { hidden, latent, .. } = &settings;
        let embedding = Embedding::new(&mut table, "encoder.embedding", offsets.clone(), hidden[0]);
        let encoder_widths: Vec<usize> = hidden.iter().copied().chain([2 * latent]).collect();
        let encoder = Mlp::new(&mut table, "encoder", &encoder_widths, ACTIVATION);
        let decoder = Decoder::new(&mut table, "decoder", (offsets.clone(), 0), *latent, hidden);
        let base = Base { mixture, rows_column };
        Ok(Self { settings, offsets, table, embedding, encoder, decoder, base })
    }

    pub fn settings(&self) -> &VaeSettings {
        &self.settings
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Fresh parameters: the decoder gives what the mixture says, whatever the latent numbers.
    ///
    /// # Privacy
    /// Public: depends on nothing but the seed.
    pub fn initialise(&self, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = vec![0.0; self.table.len()];
        self.embedding.initialise(&mut parameters, std::f32::consts::SQRT_2, &mut rng);
        self.encoder.initialise(&mut parameters, 0.0, &mut rng);
        self.decoder.initialise(&mut parameters, &mut rng);
        parameters
    }
}

#[cfg(test)]
mod tests;
