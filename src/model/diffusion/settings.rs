//! The settings of a diffusion model, chosen from public facts.

use serde::{Deserialize, Serialize};

use crate::encode::Layout;
use crate::error::Result;
use crate::model::network::within;

/// Everything that shapes a diffusion model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffusionSettings {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Draws of what is hidden, for each row of a unit and step.
    pub multiplicity: usize,
    /// Steps in which a row is uncovered, at most: see [`DiffusionSettings::choose`].
    pub sampling_steps: usize,
}

/// Steps in which a row is uncovered, where it has at least as many columns.
const SAMPLING_STEPS: usize = 16;
const MULTIPLICITY: usize = 4;
const HIDDEN: usize = 128;

impl DiffusionSettings {
    /// Settings from public facts only.
    pub fn choose(layout: &Layout) -> Self {
        Self {
            hidden: vec![HIDDEN, HIDDEN],
            multiplicity: MULTIPLICITY,
            sampling_steps: layout.width().clamp(1, SAMPLING_STEPS),
        }
    }

    /// Refuses settings that no network could be built from, so that a hostile model file cannot ask for more memory
    /// than there is.
    pub(super) fn check(&self, layout: &Layout) -> Result<()> {
        within("hidden layers", self.hidden.len(), 1, 4)?;
        for &width in &self.hidden {
            within("hidden", width, 1, 4096)?;
        }
        within("multiplicity", self.multiplicity, 1, 64)?;
        within("columns", layout.width(), 1, 1 << 16)?;
        within("sampling steps", self.sampling_steps, 1, layout.width())?;
        for &cells in &layout.cells {
            within("cells of a column", cells, 1, (1 << 16) - 1)?;
        }
        within("cells", layout.total(), 1, 1 << 17)
    }
}
