//! Synthetic rows: drawn, decoded to the input's Arrow types, written.
//!
//! Everything here is post-processing of a released model: no function of this
//! room can see a real row, and so drawing more, or conditioning, costs nothing.
//! A cohort is made of a released model:
//!
//! ```no_run
//! fn prepare(model: &synthward::model::ModelFile) {
//!     let _ = synthward::cohort::Cohort::new(model, synthward::cohort::Format::Parquet);
//! }
//! ```
//!
//! and of nothing sensitive:
//!
//! ```compile_fail
//! fn prepare(model: &synthward_privacy::Sensitive<synthward::model::ModelFile>) {
//!     let _ = synthward::cohort::Cohort::new(model, synthward::cohort::Format::Parquet);
//! }
//! ```

mod arrays;
mod condition;
mod generate;
mod linked;
mod ndjson;
mod numbers;
mod rules;
mod settled;
mod writer;

pub use arrays::{ColumnValues, data_type};
pub use condition::{Condition, Rarity};
pub use generate::{Cohort, generate};
pub use linked::{LinkedCohort, PERSONS_PER_BLOCK, copy_files, persons_for, write_folder, write_history};
pub use ndjson::is_fhir;
pub use rules::{Row, Rules, Setting};
pub use writer::{Format, Provenance, parquet_bytes, write, write_batches, write_batches_as};
