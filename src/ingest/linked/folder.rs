//! The files of a folder of tables.

use std::fs;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::raw::column_names;
use super::super::source::Source;
use crate::error::{Error, Result, why};
use crate::schema::ConstraintFrom;
use crate::schema::linked::LinkedSchema;

/// Endings of tables, as they are looked for.
pub(in crate::ingest) const ENDINGS: [&str; 8] =
    ["csv", "csv.gz", "tsv", "parquet", "arrow", "ndjson", "ndjson.gz", "xlsx"];

/// The file of a table in a folder, a directory of part files, or numbered files of NDJSON; capitals do not matter.
///
/// # Errors
/// Bad input where the folder cannot be read, or has no such file or several that are no parts.
pub fn table_file(folder: &Path, table: &str) -> Result<Source> {
    match &files(folder, table)?[..] {
        [file] => Ok(Source::Path(file.clone())),
        [] => Err(Error::bad_input(format!("the folder has no table `{table}`"))
            .file(folder)
            .expected(format!("{table}.csv, .csv.gz, .tsv, .parquet, .arrow, .ndjson, .ndjson.gz or .xlsx"))
            .remedy("add the file, or take the table out of the schema")),
        [first, ..] => numbered(folder, table, &files(folder, table)?).ok_or_else(|| {
            Error::bad_input(format!("the folder has several files of table `{table}`"))
                .file(first)
                .expected("one file, a directory of part files, or NDJSON whose names differ by a number alone")
                .remedy("leave one of them in the folder, or put the parts into a directory of the table's name")
        }),
    }
}

/// Files of NDJSON whose names differ by a number alone, as FHIR's bulk export writes them.
pub(in crate::ingest) fn numbered(folder: &Path, table: &str, files: &[PathBuf]) -> Option<Source> {
    let mut patterns = files.iter().map(|file| {
        let name = file.file_name()?.to_str()?;
        let (stem, rest) = name.split_at_checked(table.len())?;
        let (number, ending) = rest.strip_prefix('.')?.split_once('.')?;
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| format!("{stem}.*.{ending}"))
    });
    let first = patterns.next()??;
    patterns.all(|pattern| pattern.as_ref() == Some(&first)).then(|| Source::Path(folder.join(first)))
}

/// A file that may be copied as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reference {
    pub file: PathBuf,
    /// SHA-256 of its bytes, in hex: the one of which the schema's author said that they are nobody's.
    pub sha256: String,
}

/// The files of the reference tables that a folder has.
///
/// # Errors
/// Bad input where the folder cannot be read, where a file is not the one that the schema's author accepted, and where it
/// has a column that is named like one of keys.
pub fn reference_files(folder: &Path, schema: &LinkedSchema) -> Result<Vec<Reference>> {
    let mut found = Vec::new();
    for table in schema.tables.iter().filter(|table| table.reference) {
        for file in files(folder, &table.name)? {
            if file.is_dir() {
                return Err(Error::bad_input(format!("reference table `{}` is a directory of part files", table.name))
                    .file(file)
                    .remedy("join them into one file: it is copied as it is"));
            }
            let source = Source::Path(file.clone());
            let sha256 = source.sha256()?;
            if table.reference_from != Some(ConstraintFrom::Public) || table.sha256.as_ref() != Some(&sha256) {
                return Err(Error::bad_input(format!(
                    "reference table `{}` would be copied as it is, and this is not the file that the schema's author accepted",
                    table.name
                ))
                .file(file)
                .expected("the SHA-256 that the schema has of it")
                .remedy(
                    "look at the file: where nothing in it is of a person, write reference_from = \"public\" and its SHA-256 as \
                     sha256 in the [[table]] and fit again; else take it out of the folder",
                ));
            }
            let keyed = |name: &String| schema.named_like_key(name).map(str::to_owned);
            if let Some((name, to)) =
                column_names(&source, &table.reading)?.into_iter().find_map(|name| keyed(&name).map(|to| (name, to)))
            {
                return Err(Error::bad_input(format!(
                    "reference table `{}` would be copied as it is, and a column is named like keys of table `{to}`",
                    table.name
                ))
                .file(file)
                .column(name)
                .remedy("take the column out of the file, or the table out of the schema; where it holds something else, rename it"));
            }
            found.push(Reference { file, sha256 });
        }
    }
    Ok(found)
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
        Error::bad_input(format!("the folder cannot be read ({})", why(e.kind()))).file(folder).remedy("check the path")
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
        let rest = name.strip_prefix(&table.to_ascii_lowercase()).and_then(|rest| rest.strip_prefix('.'));
        if rest.is_some_and(is_ending) || (name == table.to_ascii_lowercase() && path.is_dir()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
