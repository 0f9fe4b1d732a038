//! The copies of real rows that lie on the disk, named in the ledger's folder.

use crate::error::{Error, Result};
use crate::model::sha256;
use crate::output;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The list of copies beside a ledger. It is for its owner alone, as they are: a sum over a table tells who knows all of its
/// rows but one whether a guess at that one is right.
pub struct Copies {
    list: PathBuf,
}

/// One copy.
#[derive(Clone, Serialize, Deserialize)]
struct Copy {
    file: PathBuf,
    sha256: String,
}

/// What was removed of the copies, and what was not, since it is no more what was written.
#[derive(Default)]
pub struct Removed {
    pub removed: Vec<PathBuf>,
    pub changed: Vec<PathBuf>,
}

impl Copies {
    /// Those whose ledger this is.
    pub fn beside(ledger: &Path) -> Self {
        let mut list = ledger.as_os_str().to_owned();
        list.push(".copies");
        Self { list: list.into() }
    }

    /// Writes a copy that its owner alone may read. It is named in the list before it is there.
    ///
    /// # Errors
    /// Failure to write; there is such a file already.
    pub fn write(&self, file: &Path, bytes: &[u8]) -> Result<()> {
        if file.exists() {
            return Err(Error::failed("is there already").file(file).remedy("name a new folder, or remove the file"));
        }
        let file = std::path::absolute(file).map_err(|e| cannot(file, &e))?;
        let line = Copy { file: file.clone(), sha256: sha256(bytes) };
        let line = serde_json::to_string(&line).map_err(|e| Error::failed(format!("writing JSON: {e}")))? + "\n";
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut list = options.open(&self.list).map_err(|e| cannot(&self.list, &e))?;
        let _ = list.lock();
        list.write_all(line.as_bytes()).and_then(|()| list.sync_all()).map_err(|e| cannot(&self.list, &e))?;
        output::write_private_bytes(&file, bytes)
    }

    /// Removes the copies below a folder, or all, and forgets them; of those that were changed since, nothing is touched.
    ///
    /// # Errors
    /// The list cannot be read or written; a file cannot be removed.
    pub fn remove(&self, below: Option<&Path>) -> Result<Removed> {
        let below = below.map(|folder| std::path::absolute(folder).map_err(|e| cannot(folder, &e))).transpose()?;
        let text = match std::fs::read_to_string(&self.list) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Removed::default()),
            text => text.map_err(|e| cannot(&self.list, &e))?,
        };
        let (mut outcome, mut kept) = (Removed::default(), String::new());
        for line in text.lines() {
            // What a crash left half of was never acted upon.
            let Ok(copy) = serde_json::from_str::<Copy>(line) else { continue };
            let is_meant = below.as_ref().is_none_or(|folder| copy.file.starts_with(folder));
            match std::fs::read(&copy.file).map(|bytes| sha256(&bytes) == copy.sha256) {
                Err(_) => {}
                Ok(true) if is_meant => {
                    output::remove(&copy.file)?;
                    // The folder that it was made for, where nothing else is in it.
                    let _ = copy.file.parent().map(std::fs::remove_dir);
                    outcome.removed.push(copy.file);
                }
                Ok(is_same) => {
                    if is_meant && !is_same {
                        outcome.changed.push(copy.file.clone());
                    }
                    kept.push_str(&format!("{line}\n"));
                }
            }
        }
        if kept.is_empty() {
            output::remove(&self.list)?;
        } else {
            output::write_private_bytes(&self.list, kept.as_bytes())?;
        }
        Ok(outcome)
    }
}

fn cannot(file: &Path, e: &std::io::Error) -> Error {
    Error::failed(format!("cannot be read or written ({})", e.kind()))
        .file(file)
        .remedy("choose a folder that exists and that you may write to")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_named_before_they_are_there_and_removed_while_they_are_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let copies = Copies::beside(&at("ledger.jsonl"));
        std::fs::create_dir(at("split")).unwrap();
        copies.write(&at("split/a"), b"rows").unwrap();
        copies.write(&at("b"), b"rows").unwrap();
        assert!(copies.write(&at("b"), b"rows").is_err(), "nothing is overwritten");
        copies.write(&at("no such folder/c"), b"rows").unwrap_err();
        assert!(std::fs::read_to_string(at("ledger.jsonl.copies")).unwrap().contains("no such folder"));
        #[cfg(unix)]
        for name in ["split/a", "b", "ledger.jsonl.copies"] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(at(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert_eq!(copies.remove(Some(&at("split"))).unwrap().removed, [at("split/a")]);
        assert!(!at("split").exists() && at("b").exists());
        std::fs::write(at("b"), "somebody else's").unwrap();
        assert_eq!(copies.remove(None).unwrap().changed, [at("b")]);
        std::fs::write(at("b"), "rows").unwrap();
        assert_eq!(copies.remove(None).unwrap().removed, [at("b")]);
        assert!(!at("ledger.jsonl.copies").exists() && copies.remove(None).unwrap().removed.is_empty());
    }
}
