//! A fit on the disk: its lines in the ledger, its checkpoint and its model.
//!
//! What shows anything of the rows appears in three steps: it is written whole under a name of its own, with `.next` at
//! the end, the ledger names it by its SHA-256, and it is renamed, all under the ledger's lock. A process that dies between two of them leaves either
//! what the ledger names or what nobody has seen, so a fit goes on from the last file that the ledger names, and every
//! planned release that anybody ever sees was made once.

use super::checkpoint::{Checkpoint, Facts};
use super::ledger_file::{LedgerFile, read_ledger};
use crate::error::{Error, Result};
use crate::model::{Header, ModelFile, sha256};
use crate::output;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use synthward_privacy::ledger::{Ledger, Line, Record};
use synthward_privacy::plan::Plan;

/// One process's turn at a fit.
pub(super) struct Attempt<'a> {
    ledger: &'a LedgerFile,
    output: &'a Path,
    fit: String,
    /// The line of the ledger by which this process has the fit.
    line: u64,
}

/// Where a fit is gone on with.
pub(super) enum Found<'a> {
    /// From its beginning: nothing that it released was kept.
    Intent(Attempt<'a>),
    /// From a checkpoint.
    Checkpoint(Attempt<'a>, Box<Checkpoint>),
    /// It has ended: its model, and the SHA-256 of its file.
    Model(Box<ModelFile>, String),
}

impl<'a> Attempt<'a> {
    /// Records the intent of a new fit, whose model will be `output`.
    ///
    /// # Errors
    /// Bad input where an unfinished fit left its files; what [`LedgerFile::append`] refuses.
    pub fn begin(ledger: &'a LedgerFile, output: &'a Path, plan: &Plan) -> Result<Self> {
        let left = [checkpoint(output), next(&checkpoint(output)), next(output)];
        if let Some(file) = left.iter().find(|file| file.exists()) {
            return Err(Error::bad_input("an unfinished fit left this file").file(file).remedy(
                "add --resume to go on with that fit, which spends nothing more; or delete the file to begin anew",
            ));
        }
        if is_open(ledger.path(), plan) {
            tracing::warn!(
                "an unfinished fit of this plan is on record; --resume would go on with it and spend nothing more"
            );
        }
        let fit = fit_name(plan)?;
        let line = ledger.append(Record::Intent {
            fit: fit.clone(),
            epsilon: plan.epsilon(),
            delta: plan.delta(),
            unit: plan.unit().clone(),
            adjacency: plan.adjacency(),
            event: plan.event(),
        })?;
        Ok(Self { ledger, output, fit, line })
    }

    /// Finds the last fit of this plan that can be gone on with and, if it has not ended, records that this process does.
    /// `is_asked_for` tells what a checkpoint (with the hash of its schema) or a model was asked for from what is.
    ///
    /// # Errors
    /// Bad input when there is no such fit, or its checkpoint is another request's.
    pub fn resume(
        ledger: &'a LedgerFile,
        output: &'a Path,
        plan: &Plan,
        is_asked_for: impl Fn(&Header, Option<&str>) -> bool,
    ) -> Result<Found<'a>> {
        let read = read_ledger(ledger.path())?;
        for line in read.lines().iter().rev() {
            let Record::Intent { fit, .. } = &line.record else { continue };
            if !is_of(plan, &line.record) {
                continue;
            }
            let found = |line: &Line| -> Result<Self> {
                let line = ledger.append_after(Record::Resumed { fit: fit.clone() }, Some(line.number))?;
                Ok(Self { ledger, output, fit: fit.clone(), line })
            };
            match last_words(&read, fit) {
                (_, Record::Refused { .. }) => {}
                (_, Record::Outcome { model_sha256, .. }) => {
                    if let Some(bytes) = settle(output, model_sha256)? {
                        let model = ModelFile::from_bytes(&bytes).map_err(|e| e.file(output))?;
                        if is_asked_for(&model.header, None) {
                            clear(output)?;
                            return Ok(Found::Model(Box::new(model), model_sha256.clone()));
                        }
                    }
                }
                (last, Record::Checkpoint { sha256, .. }) => {
                    let path = checkpoint(output);
                    if let Some(bytes) = settle(&path, sha256)? {
                        let checkpoint = Checkpoint::from_bytes(&bytes).map_err(|e| e.file(&path))?;
                        let Facts { fit: kept, header, schema_sha256, .. } = &checkpoint.facts;
                        if !is_asked_for(header, Some(schema_sha256)) || kept != fit {
                            return Err(Error::bad_input("is the checkpoint of another fit")
                                .file(&path)
                                .remedy("give the command that was interrupted, with the same schema, and --resume"));
                        }
                        return Ok(Found::Checkpoint(found(last)?, Box::new(checkpoint)));
                    }
                }
                (last, _) => return Ok(Found::Intent(found(last)?)),
            }
        }
        Err(Error::bad_input("there is no unfinished fit of this plan to go on with")
            .file(ledger.path())
            .remedy("leave --resume out to begin one; to go on with one, give its command, its schema and its files"))
    }

    /// The fit's name in the ledger.
    pub fn fit(&self) -> &str {
        &self.fit
    }

    /// The input was refused before any mechanism ran.
    ///
    /// # Errors
    /// What [`LedgerFile::append_after`] refuses.
    pub fn refuse(self) -> Result<()> {
        self.ledger.append_after(Record::Refused { fit: self.fit }, Some(self.line)).map(drop)
    }

    /// Puts a checkpoint in the place of the last one.
    ///
    /// # Errors
    /// The disk; what [`LedgerFile::append_after`] refuses.
    ///
    /// # Privacy
    /// Post-processing: the bytes are of what was released.
    pub fn keep(&mut self, bytes: &[u8]) -> Result<()> {
        let path = checkpoint(self.output);
        let write = || output::write_private_bytes(&next(&path), bytes);
        let record = Record::Checkpoint { fit: self.fit.clone(), sha256: sha256(bytes) };
        self.line =
            self.ledger.append_between(write, record, Some(self.line), || output::rename(&next(&path), &path))?;
        Ok(())
    }

    /// Ends the fit with its model, and returns the SHA-256 of its file.
    ///
    /// # Errors
    /// As [`Attempt::keep`].
    ///
    /// # Privacy
    /// Post-processing: the bytes are of what was released.
    pub fn finish(self, bytes: &[u8]) -> Result<String> {
        let (model_sha256, path) = (sha256(bytes), self.output);
        let write = || output::write_bytes(&next(path), bytes);
        let record = Record::Outcome { fit: self.fit, model_sha256: model_sha256.clone() };
        self.ledger.append_between(write, record, Some(self.line), || output::rename(&next(path), path))?;
        clear(path)?;
        Ok(model_sha256)
    }
}

/// Whether a fit of this plan is on record that has not ended.
fn is_open(ledger: &Path, plan: &Plan) -> bool {
    let Ok(ledger) = read_ledger(ledger) else { return false };
    ledger
        .lines()
        .iter()
        .filter(|line| is_of(plan, &line.record))
        .filter_map(|line| line.record.fit())
        .any(|fit| !matches!(last_words(&ledger, fit).1, Record::Outcome { .. } | Record::Refused { .. }))
}

/// The last line about a fit, and what it comes to: a resumption comes to what was there before it.
fn last_words<'l>(ledger: &'l Ledger, fit: &str) -> (&'l Line, &'l Record) {
    let mut lines = ledger.lines().iter().rev().filter(|line| line.record.fit() == Some(fit));
    let last = lines.next().expect("a fit that is in the ledger");
    let comes_to = [last].into_iter().chain(lines).find(|line| !matches!(line.record, Record::Resumed { .. }));
    (last, &comes_to.unwrap_or(last).record)
}

/// Whether this is an intent to carry out this plan.
fn is_of(plan: &Plan, record: &Record) -> bool {
    let Record::Intent { epsilon, delta, unit, adjacency, event, .. } = record else { return false };
    (*epsilon, *delta, unit, *adjacency, event)
        == (plan.epsilon(), plan.delta(), plan.unit(), plan.adjacency(), &plan.event())
}

/// The bytes of the file that the ledger names by its SHA-256, which gets its own name if it has not yet; none when it
/// is not there.
fn settle(path: &Path, named: &str) -> Result<Option<Vec<u8>>> {
    for file in [&next(path), path] {
        if let Some(bytes) = std::fs::read(file).ok().filter(|bytes| sha256(bytes) == named) {
            if file != path {
                output::rename(file, path)?;
            }
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Removes what a fit that has ended leaves.
fn clear(output: &Path) -> Result<()> {
    for file in [checkpoint(output), next(&checkpoint(output)), next(output)] {
        output::remove(&file)?;
    }
    Ok(())
}

fn checkpoint(output: &Path) -> PathBuf {
    with(output, ".checkpoint")
}

fn next(path: &Path) -> PathBuf {
    with(path, ".next")
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A name for this fit in the ledger: a hash of the plan, the time and the process.
fn fit_name(plan: &Plan) -> Result<String> {
    let plan = serde_json::to_string(plan).map_err(|e| Error::failed(e.to_string()))?;
    let now = chrono::Utc::now().timestamp_nanos_opt().unwrap_or(0);
    let digest = Sha256::digest(format!("{plan}{now}{}", std::process::id()));
    Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}
