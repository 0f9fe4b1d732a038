//! The files of a folder of tables.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::source::Source;
use crate::error::{Error, Result};
use crate::schema::linked::LinkedSchema;

/// Endings of tables, as they are looked for.
pub(in crate::ingest) const ENDINGS: [&str; 6] = ["csv", "csv.gz", "parquet", "arrow", "ndjson", "ndjson.gz"];

/// The file of a table in a folder; capitals do not matter.
///
/// # Errors
/// Bad input where the folder cannot be read, or has no such file or several.
pub fn table_file(folder: &Path, table: &str) -> Result<Source> {
    match &files(folder, table)?[..] {
        [file] => Ok(Source::Path(file.clone())),
        [] => Err(Error::bad_input(format!("the folder has no table `{table}`"))
            .file(folder)
            .expected(format!("{table}.csv, .csv.gz, .parquet, .arrow, .ndjson or .ndjson.gz"))
            .remedy("add the file, or take the table out of the schema")),
        [first, ..] => Err(Error::bad_input(format!("the folder has several files of table `{table}`"))
            .file(first)
            .remedy("leave one of them in the folder; parts of NDJSON may be joined, one after the other")),
    }
}

/// The files of the reference tables that a folder has.
///
/// # Errors
/// Bad input where the folder cannot be read.
pub fn reference_files(folder: &Path, schema: &LinkedSchema) -> Result<Vec<PathBuf>> {
    let references = schema.tables.iter().filter(|table| table.reference);
    let files = references.map(|table| files(folder, &table.name)).collect::<Result<Vec<_>>>()?;
    Ok(files.concat())
}

/// Whether a table's file may end so: FHIR's may have a number, as `Patient.000.ndjson`.
pub(in crate::ingest) fn is_ending(ending: &str) -> bool {
    let unnumbered = match ending.split_once('.') {
        Some((number, rest)) if rest.starts_with("ndjson") && number.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => ending,
    };
    ENDINGS.contains(&unnumbered)
}

fn files(folder: &Path, table: &str) -> Result<Vec<PathBuf>> {
    let unreadable = |e: std::io::Error| {
        Error::bad_input(format!("the folder cannot be read ({})", e.kind())).file(folder).remedy("check the path")
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
        let rest = name.strip_prefix(&table.to_ascii_lowercase()).and_then(|rest| rest.strip_prefix('.'));
        if rest.is_some_and(is_ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
