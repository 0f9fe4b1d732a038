//! Generators: what turns released numbers into rows of codes.
//!
//! A generator sees shapes ([`Layout`](crate::encode::Layout)) and codes, never a name or a value. Everything it
//! does after its weights and marginals were released is post-processing.

pub mod vae;

mod independent;
mod marginals;
pub mod mixture;

use rand_chacha::ChaCha8Rng;

use crate::nn::Tensor;

pub use independent::Independent;
pub use marginals::Marginals;
pub use mixture::{Measured, MeasuredTable, Mixture};
mod file;
pub use file::{FORMAT, Header, ModelFile, ModelKind, sha256};
pub use vae::{Prior, Vae, VaeGenerator, VaeSettings, VaeWorkspace};

/// Something that writes rows for synthetic units.
pub trait Generator: Send + Sync {
    /// Replaces `codes` by the rows of `units` synthetic units, row-major, and `offsets` by their `units + 1` row
    /// offsets.
    ///
    /// `rows_column` names the column whose code, plus one, is the number of rows of the unit; without it each unit
    /// has one row. All rows of a unit carry the same code there. The same `rng` gives the same rows.
    fn generate(
        &self,
        units: usize,
        rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    );

    /// Everything that generation needs, for the model file.
    fn tensors(&self) -> Vec<Tensor>;
}
