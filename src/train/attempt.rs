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
//!
//! Before the first noise is drawn a line says that it is. Until then the process that wrote the intent may take it back; no
//! other one ever may.

use super::checkpoint::Checkpoint;
use super::ledger_file::{LedgerFile, VERSION, read_ledger};
use super::stop::Stop;
use crate::error::{Error, Result};
use crate::model::sha256;
use crate::output;
use crate::seal::{self, Sealed};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use synthward_privacy::ledger::{DRAWN_SINCE, Ledger, Line, Record};
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
    /// The file or folder of the rows, as it was named.
    pub file: &'p str,
    /// Whether a new fit may write over a model that is there.
    pub overwrites: bool,
    pub stop: &'a Stop,
}

/// One process's turn at a fit.
pub(super) struct Attempt<'a> {
    ledger: &'a LedgerFile,
    output: &'a Path,
    fit: String,
    /// The line of the ledger by which this process has the fit.
    line: u64,
    /// Whether the ledger says that something was drawn.
    has_drawn: bool,
    stop: &'a Stop,
}

/// What is to be done about a fit.
pub(super) enum Found<'a, M, S> {
    /// To carry it out: from its beginning, where nothing that it released was kept, or from a checkpoint.
    Fit(Attempt<'a>, Option<Checkpoint<S>>),
    /// It has ended: its model, and the SHA-256 of its file.
    Model(Box<M>, String),
}

impl<'a> Attempt<'a> {
    /// Begins a fit, or goes on with it. `model` reads the bytes of a model. Where the last fit of the source was taken back
    /// and no other is unfinished, there is nothing to go on with and nothing that was spent: a new fit begins.
    ///
    /// # Errors
    /// Bad input where an unfinished fit left its files, or there is none to go on with, or it is spent; what
    /// [`LedgerFile::append`] refuses.
    pub fn of<M, S: DeserializeOwned>(
        asked: Asked<'a, '_>,
        resume: bool,
        model: fn(&[u8]) -> Result<M>,
    ) -> Result<Found<'a, M, S>> {
        if !resume {
            return Ok(Found::Fit(Self::begin(asked)?, None));
        }
        if !asked.ledger.path().exists() {
            return Err(Error::bad_input("there is no ledger, so there is no fit to go on with")
                .file(asked.ledger.path())
                .remedy("give the command without --resume; where the ledger lies elsewhere, name it with --ledger"));
        }
        let ledger = read_ledger(asked.ledger.path())?;
        if let Some(found) = asked.unfinished(&ledger) {
            return Self::resume(asked, &ledger, found, model);
        }
        if !nothing_drawn(&ledger, asked.ledger.source()) {
            return Err(Error::bad_input("there is no unfinished fit of this request to go on with")
                .file(asked.ledger.path())
                .remedy(
                    "give the command that was interrupted, with the same schema, seed, output and tables, and leave its files \
                     where they are; a fit that version 0.1.0 began cannot be gone on with. A new fit, without --resume, costs \
                     its epsilon again",
                ));
        }
        tracing::info!("the last fit drew nothing and was not charged: a new one begins");
        Ok(Found::Fit(Self::begin(asked)?, None))
    }

    /// Records the intent of a new fit.
    fn begin(asked: Asked<'a, '_>) -> Result<Self> {
        let Asked { ledger, output, plan, request, file, overwrites, stop } = asked;
        if !overwrites {
            output::check_new(output)?;
        }
        if let Some(file) = left_behind(output) {
            return Err(Error::bad_input("an unfinished fit left this file").file(file).remedy(
                "add --resume to go on with that fit, which spends nothing more; a new fit costs its epsilon again, and \
                 wants another output",
            ));
        }
        let fit = fit_name(plan)?;
        let intent = Record::Intent {
            fit: fit.clone(),
            source: ledger.source().map(str::to_owned),
            epsilon: plan.epsilon(),
            delta: plan.delta(),
            unit: plan.unit().clone(),
            adjacency: plan.adjacency(),
            event: plan.event(),
            request: request.into(),
            file: Some(file.into()),
            tool: Some(VERSION.into()),
        };
        let line = stop.intend(|| {
            let line = ledger.append(intent)?;
            let (ledger, refused) = (ledger.clone(), Record::Refused { fit: fit.clone() });
            Ok((line, Box::new(move || ledger.append_after(refused, Some(line)).map(drop))))
        })?;
        Ok(Self { ledger, output, fit, line, has_drawn: false, stop })
    }

    /// Records that this process goes on with a fit that has not ended.
    fn resume<M, S: DeserializeOwned>(
        asked: Asked<'a, '_>,
        read: &Ledger,
        (intent, (last, word)): (&Line, (&Line, &Record)),
        model: fn(&[u8]) -> Result<M>,
    ) -> Result<Found<'a, M, S>> {
        let Asked { ledger, output, plan, stop, .. } = asked;
        let fit = intent.record.fit().unwrap_or_default();
        let of_fit = read.lines().iter().filter(|line| line.record.fit() == Some(fit));
        let has_drawn = of_fit.into_iter().any(|line| matches!(line.record, Record::Drawn { .. }));
        let mut turn = Self { ledger, output, fit: fit.to_owned(), line: last.number, has_drawn, stop };
        let named = match word {
            Record::Outcome { model_sha256, key, .. } => return turn.ended(model_sha256, key, model),
            Record::Checkpoint { sha256, key, .. } => Some((sha256, key)),
            // Earlier versions told on the terminal what a fit learnt before they kept it: it is not to be drawn twice.
            _ if read.version_at(intent.number) < DRAWN_SINCE
                && plan.entries().iter().any(|entry| entry.share == Share::Discover) =>
            {
                return Err(spent(
                    "an earlier version began this fit, which had domains or a number of units to learn, and kept nothing",
                )
                .file(output));
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
        stop.resume();
        Ok(Found::Fit(turn, checkpoint))
    }

    /// What has to be so before anything is drawn: the tables are read, and fit their schemas. Then the ledger is told that
    /// noise is drawn from here on. Otherwise the intent is taken back, where this process wrote it.
    ///
    /// # Errors
    /// What `read` gives; interrupted where somebody wished so; what [`LedgerFile::append_after`] refuses.
    pub fn before_noise<T>(&mut self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let drawn = read().and_then(|read| {
            let record = (!self.has_drawn).then(|| Record::Drawn { fit: self.fit.clone() });
            let write = |record| self.ledger.append_after(record, Some(self.line));
            let line = self.stop.draw(|| record.map(write).transpose())?;
            self.line = line.unwrap_or(self.line);
            Ok(read)
        });
        if drawn.is_err() {
            match self.stop.take_back() {
                Ok(true) => tracing::info!("nothing was drawn: the intent was taken back, and nothing is spent"),
                Ok(false) => {}
                Err(e) => tracing::warn!("nothing was drawn, but the intent could not be taken back, and counts: {e}"),
            }
        }
        drawn
    }

    /// Who may wish that the fit stop.
    pub fn stop(&self) -> &'a Stop {
        self.stop
    }

    /// The model of a fit that has ended.
    fn ended<M, S>(self, model_sha256: &str, key: &str, model: fn(&[u8]) -> Result<M>) -> Result<Found<'a, M, S>> {
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
    /// The intent of the last fit of this request that was not taken back, and its last words.
    fn unfinished<'l>(&self, ledger: &'l Ledger) -> Option<(&'l Line, (&'l Line, &'l Record))> {
        let intents = ledger.lines().iter().rev().filter(|line| self.is_of(&line.record));
        intents
            .filter_map(|line| Some((line, last_words(ledger, line.record.fit()?))))
            .find(|(_, (_, word))| !matches!(word, Record::Refused { .. }))
    }

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

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.stop.forget();
    }
}

/// The checkpoint that the ledger names, which is put where it belongs if a process died before it did that.
fn kept<S: DeserializeOwned>([path, next]: &[PathBuf; 2], named: &str, key: &str) -> Result<Checkpoint<S>> {
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

/// Whether the last fit of a source was taken back, and each before it was, too, or has ended.
fn nothing_drawn(ledger: &Ledger, source: Option<&str>) -> bool {
    let is_intent = |line: &&Line| matches!(line.record, Record::Intent { .. });
    let words =
        ledger.lines_of(source).filter(is_intent).filter_map(|line| Some(last_words(ledger, line.record.fit()?).1));
    let words: Vec<&Record> = words.collect();
    matches!(words.last(), Some(Record::Refused { .. }))
        && words.iter().all(|word| matches!(word, Record::Refused { .. } | Record::Outcome { .. }))
}

/// The last line about a fit, and what it comes to: a resumption, and that something is drawn, come to what was there before.
fn last_words<'l>(ledger: &'l Ledger, fit: &str) -> (&'l Line, &'l Record) {
    let mut lines = ledger.lines().iter().rev().filter(|line| line.record.fit() == Some(fit));
    let last = lines.next().expect("a fit that is in the ledger");
    let comes_to = [last]
        .into_iter()
        .chain(lines)
        .find(|line| !matches!(line.record, Record::Resumed { .. } | Record::Drawn { .. }));
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
