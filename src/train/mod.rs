//! Fitting: one straight way from sensitive rows to a released model.
//!
//! The plan is made from public facts, the ledger records the intent, the
//! table is read, and then only planned mechanisms touch it: noisy quantiles and
//! thresholded counts give the domains that are not public, noisy counts give the codecs and, pair by pair of columns,
//! the mixture; noisy gradients give the weights of a network, a noisy sum the latent prior. A training is kept between its steps, and
//! another process can go on with it.

mod attempt;
mod checkpoint;
mod discover;
mod dp_sgd;
mod fit;
mod flat;
mod keeper;
mod ledger_file;
mod linked;
mod measure;
mod network;
pub mod probe;
mod rows;
mod stop;
mod tables;
mod tails;
mod units;
mod witness;

pub use fit::{Check, FitRequest, Observe, Place, Planned, Progress, TABLE_MEMORY, fit, plan, plan_again};
pub(crate) use fit::{counted_together, imitate, noise_of_tables, rehearse};
pub use ledger_file::{LedgerFile, read_ledger};
pub use linked::{LinkedPlanned, LinkedRequest, fit_linked, plan_linked};
pub use stop::{Heard, Stop};
pub use units::CountNoise;
pub(crate) use witness::{CellsOf, CellsOfPart, Witness};
