//! A diffusion model over rows of codes.
//!
//! # The idea
//! Forward, the columns of a row are hidden one after the other, in random order (multinomial diffusion with an absorbing
//! state, arXiv:2107.03006); the network learns to say what is hidden, given what is not. Backward, a row starts hidden
//! altogether and is uncovered in a few steps, a group of columns each: with as many steps as columns this is exact
//! ancestral sampling in random order (arXiv:2110.02037), with fewer the columns of a group do not see each other.
//! Numbers are cells here, too; what lies inside a cell follows the cell's released law.
//!
//! # Where it starts
//! As in [`vae`](super::vae), the network's logits stand on the logarithms of what the mixture says of each hidden column
//! given the others, which the mixture knows exactly. A network that says nothing is the mixture.
//!
//! # Noise multiplicity
//! A unit's loss is the mean over several draws of what is hidden; its gradient is clipped after that (arXiv:2210.09929).
//! How many columns are hidden is drawn evenly, and the loss weighed by columns over hidden columns, which makes it the
//! evidence bound and gives every stage an equal part.

mod loss;
mod sample;
mod settings;

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::mixture::Mixture;
use crate::encode::Layout;
use crate::error::Result;
use crate::nn::{Activation, Embedding, Mlp, Table};

pub use loss::DiffusionBuffers;
pub use sample::DiffusionGenerator;
pub use settings::DiffusionSettings;

/// The architecture: what the parameters mean. The parameters themselves are one flat vector beside it.
#[derive(Clone, Debug)]
pub struct Diffusion {
    settings: DiffusionSettings,
    /// First cell of each column, and the total.
    offsets: Vec<usize>,
    table: Table,
    /// One cell more a column: hidden.
    embedding: Embedding,
    mlp: Mlp,
    base: Arc<Mixture>,
    /// The column that all rows of a unit share, if there is one.
    rows_column: Option<usize>,
}

/// Activation between the layers.
const ACTIVATION: Activation = Activation::Silu;

impl Diffusion {
    /// # Errors
    /// Bad input when the settings are beyond what a network can be built from.
    pub fn new(
        layout: &Layout,
        settings: DiffusionSettings,
        mixture: Arc<Mixture>,
        rows_column: Option<usize>,
    ) -> Result<Self> {
        settings.check(layout)?;
        let with_hidden = Layout { cells: layout.cells.iter().map(|cells| cells + 1).collect() };
        let mut table = Table::default();
        let embedding = Embedding::new(&mut table, "denoiser.embedding", with_hidden.offsets(), settings.hidden[0]);
        let widths: Vec<usize> = settings.hidden.iter().copied().chain([layout.total()]).collect();
        let mlp = Mlp::new(&mut table, "denoiser", &widths, ACTIVATION);
        Ok(Self { settings, offsets: layout.offsets(), table, embedding, mlp, base: mixture, rows_column })
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The code that stands for a hidden cell of column `j`.
    fn hidden_code(&self, j: usize) -> u16 {
        (self.offsets[j + 1] - self.offsets[j]) as u16
    }

    /// Fresh parameters: the network gives what the mixture says.
    ///
    /// # Privacy
    /// Public: depends on nothing but the seed.
    pub fn initialise(&self, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = vec![0.0; self.table.len()];
        self.embedding.initialise(&mut parameters, std::f32::consts::SQRT_2, &mut rng);
        self.mlp.initialise(&mut parameters, 0.0, &mut rng);
        parameters
    }
}

#[cfg(test)]
mod tests;
