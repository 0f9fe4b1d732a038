//! The tables of a folder.

use super::Table;
use crate::error::{Error, Result};
use crate::ingest::{Source, raw};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How the names of tables end.
const ENDINGS: [&str; 4] = [".csv", ".csv.gz", ".parquet", ".arrow"];

fn is_table(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending)) && path.is_file()
}

/// Reads the tables of a folder, in the order of their names.
pub(super) fn read(folder: &Path, assume_public: bool) -> Result<Vec<Table>> {
    let unreadable =
        |e: std::io::Error| Error::bad_input(format!("the folder cannot be read ({})", e.kind())).file(folder);
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(unreadable)).collect::<Result<_>>()?;
    paths.retain(|path| is_table(path));
    paths.sort();
    if paths.is_empty() {
        return Err(Error::bad_input("the folder has no tables")
            .file(folder)
            .expected(format!("one file a table, ending in {}", ENDINGS.join(", ")))
            .remedy("put the tables there, or name another folder"));
    }
    let mut names: HashMap<String, PathBuf> = HashMap::new();
    for path in &paths {
        let name = Source::from(path).table_name();
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            return Err(Error::bad_input("the name of the file cannot be that of a table")
                .file(path)
                .expected("letters, digits, `_` and `-` before the first dot")
                .remedy("rename the file"));
        }
        if names.insert(name.to_ascii_lowercase(), path.clone()).is_some() {
            return Err(Error::bad_input(format!("two files hold a table `{name}`"))
                .file(path)
                .remedy("take one of them out of the folder"));
        }
    }
    let outside = |mut e: Error| {
        let or = e.remedy.map(|remedy| format!("{remedy}, or ")).unwrap_or_default();
        e.remedy = Some(format!("{or}take the file out of the folder"));
        e
    };
    let table = |path: &PathBuf| raw::read(&Source::from(path)).and_then(|raw| Table::new(raw, assume_public));
    paths.iter().map(|path| table(path).map_err(outside)).collect()
}

/// The folder's own name.
pub(super) fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    whole.file_name().and_then(|name| name.to_str()).unwrap_or("tables").to_owned()
}
