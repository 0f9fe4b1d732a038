//! A row whose cells are still being chosen.

use super::Rules;
use crate::cohort::condition::boxes::Region;
use crate::encode::{Decoder, Positions};
use crate::ingest::MISSING;

/// A row at the level of positions.
pub struct Row<'r> {
    pub positions: &'r mut [u32],
    /// The joint cells that the model drew.
    pub codes: &'r [u16],
    /// The numbers of cells that are known, NaN elsewhere; empty where nothing is known.
    pub known: &'r [f64],
}

impl Row<'_> {
    pub(super) fn has(&self, j: usize) -> bool {
        self.positions[j] != MISSING
    }

    /// The number in column `j`.
    pub(super) fn value(&self, rules: &Rules, j: usize) -> f64 {
        match (self.known.get(j), &rules.scales[j]) {
            (Some(known), _) if !known.is_nan() => *known,
            (_, Some(scale)) => scale.value(self.positions[j]),
            (_, None) => f64::NAN,
        }
    }
}

/// What a row must keep to while it is changed.
pub struct Setting<'s> {
    /// Draw the positions of each column.
    pub decoders: Vec<&'s Decoder>,
    /// The case of a condition that the row is of.
    pub region: Option<&'s Region>,
    /// Columns that may be changed; all, where nothing is said.
    pub free: Option<Vec<bool>>,
}

impl Setting<'_> {
    pub(in crate::cohort) fn is_free(&self, j: usize) -> bool {
        self.free.as_ref().is_none_or(|free| free[j])
    }

    /// Whether a rule about these columns is up to us: where all are known it holds or does not.
    pub(super) fn concerns(&self, columns: &[usize]) -> bool {
        self.free.as_ref().is_none_or(|free| columns.iter().any(|&j| free[j]))
    }

    pub(super) fn allows(&self, j: usize, position: u32) -> bool {
        self.region.and_then(|region| region.get(&j)).is_none_or(|allowed| allowed.contains(position))
    }

    /// The positions that column `j` may have.
    pub(in crate::cohort) fn allowed<'a>(&'a self, rules: &'a Rules, j: usize) -> &'a Positions {
        self.region.and_then(|region| region.get(&j)).unwrap_or(&rules.all[j])
    }
}
