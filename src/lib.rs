//! synthward turns a table of patients into a synthetic cohort that a hospital
//! can share: differentially private by construction, useful by measurement.
//!
//! Real rows enter at [`ingest`], become codes in [`encode`], and leave only
//! through the mechanisms of the trusted core (`synthward-privacy`), called by
//! [`train`]. Everything after a released [`model`] is post-processing:
//! [`cohort`] draws rows from it, [`infer`] asks it about rows. [`evaluate`] reads real rows again, for the
//! data's controller, and [`report`] says so. `ARCHITECTURE.md` has the map.

#![deny(unsafe_code)]

pub mod audit;
pub mod cli;
pub mod cohort;
pub mod config;
pub mod encode;
pub mod error;
pub mod evaluate;
pub mod infer;
pub mod ingest;
pub mod model;
#[allow(unsafe_code)] // One call of the matrix kernel, `nn::gemm`, and the allocator that tests count with.
pub mod nn;
mod output;
pub mod report;
pub mod schema;
mod seal;
pub mod selftest;
mod spill;
pub mod train;
