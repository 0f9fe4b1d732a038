//! A fit on the disk: its lines in the ledger, its checkpoint and its model.
//!
//! What shows anything of the rows appears in three steps: it is written whole under a name of its own, with the fit's name
//! in it and `.next` at the end, the ledger names it by its SHA-256, and it is renamed, all under the ledger's lock. A
//! process that dies between two of them leaves a whole file or none; whoever goes on with the fit takes a whole one for
//! what it is, names it in the ledger, and goes on from there. So every planned release that anybody ever sees was made
//! once.

use super::checkpoint::Checkpoint;
use super::ledger_file::{LedgerFile, read_ledger};
use crate::error::{Error, Result};
use crate::model::sha256;
use crate::output;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use synthward_privacy::ledger::{Ledger, Line, Record};
use synthward_privacy::plan::{Plan, Share};

/// What is to be fitted, and where it is recorded.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a, 'p> {
    pub ledger: &'a LedgerFile,
    /// The model file.
    pub output: &'a Path,
    pub plan: &'p Plan,
    /// SHA-256 of all of the request that the plan does not say.
    pub request: &'p str,
}

/// One process's turn at a fit.
pub(super) struct Attempt<'a> {
    ledger: &'a LedgerFile,
    output: &'a Path,
    fit: String,
    /// The line of the ledger by which this process has the fit.
    line: u64,
}

/// Where a fit is gone on with.
pub(super) enum Found<'a, M> {
    /// From its beginning: nothing that it released was kept.
    Intent(Attempt<'a>),
    /// From a checkpoint.
    Checkpoint(Attempt<'a>, Box<Checkpoint>),
    /// It has ended: its model, and the SHA-256 of its file.
    Model(Box<M>, String),
}

impl<'a> Attempt<'a> {
    /// Records the intent of a new fit.
    ///
    /// # Errors
    /// Bad input where an unfinished fit left its files; what [`LedgerFile::append`] refuses.
    pub fn begin(asked: Asked<'a, '_>) -> Result<Self> {
        let Asked { ledger, output, plan, request } = asked;
        if let Some(file) = left_behind(output) {
            return Err(Error::bad_input("an unfinished fit left this file").file(file).remedy(
                "add --resume to go on with that fit, which spends nothing more; or delete the file to begin anew",
            ));
        }
        let fit = fit_name(plan)?;
        let line = ledger.append(Record::Intent {
            fit: fit.clone(),
            epsilon: plan.epsilon(),
            delta: plan.delta(),
            unit: plan.unit().clone(),
            adjacency: plan.adjacency(),
            event: plan.event(),
            request: request.into(),
        })?;
        Ok(Self { ledger, output, fit, line })
    }

    /// Finds the last fit of this request that can be gone on with and, if it has not ended, records that this process
    /// does. `model` reads the bytes of a model.
    ///
    /// # Errors
    /// Bad input when there is no such fit; what [`LedgerFile::append_after`] refuses.
    pub fn resume<M>(asked: Asked<'a, '_>, model: fn(&[u8]) -> Result<M>) -> Result<Found<'a, M>> {
        let Asked { ledger, output, .. } = asked;
        let read = read_ledger(ledger.path())?;
        for line in read.lines().iter().rev().filter(|line| asked.is_of(&line.record)) {
            let fit = line.record.fit().unwrap_or_default().to_owned();
            let (last, word) = last_words(&read, &fit);
            let turn = Self { ledger, output, fit, line: last.number };
            let found = match word {
                Record::Refused { .. } => None,
                Record::Outcome { model_sha256, .. } => turn.ended(model_sha256, model)?,
                Record::Checkpoint { sha256, .. } => turn.go_on(Some(sha256), asked.plan, model)?,
                _ => turn.go_on(None, asked.plan, model)?,
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Err(Error::bad_input("there is no unfinished fit of this request to go on with").file(ledger.path()).remedy(
            "give the command that was interrupted, with the same schema, seed, output and tables, and leave its files where they \
             are; a fit that had domains or the number of units to learn and kept nothing yet cannot be gone on with: \
             leave --resume out to begin one anew",
        ))
    }

    /// The model of a fit that has ended, if it is there.
    fn ended<M>(self, model_sha256: &str, model: fn(&[u8]) -> Result<M>) -> Result<Option<Found<'a, M>>> {
        let next = self.file(".next");
        for file in [&*next, self.output] {
            let Some(bytes) = std::fs::read(file).ok().filter(|bytes| sha256(bytes) == model_sha256) else { continue };
            if file != self.output {
                output::publish(file, self.output)?;
            }
            let model = model(&bytes).map_err(|e| e.file(self.output))?;
            self.clear()?;
            return Ok(Some(Found::Model(Box::new(model), model_sha256.into())));
        }
        Ok(None)
    }

    /// Goes on with a fit that has not ended, whose last checkpoint the ledger names, if there is one.
    fn go_on<M>(
        mut self,
        named: Option<&str>,
        plan: &Plan,
        model: fn(&[u8]) -> Result<M>,
    ) -> Result<Option<Found<'a, M>>> {
        let (next, path) = (self.file(".next"), self.output);
        if let Some(bytes) = std::fs::read(&next).ok()
            && let Ok(model) = model(&bytes)
        {
            let model_sha256 = sha256(&bytes);
            let record = Record::Outcome { fit: self.fit.clone(), model_sha256: model_sha256.clone() };
            self.name(|| Ok(()), record, || output::publish(&next, path))?;
            self.clear()?;
            return Ok(Some(Found::Model(Box::new(model), model_sha256)));
        }
        let (next, path) = (self.file(".checkpoint.next"), self.file(".checkpoint"));
        let read = |file: &Path| {
            let bytes = std::fs::read(file).ok()?;
            let checkpoint =
                Checkpoint::from_bytes(&bytes).ok().filter(|checkpoint| checkpoint.facts.fit == self.fit)?;
            Some((sha256(&bytes), checkpoint))
        };
        let kept = match (read(&next), read(&path)) {
            (Some((sha256, checkpoint)), _) => {
                let rename = || output::rename(&next, &path);
                if named == Some(&sha256) {
                    rename()?;
                } else {
                    let record = Record::Checkpoint { fit: self.fit.clone(), sha256 };
                    self.name(|| Ok(()), record, rename)?;
                }
                Some(checkpoint)
            }
            (None, Some((sha256, checkpoint))) => (named == Some(&sha256)).then_some(checkpoint),
            (None, None) => None,
        };
        // What a fit learns before it keeps anything is told on the terminal: it is not to be drawn twice.
        let learns = plan.entries().iter().any(|entry| entry.share == Share::Discover);
        if kept.is_none() && (named.is_some() || learns) {
            return Ok(None);
        }
        let record = Record::Resumed { fit: self.fit.clone() };
        self.name(|| Ok(()), record, || Ok(()))?;
        Ok(Some(match kept {
            Some(checkpoint) => Found::Checkpoint(self, Box::new(checkpoint)),
            None => Found::Intent(self),
        }))
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
        let (next, path) = (self.file(".checkpoint.next"), self.file(".checkpoint"));
        let record = Record::Checkpoint { fit: self.fit.clone(), sha256: sha256(bytes) };
        self.name(|| output::write_private_bytes(&next, bytes), record, || output::rename(&next, &path))
    }

    /// Ends the fit with its model, and returns the SHA-256 of its file.
    ///
    /// # Errors
    /// As [`Attempt::keep`].
    ///
    /// # Privacy
    /// Post-processing: the bytes are of what was released.
    pub fn finish(mut self, bytes: &[u8]) -> Result<String> {
        let (model_sha256, next, path) = (sha256(bytes), self.file(".next"), self.output);
        let record = Record::Outcome { fit: self.fit.clone(), model_sha256: model_sha256.clone() };
        self.name(|| output::write_private_bytes(&next, bytes), record, || output::publish(&next, path))?;
        self.clear()?;
        Ok(model_sha256)
    }

    /// Writes a line about the fit, with what comes before and after it under the same lock.
    fn name(
        &mut self,
        before: impl FnOnce() -> Result<()>,
        record: Record,
        after: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.line = self.ledger.append_between(before, record, Some(self.line), after)?;
        Ok(())
    }

    /// Removes what the fit leaves beside its model.
    fn clear(&self) -> Result<()> {
        [".checkpoint", ".checkpoint.next", ".next"].iter().try_for_each(|ending| output::remove(&self.file(ending)))
    }

    /// A file of this fit, beside the model.
    fn file(&self, ending: &str) -> PathBuf {
        let mut name = self.output.as_os_str().to_owned();
        name.push(format!(".{}{ending}", self.fit));
        name.into()
    }
}

impl Asked<'_, '_> {
    /// Whether this is an intent to do what is asked.
    fn is_of(&self, record: &Record) -> bool {
        let Record::Intent { epsilon, delta, unit, adjacency, event, request, .. } = record else { return false };
        let plan = self.plan;
        (*epsilon, *delta, unit, *adjacency, event, &**request)
            == (plan.epsilon(), plan.delta(), plan.unit(), plan.adjacency(), &plan.event(), self.request)
    }
}

/// The last line about a fit, and what it comes to: a resumption comes to what was there before it.
fn last_words<'l>(ledger: &'l Ledger, fit: &str) -> (&'l Line, &'l Record) {
    let mut lines = ledger.lines().iter().rev().filter(|line| line.record.fit() == Some(fit));
    let last = lines.next().expect("a fit that is in the ledger");
    let comes_to = [last].into_iter().chain(lines).find(|line| !matches!(line.record, Record::Resumed { .. }));
    (last, &comes_to.unwrap_or(last).record)
}

/// A file that an unfinished fit left beside its model.
fn left_behind(output: &Path) -> Option<PathBuf> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let model = output.file_name()?.to_string_lossy();
    let is_left = |name: &str| {
        let rest = name.strip_prefix(&*model).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| rest.ends_with(".checkpoint") || rest.ends_with(".next"))
    };
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.map(|entry| entry.path()).find(|path| path.file_name().is_some_and(|name| is_left(&name.to_string_lossy())))
}

/// A name for this fit in the ledger: a hash of the plan, the time and the process.
fn fit_name(plan: &Plan) -> Result<String> {
    let plan = serde_json::to_string(plan).map_err(|e| Error::failed(e.to_string()))?;
    let now = chrono::Utc::now().timestamp_nanos_opt().unwrap_or(0);
    let digest = Sha256::digest(format!("{plan}{now}{}", std::process::id()));
    Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}
