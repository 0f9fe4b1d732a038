//! The settings of a VAE, chosen from public facts.

use serde::{Deserialize, Serialize};

use crate::encode::Layout;
use crate::error::Result;
use crate::model::network::{not_negative, within};

/// Everything that shapes a VAE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeSettings {
    /// Widths of the hidden layers of the encoder and of the decoder.
    pub hidden: Vec<usize>,
    /// Latent numbers of a row.
    pub latent: usize,
    /// How many of them the rows of a unit share.
    pub shared: usize,
    /// Weight of the Kullback-Leibler term.
    pub kl_weight: f32,
}

impl VaeSettings {
    /// The settings that every table gets: the mixture below is what follows the table.
    pub fn choose() -> Self {
        Self { hidden: vec![128, 128], latent: 16, shared: 8, kl_weight: 1.0 }
    }

    /// The settings of trajectories, whose persons have one latent vector each.
    pub fn of_trajectories() -> Self {
        Self { hidden: vec![64], latent: 8, shared: 8, kl_weight: 1.0 }
    }

    /// Refuses settings that no network could be built from, so that a hostile model file cannot ask for more memory
    /// than there is.
    pub(crate) fn check(&self, layout: &Layout) -> Result<()> {
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
        not_negative("kl_weight", self.kl_weight)
    }
}
