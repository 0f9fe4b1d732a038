//! A fit on the disk: its lines in the ledger, its checkpoint and its model.
//!
//! What shows anything of the rows is first written whole and sealed, under a name of its own that ends in `.next`: nobody
//! can read it. Then a line of the ledger names it by the SHA-256 of what is sealed and tells its key. That line counts
//! before anybody can read it ([`super::ledger_file`]). A checkpoint stays sealed and is renamed; a model is
//! written anew under its own name, as it is. All this happens under the ledger's lock.
//!
//! A process that dies before that moment leaves what nobody can ever read: the fit goes on from what was named before. One
//! that dies after it leaves what the line names: the fit goes on from there. What a line names and nobody finds any more may
//! have been seen, so it is not made again: the fit is spent. So every planned release that anybody ever sees was made
//! once.

use super::checkpoint::Checkpoint;
use super::ledger_file::{LedgerFile, VERSION, read_ledger};
use crate::error::{Error, Result};
use crate::model::sha256;
use crate::output;
use crate::seal::{self, Sealed};
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
                "add --resume to go on with that fit, which spends nothing more; a new fit costs its epsilon again, and \
                 wants another output",
            ));
        }
        let fit = fit_name(plan)?;
        let line = ledger.append(Record::Intent {
            fit: fit.clone(),
            source: ledger.source().map(str::to_owned),
            epsilon: plan.epsilon(),
            delta: plan.delta(),
            unit: plan.unit().clone(),
            adjacency: plan.adjacency(),
            event: plan.event(),
            request: request.into(),
            tool: Some(VERSION.into()),
        })?;
        Ok(Self { ledger, output, fit, line })
    }

    /// Finds the last fit of this request and, if it has not ended, records that this process goes on with it. `model` reads
    /// the bytes of a model.
    ///
    /// # Errors
    /// Bad input when there is no such fit, or it is spent; what [`LedgerFile::append_after`] refuses.
    pub fn resume<M>(asked: Asked<'a, '_>, model: fn(&[u8]) -> Result<M>) -> Result<Found<'a, M>> {
        let Asked { ledger, output, plan, .. } = asked;
        let read = read_ledger(ledger.path())?;
        let fits =
            read.lines().iter().rev().filter(|line| asked.is_of(&line.record)).filter_map(|line| line.record.fit());
        let found = fits
            .map(|fit| (fit, last_words(&read, fit)))
            .find(|(_, (_, word))| !matches!(word, Record::Refused { .. }));
        let Some((fit, (last, word))) = found else {
            return Err(Error::bad_input("there is no unfinished fit of this request to go on with")
                .file(ledger.path())
                .remedy(
                    "give the command that was interrupted, with the same schema, seed, output and tables, and leave its files \
                     where they are; a fit that version 0.1.0 began cannot be gone on with. A new fit, without --resume, costs \
                     its epsilon again",
                ));
        };
        let mut turn = Self { ledger, output, fit: fit.to_owned(), line: last.number };
        let named = match word {
            Record::Outcome { model_sha256, key, .. } => return turn.ended(model_sha256, key, model),
            Record::Checkpoint { sha256, key, .. } => Some((sha256, key)),
            // What a fit learns before it keeps anything is told on the terminal: it is not to be drawn twice.
            _ if plan.entries().iter().any(|entry| entry.share == Share::Discover) => {
                return Err(
                    spent("this fit had domains or a number of units to learn, and kept nothing yet").file(output)
                );
            }
            _ => None,
        };
        let files = [".checkpoint", ".checkpoint.next"].map(|ending| turn.file(ending));
        let mut checkpoint = None;
        let read = || {
            checkpoint = named.map(|(sha256, key)| kept(&files, sha256, key)).transpose()?;
            Ok(())
        };
        let record = Record::Resumed { fit: turn.fit.clone() };
        turn.name(read, record, || Ok(()))?;
        Ok(match checkpoint {
            Some(checkpoint) => Found::Checkpoint(turn, Box::new(checkpoint)),
            None => Found::Intent(turn),
        })
    }

    /// The model of a fit that has ended.
    fn ended<M>(self, model_sha256: &str, key: &str, model: fn(&[u8]) -> Result<M>) -> Result<Found<'a, M>> {
        let is_it = |bytes: &Vec<u8>| sha256(bytes) == model_sha256;
        let there = std::fs::read(self.output).ok().filter(is_it);
        let bytes = match there {
            Some(bytes) => bytes,
            None => {
                let sealed = std::fs::read(self.file(".next")).ok();
                let opened = sealed.and_then(|sealed| seal::open(&sealed, key)).filter(is_it);
                let bytes = opened.ok_or_else(|| lost("model", model_sha256).file(self.output))?;
                output::write_bytes(self.output, &bytes)?;
                bytes
            }
        };
        let model = model(&bytes).map_err(|e| e.file(self.output))?;
        self.clear()?;
        Ok(Found::Model(Box::new(model), model_sha256.into()))
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
        let Sealed { bytes: sealed, key } = Sealed::new(bytes)?;
        let record = Record::Checkpoint { fit: self.fit.clone(), sha256: sha256(bytes), key };
        self.name(|| output::write_private_bytes(&next, &sealed), record, || output::rename(&next, &path))
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
        let Sealed { bytes: sealed, key } = Sealed::new(bytes)?;
        let record = Record::Outcome { fit: self.fit.clone(), model_sha256: model_sha256.clone(), key };
        self.name(|| output::write_private_bytes(&next, &sealed), record, || output::write_bytes(path, bytes))?;
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
    /// Whether this is an intent to do what is asked. Fits of versions that did not say theirs showed files before they named
    /// them, and are not gone on with.
    fn is_of(&self, record: &Record) -> bool {
        let Record::Intent { source, epsilon, delta, unit, adjacency, event, request, tool: Some(_), .. } = record
        else {
            return false;
        };
        let plan = self.plan;
        (source.as_deref(), *epsilon, *delta, unit, *adjacency, event, &**request)
            == (
                self.ledger.source(),
                plan.epsilon(),
                plan.delta(),
                plan.unit(),
                plan.adjacency(),
                &plan.event(),
                self.request,
            )
    }
}

/// The checkpoint that the ledger names, which is put where it belongs if a process died before it did that.
fn kept([path, next]: &[PathBuf; 2], named: &str, key: &str) -> Result<Checkpoint> {
    let opened = |file: &Path| {
        let sealed = std::fs::read(file).ok()?;
        seal::open(&sealed, key).filter(|bytes| sha256(bytes) == named)
    };
    let bytes = match opened(path) {
        Some(bytes) => bytes,
        None => {
            let bytes = opened(next).ok_or_else(|| lost("checkpoint", named).file(path))?;
            output::rename(next, path)?;
            bytes
        }
    };
    Checkpoint::from_bytes(&bytes).map_err(|e| e.file(path))
}

/// The error of a file that the ledger names and nobody finds.
fn lost(what: &str, sha256: &str) -> Error {
    spent(&format!("the {what} that the ledger names last, of SHA-256 {sha256}, is not here"))
}

/// The error of a fit that cannot be gone on with: somebody may have seen what it released.
fn spent(why: &str) -> Error {
    Error::bad_input(format!("{why}: the fit is spent, and cannot be gone on with")).remedy(
        "where a file is missing, put it back from a copy and give the command again; else fit anew, without --resume, \
         which costs its epsilon again",
    )
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
