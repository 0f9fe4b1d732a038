//! Reversible integer codes.
//!
//! Three steps, from what is public to what is released:
//! 1. the schema gives each column a public [`Domain`]: labels, or positions on a grid;
//! 2. real rows become positions, grouped and bounded by privacy unit ([`Grid`], sensitive);
//! 3. released counts of positions give each column a [`Codec`]: a few joint
//!    cells for the networks, and the law of the positions inside each cell.
//!
//! Everything after step 3 works on joint codes ([`Codes`], or a [`CodeStore`] of real rows) and a public [`Layout`].

mod code_store;
mod code_tree;
mod codec;
mod codes;
mod domain;
mod grid;
mod icd9;
mod identities;
mod positions;
mod procedures;
mod records;

pub use code_store::CodeStore;
pub use codec::{Codec, Decoder, Leaf, MAX_BINS, MAX_LABELS};
pub use codes::{Codes, Layout};
pub use domain::{Domain, ModelColumn, TableDomain};
pub use grid::{Grid, GridColumn, UnitRows};
pub use identities::Identities;
pub use positions::Positions;
pub use records::{Records, UNKNOWN};
