//! Tables that hang together, asked about in the order of their story.
//!
//! What a row is told from is known before the row, be it likely or not: the rows above it, the one before it, its place
//! among them, and how many there are. So a score is that of the row given these, and the scores of a person's rows add up;
//! and a missing cell is drawn given these and the other cells of its row.

mod fill;
mod score;

pub use fill::LinkedFill;
pub use score::{LinkedScores, TableScores, score_linked};

#[cfg(test)]
mod tests;
