//! `synthward ledger show|verify`.

use super::answers::LedgerAnswer;
use super::{Global, print, print_json};
use crate::error::Result;
use crate::train::read_ledger;
use std::path::PathBuf;
use synthward_privacy::infinite::OrInfinity;
use synthward_privacy::ledger::Record;

/// Show or verify a ledger.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  synthward ledger show ledger.jsonl\n  synthward ledger verify ledger.jsonl")]
pub struct LedgerCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List what was spent on the table
    Show { ledger: PathBuf },
    /// Check that no line was edited, removed or reordered
    Verify { ledger: PathBuf },
}

impl LedgerCommand {
    pub fn run(self, global: &Global) -> Result<()> {
        let (Action::Show { ledger: path } | Action::Verify { ledger: path }) = &self.action;
        let ledger = read_ledger(path)?;
        let (epsilon, delta) = ledger.spent();
        match self.action {
            Action::Show { .. } if global.json => print_json(&LedgerAnswer::Shown {
                lines: ledger.lines(),
                epsilon: OrInfinity(epsilon),
                delta,
                cap: ledger.cap(),
            }),
            Action::Show { .. } => {
                let mut text = format!("table {}\n", ledger.table().unwrap_or("(none yet)"));
                for line in ledger.lines() {
                    let what = match &line.record {
                        Record::Opened { .. } => "opened".to_owned(),
                        Record::Intent { fit, epsilon, delta, .. } => {
                            format!("intent   fit {fit}: epsilon {}, delta {delta:e}", figure(*epsilon))
                        }
                        Record::Cap { epsilon: Some(cap) } => format!("cap      epsilon {cap} in all"),
                        Record::Cap { epsilon: None } => "cap      none".to_owned(),
                        Record::Refused { fit } => format!("refused  fit {fit}: nothing was spent"),
                        Record::Checkpoint { fit, sha256 } => format!("kept     fit {fit}: checkpoint {sha256}"),
                        Record::Resumed { fit } => format!("resumed  fit {fit}: nothing more is spent"),
                        Record::Outcome { fit, model_sha256 } => format!("released fit {fit}: model {model_sha256}"),
                    };
                    text.push_str(&format!("{}  {:<12}  {what}\n", line.time, line.who));
                }
                text.push_str(&format!(
                    "spent in all: epsilon {}, delta {delta:e} (basic composition)\n",
                    figure(epsilon)
                ));
                if let Some(cap) = ledger.cap() {
                    text.push_str(&format!("left under the cap of {cap}: epsilon {:.6}\n", ledger.left()));
                }
                print(&text)
            }
            Action::Verify { .. } if global.json => {
                print_json(&LedgerAnswer::Verified { verified: true, lines: ledger.lines().len() })
            }
            Action::Verify { .. } => print(&format!("{} lines verify\n", ledger.lines().len())),
        }
    }
}

/// An epsilon in words: one without noise is infinite.
fn figure(epsilon: f64) -> String {
    if epsilon == f64::INFINITY { "infinite (NOT PRIVATE: no noise)".into() } else { format!("{epsilon:.6}") }
}
