//! Synthetic rows: drawn, decoded to the input's Arrow types, written.
//!
//! Everything here is post-processing of a released model: no function of this
//! room can see a real row, and so drawing more, or conditioning, costs nothing.

mod arrays;
mod generate;
mod writer;

pub use generate::{Cohort, generate};
pub use writer::{Format, Provenance, write};
