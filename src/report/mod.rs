//! The report: one page for the data-protection officer, the analyst and the
//! archive, and its JSON twin.
//!
//! The command line gathers a [`Report`] from the model, the ledger and the
//! evaluation; [`marginal_plots`] cuts the holdout and the cohort into cells
//! that are large enough to be shown; [`render`] makes one HTML page that
//! loads nothing and runs nothing. The words stand in `reports/templates`, one
//! file a section; the pictures are drawn by `chart`.

mod analyses;
mod chart;
mod checklist;
pub mod coarse;
mod facts;
mod marginal;
mod page;
mod render;
mod shares;
mod utility;
mod words;

pub(crate) use facts::number_or_infinity;
pub use facts::{BudgetLine, Claim, ColumnFact, FileFact, LedgerLine, Report, Reproduce, Setting, Units};
pub use marginal::{Axis, MIN_CELL_UNITS, MarginalPlot, marginal_plots};
pub use render::render;
pub use shares::{Group, Share, by_share};
