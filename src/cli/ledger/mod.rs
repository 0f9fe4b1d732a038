//! `synthward ledger open|show|verify|check`.

mod check;
mod place;
mod show;

pub use check::{CheckedFit, Finding};
pub use place::{LedgerPlace, ledger_of};

use super::answers::LedgerAnswer;
use super::{Global, print, print_json};
use crate::error::Result;
use crate::schema::AnySchema;
use crate::train::read_ledger;
use std::path::PathBuf;

/// Open, show, verify or check the ledger of a data source.
///
/// The budget is that of a source: of the persons whose rows the data are, whatever excerpt, split or export of them is
/// fitted. The schema names the source by a random identifier, and the ledger lies beside the schema.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  synthward ledger show ledger.jsonl\n  synthward ledger verify ledger.jsonl\n  synthward ledger check ledger.jsonl"
)]
pub struct LedgerCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Open the ledger of a schema's source, to which nothing was fitted yet: a schema with an epsilon_cap wants one
    Open {
        schema: PathBuf,
        #[command(flatten)]
        place: LedgerPlace,
    },
    /// List what was spent on each source
    Show { ledger: PathBuf },
    /// Check that no line was edited, removed or reordered
    Verify { ledger: PathBuf },
    /// Name the fits of versions whose guarantee had holes, and what can be said of their true epsilon
    Check { ledger: PathBuf },
}

impl LedgerCommand {
    pub fn run(self, global: &Global) -> Result<()> {
        match &self.action {
            Action::Open { schema, place } => {
                let table = match AnySchema::read(schema)? {
                    AnySchema::Table(schema) => schema.table,
                    AnySchema::Linked(schema) => schema.linked.table(),
                };
                let ledger = ledger_of(&place.of(None, schema), &table)?;
                let opened = !ledger.open()?;
                let path = ledger.path();
                if global.json {
                    return print_json(&LedgerAnswer::Opened { ledger: path, source: ledger.source(), opened });
                }
                let what = if opened { "keeps the budget of" } else { "had a ledger already:" };
                print(&format!("{}: {what} table {}\n", path.display(), table.name))
            }
            Action::Show { ledger } => show::show(global, &read_ledger(ledger)?),
            Action::Verify { ledger } => {
                let lines = read_ledger(ledger)?.lines().len();
                match global.json {
                    true => print_json(&LedgerAnswer::Verified { verified: true, lines }),
                    false => print(&format!("{lines} lines verify\n")),
                }
            }
            Action::Check { ledger } => check::check(global, &read_ledger(ledger)?),
        }
    }
}
