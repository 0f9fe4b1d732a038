//! The trusted core of synthward: everything that the privacy claim rests on.
//!
//! It works on slices and closures: no files, no clock, no dataframe, no model.
//! Real rows enter as [`Sensitive`]; the mechanisms that a calibrated
//! [`Plan`](plan::Plan) hands out turn them into [`Released`]; the
//! [`ledger`] records what was spent. `README.md` beside this crate states the
//! claim and what it does not cover.

pub mod accountant;
pub mod calibrate;
pub mod case;
mod clip;
mod error;
mod event;
pub mod infinite;
mod leaves;
pub mod ledger;
pub mod mechanism;
mod parameters;
pub mod plan;
mod rng;
mod sensitive;
mod subsample;
#[cfg(feature = "test-noise")]
pub mod tape;
mod unit;

pub use clip::Clip;
pub use error::Error;
pub use event::Event;
pub use leaves::Batch;
pub use parameters::{Budget, LARGEST_EPSILON};
pub use rng::UnitKey;
#[cfg(feature = "test-noise")]
pub use rng::test_noise::seed_noise;
pub use sensitive::{Released, Sensitive};
pub use unit::{Adjacency, PrivacyUnit};
