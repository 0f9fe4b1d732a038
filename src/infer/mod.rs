//! A released model, asked about rows: how likely they are, and what is missing of them.
//!
//! The model was released, so asking it costs no privacy. The rows are real: what is said of them is for the data's
//! controller, and lies outside the guarantee.

mod fill;
mod linked;
mod modelled;
mod score;

pub use fill::{Fill, MAX_IMPUTATIONS};
pub use linked::{LinkedFill, LinkedScores, TableScores, score_linked};
pub use score::{ColumnScore, Scores, score};
