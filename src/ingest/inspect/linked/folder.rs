//! The tables of a folder.

use super::Table;
use crate::error::{Error, Result, why};
use crate::ingest::inspect::Vouched;
use crate::ingest::linked::folder::{ENDINGS, numbered};
use crate::ingest::{Source, fhir, raw};
use crate::schema::Reading;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn is_table(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    let is_ending = |ending: &&str| name.strip_suffix(*ending).is_some_and(|stem| stem.ends_with('.'));
    !name.starts_with('.') && ENDINGS.iter().any(is_ending) && path.is_file()
}

/// Whether a directory holds part files of one table, and nothing else.
fn is_in_parts(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['.', '_']));
    !is_hidden
        && path.is_dir()
        && Source::from(path).parts().is_ok_and(|parts| parts.iter().all(|part| is_table(part.as_path())))
}

/// Numbered files of one table become one.
fn joined(folder: &Path, paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut tables: Vec<(String, Vec<PathBuf>)> = Vec::new();
    for path in paths {
        let name = Source::from(&path).table_name();
        match tables.last_mut().filter(|(last, _)| *last == name) {
            Some((_, files)) => files.push(path),
            None => tables.push((name, vec![path])),
        }
    }
    let join = |(name, files): (String, Vec<PathBuf>)| match numbered(folder, &name, &files) {
        Some(Source::Path(pattern)) if files.len() > 1 => vec![pattern],
        _ => files,
    };
    tables.into_iter().flat_map(join).collect()
}

/// Reads the tables of a folder, in the order of their names; and the names of the files of FHIR that are none.
pub(super) fn read(folder: &Path, vouched: Vouched, said: &Reading) -> Result<(Vec<Table>, Vec<String>)> {
    let unreadable =
        |e: std::io::Error| Error::bad_input(format!("the folder cannot be read ({})", why(e.kind()))).file(folder);
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(unreadable)).collect::<Result<_>>()?;
    paths.retain(|path| is_table(path) || is_in_parts(path));
    paths.sort();
    paths = joined(folder, paths);
    let outside = |mut e: Error| {
        let or = e.remedy.map(|remedy| format!("{remedy}, or ")).unwrap_or_default();
        e.remedy = Some(format!("{or}take the file out of the folder"));
        e
    };
    let mut skipped = Vec::new();
    for path in std::mem::take(&mut paths) {
        let parts = Source::from(&path).parts().map_err(outside)?;
        let first = parts.first().map_or(Ok(true), fhir::is_table);
        if first.map_err(outside)? {
            paths.push(path);
        } else {
            skipped.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    if paths.is_empty() {
        return Err(Error::bad_input("the folder has no tables")
            .file(folder)
            .expected(format!(
                "one file a table, ending in {}, or a directory of its part files",
                ENDINGS.map(|ending| format!(".{ending}")).join(", ")
            ))
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
                .remedy("take one of them out of the folder, or put parts of one table into a directory of its name"));
        }
    }
    let table = |path: &PathBuf| raw::read_to_draft(&Source::from(path), said).and_then(|raw| Table::new(raw, vouched));
    let tables = paths.iter().map(|path| table(path).map_err(outside)).collect::<Result<_>>()?;
    Ok((tables, skipped))
}

/// The folder's own name.
pub(super) fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    whole.file_name().and_then(|name| name.to_str()).unwrap_or("tables").to_owned()
}
