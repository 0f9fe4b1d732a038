//! The ledger on disk: locked while it is read and written, flushed before a
//! release depends on it.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use synthward_privacy::ledger::{LEDGER_VERSION, Ledger, Record};

/// A ledger file of one table.
pub struct LedgerFile {
    path: PathBuf,
    table: String,
}

impl LedgerFile {
    /// Names the ledger; nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>, table: impl Into<String>) -> Self {
        Self { path: path.into(), table: table.into() }
    }

    /// Appends a record under an exclusive lock, after verifying every line
    /// before it, and flushes it to the disk. A new ledger is opened first.
    ///
    /// # Errors
    /// Exit code 1 when the file cannot be read or written, 3 when a line does
    /// not verify or the ledger belongs to another table. Nothing is written then.
    pub fn append(&self, record: Record) -> Result<()> {
        let cannot = |e: std::io::Error| {
            Error::failed(format!("the ledger cannot be written ({})", e.kind()))
                .file(&self.path)
                .remedy("make the ledger and its folder writable; nothing is spent without a record")
        };
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(&self.path).map_err(cannot)?;
        file.lock().map_err(cannot)?;
        let mut ledger = read(&mut file, &self.path)?;
        let mut text = String::new();
        match ledger.table() {
            Some(table) if table != self.table => {
                return Err(Error::bad_input(format!("this is the ledger of table `{table}`, not of `{}`", self.table))
                    .file(&self.path)
                    .remedy("name the ledger of this table with --ledger"));
            }
            Some(_) => {}
            None => {
                let opened = Record::Opened { version: LEDGER_VERSION, table: self.table.clone() };
                text = ledger.append(opened, now(), who());
                text.push('\n');
            }
        }
        text.push_str(&ledger.append(record, now(), who()));
        text.push('\n');
        file.seek(SeekFrom::End(0)).map_err(cannot)?;
        file.write_all(text.as_bytes()).map_err(cannot)?;
        file.sync_all().map_err(cannot)
    }
}

/// Reads and verifies a ledger file.
///
/// # Errors
/// Exit code 1 when it cannot be read, 3 when a line does not verify.
pub fn read_ledger(path: &Path) -> Result<Ledger> {
    let mut file = File::open(path)
        .map_err(|e| Error::bad_input(format!("the ledger cannot be read ({})", e.kind())).file(path))?;
    read(&mut file, path)
}

fn read(file: &mut File, path: &Path) -> Result<Ledger> {
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(|e| Error::bad_input(format!("the ledger cannot be read ({})", e.kind())).file(path))?;
    Ledger::parse(&text).map_err(|e| {
        Error::bad_input(e.to_string())
            .file(path)
            .remedy("restore the ledger from a copy; a changed ledger cannot say what is left of the budget")
    })
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn who() -> String {
    ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
        .unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(fit: &str) -> Record {
        Record::Outcome { fit: fit.into(), model_sha256: "0".into() }
    }

    #[test]
    fn lines_survive_and_verify() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, "t");
        ledger.append(outcome("one")).unwrap();
        ledger.append(outcome("two")).unwrap();
        assert_eq!(read_ledger(&path).unwrap().lines().len(), 3);
        assert!(LedgerFile::new(&path, "other").append(outcome("three")).is_err());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"one\"", "\"eno\"", 1)).unwrap();
        let error = ledger.append(outcome("three")).unwrap_err();
        assert_eq!(error.kind.exit_code(), 3);
    }
}
