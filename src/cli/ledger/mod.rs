//! `synthward ledger open|show|verify|check`.

mod check;
mod place;
mod show;

pub use check::{CheckedFit, Finding};
pub use place::{LedgerPlace, ledger_of};

use super::answers::LedgerAnswer;
use super::{Global, print, print_json};
use crate::error::{Error, Result};
use crate::schema::AnySchema;
use crate::train::{LedgerFile, read_ledger};
use std::path::{Path, PathBuf};

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
                refuse_second(&ledger, &LedgerFile::beside(schema))?;
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

/// An error where the ledger beside the schema has the source already: a second one would be a second budget.
fn refuse_second(ledger: &LedgerFile, beside: &Path) -> Result<()> {
    let Some(source) = ledger.source() else { return Ok(()) };
    if ledger.path() == beside || !beside.exists() {
        return Ok(());
    }
    let has_it = read_ledger(beside)?.tables().iter().any(|(_, of)| *of == Some(source));
    if !has_it {
        return Ok(());
    }
    Err(Error::bad_input("the budget of this source is kept here already")
        .file(beside)
        .remedy("leave --ledger out, or move this ledger and its head to where it is to lie"))
}
