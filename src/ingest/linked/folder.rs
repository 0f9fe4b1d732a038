//! The files of a folder of tables.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::source::Source;
use crate::error::{Error, Result};
use crate::schema::linked::LinkedSchema;

/// Endings of tables, as they are looked for.
const ENDINGS: [&str; 4] = ["csv", "csv.gz", "parquet", "arrow"];

/// The file of a table in a folder; capitals do not matter.
///
/// # Errors
/// Bad input where the folder cannot be read, or has no such file or several.
pub fn table_source(folder: &Path, table: &str) -> Result<Source> {
    match &files(folder, table)?[..] {
        [file] => Ok(Source::Path(file.clone())),
        [] => Err(Error::bad_input(format!("the folder has no table `{table}`"))
            .file(folder)
            .expected(format!("{table}.csv, .csv.gz, .parquet or .arrow"))
            .remedy("add the file, or take the table out of the schema")),
        [first, ..] => Err(Error::bad_input(format!("the folder has several files of table `{table}`"))
            .file(first)
            .remedy("leave one of them in the folder")),
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

fn files(folder: &Path, table: &str) -> Result<Vec<PathBuf>> {
    let unreadable = |e: std::io::Error| {
        Error::bad_input(format!("the folder cannot be read ({})", e.kind())).file(folder).remedy("check the path")
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
        if ENDINGS.iter().any(|ending| name == format!("{}.{ending}", table.to_ascii_lowercase())) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
