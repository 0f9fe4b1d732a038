//! Generators: what turns released numbers into rows of codes, and rows of codes into what they say.
//!
//! A generator sees shapes ([`Layout`](crate::encode::Layout)) and codes, never a name or a value. Everything it
//! does after its weights and marginals were released is post-processing. It tells how a record comes to be: run
//! forward it draws records; run backward it says how likely one is, and draws what is not known of one.

pub mod diffusion;
mod evidence;
mod linked;
mod marginals;
pub mod mixture;
mod network;
pub mod refined;
mod rows;
mod steps;
mod tied;
pub mod vae;

use ndarray::Array2;
use rand_chacha::ChaCha8Rng;

use crate::nn::Tensor;

pub use diffusion::{Diffusion, DiffusionGenerator, DiffusionSettings};
pub use evidence::Evidence;
pub use marginals::Marginals;
pub(crate) use mixture::trends;
pub use mixture::{Measured, MeasuredTable, Mixture};
mod file;
pub use file::{Architecture, FORMAT, Header, ModelFile, ModelKind, NetworkSettings, sha256};
pub(crate) use file::{lay_out, take_apart};
pub use linked::{AnyModel, LinkedHeader, LinkedModel, Part, PartHeader, Room, TrajectorySettings};
pub use network::{Trainable, Training};
pub use refined::Refined;
#[cfg(feature = "test-noise")]
pub use steps::{Fitted, take_fewer_steps};
pub use tied::{Known, Tied};
pub use vae::trajectory::{ChapterNats, Trajectory, TrajectoryGenerator};
pub use vae::{Prior, Vae, VaeGenerator, VaeSettings};

/// Something that writes rows for synthetic units, and reads rows.
pub trait Generator: Send + Sync {
    /// Replaces `codes` by the rows of `units` synthetic units, row-major, and `offsets` by their `units + 1` row
    /// offsets.
    ///
    /// `rows_column` names the column whose code, plus one, is the number of rows of the unit; without it each unit
    /// has one row. All rows of a unit carry the same code there. With `evidence`, units are drawn given that each of
    /// their rows agrees with it. The same `rng` gives the same rows.
    fn generate(
        &self,
        units: usize,
        rows_column: Option<usize>,
        evidence: Option<&Evidence>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    );

    /// The probability that a row agrees with `evidence`, as each of several opinions in the model has it: their
    /// spread says how sure the model is.
    fn probabilities(&self, evidence: &Evidence, rng: &mut ChaCha8Rng) -> Vec<f64>;

    /// The probability that a row has both of two cells, as what was released of pairs of columns has it: the cells of
    /// column `a` by the cells of column `b`, another one.
    fn released_pair(&self, a: usize, b: usize) -> Array2<f32>;

    /// How unexpected rows are, in nats: `nats` holds one number a cell of `codes`, the negative logarithm of the
    /// probability of the cell given the cells before it in the row. The sum over a row is the negative of its log
    /// likelihood, or of a lower bound of that.
    ///
    /// # Shapes
    /// `codes` and `nats` are `rows x columns`, row-major.
    fn nats(&self, codes: &[u16], rng: &mut ChaCha8Rng, nats: &mut [f64]);

    /// Everything that generation needs, for the model file.
    fn tensors(&self) -> Vec<Tensor>;
}
