//! A folder of tables, whole or not at all.

use super::LinkedCohort;
use crate::cohort::writer::{Format, Provenance, sink};
use crate::error::{Error, Result};
use crate::ingest::{Reference, Source};
use crate::output;
use std::fs::{File, copy};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// Draws so many persons and writes their tables to a new folder, one file a table, with copies of the `reference` files.
/// Memory does not grow with the number of persons. Returns the rows of each table, in the order of the model's parts.
///
/// # Errors
/// There is such a folder already; what [`LinkedCohort::generate`] gives; failure to write.
///
/// # Privacy
/// Post-processing of a released model; the reference files are public.
pub fn write_folder(
    cohort: &LinkedCohort<'_>,
    (persons, seed): (u64, u64),
    provenance: &Provenance,
    (path, format): (&Path, Format),
    reference: &[Reference],
    mut progress: impl FnMut(u64),
) -> Result<Vec<u64>> {
    let mut rows = Vec::new();
    output::folder_atomically(path, |folder| {
        copy_files(reference, folder)?;
        let names = cohort.model.header.parts.iter().map(|part| folder.join(&part.table));
        let files: Vec<PathBuf> = names.map(|name| name.with_extension(format.ending())).collect();
        let mut sinks = Vec::with_capacity(files.len());
        for ((file, part), (_, arrays)) in files.iter().zip(&cohort.model.header.parts).zip(&cohort.written) {
            let opened = BufWriter::with_capacity(1 << 20, File::create(file).map_err(|_| cannot(file))?);
            sinks.push(sink(format, (&part.table, opened), &arrays.schema, provenance)?);
        }
        rows = cohort.generate(persons, seed, |done, tables| {
            sinks.iter_mut().zip(tables).try_for_each(|(sink, batches)| sink.write(batches))?;
            progress(done);
            Ok(())
        })?;
        sinks.into_iter().try_for_each(|sink| sink.finish())?;
        files.iter().try_for_each(|file| output::settle(file))
    })?;
    Ok(rows)
}

/// Copies files into a folder of [`output::folder_atomically`].
///
/// # Errors
/// Failure to write; bad input, when a copy is not what the schema's author accepted.
pub fn copy_files(files: &[Reference], folder: &Path) -> Result<()> {
    for Reference { file, sha256 } in files {
        let copied = folder.join(file.file_name().unwrap_or_default());
        copy(file, &copied).map_err(|_| cannot(&copied))?;
        if Source::Path(copied.clone()).sha256()? != *sha256 {
            return Err(Error::bad_input("the file changed while it was read").file(file).remedy("run again"));
        }
        output::settle(&copied)?;
    }
    Ok(())
}

fn cannot(file: &Path) -> Error {
    Error::failed("cannot be written").file(file).remedy("check the room on the disk")
}
