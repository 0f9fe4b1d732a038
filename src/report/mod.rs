//! Two reports, each one page and its JSON twin: the controller's, for the data-protection officer and the archive, which
//! compares with real rows; and the recipients' ([`Release`]), which goes with the cohort and holds no such figure.
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
mod release;
mod render;
mod shares;
mod utility;
pub mod words;

pub(crate) use facts::number_or_infinity;
pub use facts::{
    AllTables, BudgetLine, Claim, ColumnFact, FOR_CONTROLLER, FileFact, LedgerLine, Report, Reproduce, Setting, Units,
};
pub use marginal::{Axis, MIN_CELL_UNITS, MarginalPlot, marginal_plots};
pub use release::{Release, ReleasedTable};
pub use render::{render, render_release};
pub use shares::{Group, Share, by_share};
