//! Where the ledger lies.

use crate::error::Result;
use crate::schema::{TableSpec, new_source};
use crate::train::LedgerFile;
use std::path::{Path, PathBuf};

/// The place of a ledger: as said here, else as the run file says, else beside the schema.
#[derive(clap::Args)]
pub struct LedgerPlace {
    /// The ledger of the data's source [default: ledger.jsonl beside the schema]
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

impl LedgerPlace {
    /// The file; `stated` is what a run file says.
    pub fn of(&self, stated: Option<PathBuf>, schema: &Path) -> PathBuf {
        self.ledger.clone().or(stated).unwrap_or_else(|| LedgerFile::beside(schema))
    }
}

/// The ledger of a table's source. Where the schema does not name the source, a name that it could have is told.
pub fn ledger_of(path: &Path, table: &TableSpec) -> Result<LedgerFile> {
    if table.source.is_none() {
        tracing::warn!(
            "the schema does not name its source, so whatever is spent in {} counts against it; write source = \"{}\" under \
             the table's name, and the same in every schema of the same persons",
            path.display(),
            new_source()?
        );
    }
    Ok(LedgerFile::new(path, table))
}
