//! Persons and their rows, written as the one table that they were read from.

use super::{BLOCKS_PER_WAVE, LinkedCohort, PERSONS_PER_BLOCK};
use crate::cohort::writer::{Provenance, write_batches};
use crate::error::{Error, Result};
use arrow_array::RecordBatch;
use std::path::Path;

/// Persons that are drawn for so many rows, where a person has so many on average.
pub fn persons_for(rows: u64, of_a_person: f64) -> u64 {
    let (mut left, mut persons) = (rows as f64, 0);
    while left > 0.0 {
        let drawn = PERSONS_PER_BLOCK * blocks_for(left.ceil() as u64);
        persons += drawn;
        left -= drawn as f64 * of_a_person.max(1.0);
    }
    persons
}

/// Blocks of persons that are drawn together while so many rows are wanting: nearly all persons have a row at least.
fn blocks_for(rows: u64) -> u64 {
    rows.div_ceil(PERSONS_PER_BLOCK).min(BLOCKS_PER_WAVE)
}

/// Draws exactly so many rows of a model of a table with an order, and writes them to one file, each person's together and
/// in order. Of the last person the first rows are written, as far as there is room. Memory does not grow with the number of
/// rows.
///
/// # Errors
/// What [`LinkedCohort::generate`] gives; a model that draws no rows; failure to write.
///
/// # Privacy
/// Post-processing of a released model.
pub fn write_history(
    cohort: &LinkedCohort<'_>,
    (rows, seed): (u64, u64),
    provenance: &Provenance,
    path: &Path,
    mut progress: impl FnMut(u64),
) -> Result<()> {
    let (_, arrays) = cohort.written.first().ok_or_else(|| Error::failed("there is nothing to write"))?;
    write_batches(arrays.schema.clone(), provenance, path, |sink| {
        let mut before = vec![0u64; cohort.tables.len()];
        let (mut done, mut block) = (0, 0);
        while done < rows {
            let blocks = blocks_for(rows - done);
            let drawn = cohort.wave(block..block + blocks, u64::MAX, seed, &mut before)?;
            block += blocks;
            let mut left = (rows - done) as usize;
            let batches = drawn.into_iter().flatten().map(|batch| {
                let taken = batch.num_rows().min(left);
                left -= taken;
                batch.slice(0, taken)
            });
            let batches: Vec<RecordBatch> = batches.filter(|batch| batch.num_rows() > 0).collect();
            if batches.is_empty() {
                return Err(Error::failed("the model draws no rows"));
            }
            done = rows - left as u64;
            sink(batches)?;
            progress(done);
        }
        Ok(())
    })
}
