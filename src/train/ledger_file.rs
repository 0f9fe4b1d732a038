//! The ledger on disk: locked while it is read and written, flushed before a
//! release depends on it.
//!
//! # Where it lies
//! Budget belongs to the source of the data, which the schema names by a random identifier. So the ledger is the one that
//! the caller names, else the one beside the schema ([`LedgerFile::beside`]), wherever tables and models lie. It may hold
//! the lines of several sources; each has a sum and a cap of its own.
//!
//! # The head, and a line that is not whole
//! Beside the ledger lies its head: how many lines there are, the hash of the last, and the text of the lines that were added
//! last. It is replaced as a whole, and on the disk before those lines are; from then on they stand, and whoever reads the
//! ledger next adds what a crash kept from it. So there is one moment at which a record begins to count. What a crash leaves
//! of a line that no head knows stands at the end and has no end of its own: nothing was spent on it, it does not count,
//! reading says so, and the next record takes its place. Anything else that does not verify is refused, and nothing is
//! written to a ledger that has lines and no head.

use crate::error::{Error, ErrorKind, Result, why};
use crate::output;
use crate::schema::TableSpec;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use synthward_privacy::Budget;
use synthward_privacy::ledger::{LEDGER_VERSION, Ledger, Record, Rehearsal};

/// The version of the program, which is told with each fit.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes of a ledger, at most: a hundred thousand fits.
const LARGEST_LEDGER: u64 = 1 << 28;
/// Rounding that sums of spent epsilons may carry.
const SLACK: f64 = 1e-9;

/// The ledger file of a source.
#[derive(Clone)]
pub struct LedgerFile {
    path: PathBuf,
    table: String,
    source: Option<String>,
    cap: Option<f64>,
    units: Option<u64>,
}

impl LedgerFile {
    /// Names the ledger of a table's source, with the cap and the public number of units
    /// that the table's schema states; nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>, table: &TableSpec) -> Self {
        let TableSpec { name, source, epsilon_cap, units, at_least_units, .. } = table;
        let units = units.or(*at_least_units);
        Self { path: path.into(), table: name.clone(), source: source.clone(), cap: *epsilon_cap, units }
    }

    /// Where the ledger lies if nobody names another: beside the schema.
    pub fn beside(schema: &Path) -> PathBuf {
        schema.with_file_name("ledger.jsonl")
    }

    /// The identifier of the source, if the schema has one.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Where the ledger lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record under an exclusive lock, after verifying every line
    /// before it, and flushes it to the disk. A new ledger is opened first, and
    /// a table, or a cap that changed, is put on record. Since the sum is checked and the
    /// intent is written under one lock, two fits at once cannot both spend
    /// the last epsilon. Returns the number of the new line.
    ///
    /// # Errors
    /// Exit code 1 when the file cannot be read, locked or written, 3 when a line does
    /// not verify or the table is known under another source, 4 when an intent
    /// exceeds the cap, or there is a cap and no ledger of the source. The ledger is then as it was, but for a line that
    /// was not whole.
    pub fn append(&self, record: Record) -> Result<u64> {
        self.append_after(record, None)
    }

    /// As [`LedgerFile::append`], where the last line about the record's fit is to be the caller's own, `line`: another
    /// process that went on with the fit has written a later one, and from then on the fit is that one's alone.
    /// Returns the number of the new line.
    ///
    /// # Errors
    /// As [`LedgerFile::append`]; exit code 1 when the fit was taken over.
    pub fn append_after(&self, record: Record, line: Option<u64>) -> Result<u64> {
        self.append_between(|| Ok(()), record, line, || Ok(()))
    }

    /// As [`LedgerFile::append_after`], with something done just before the line is written and something just after, under
    /// the same lock: nobody else can take the fit over in between.
    ///
    /// # Errors
    /// As [`LedgerFile::append_after`], or what is done before or after fails with.
    pub fn append_between(
        &self,
        before: impl FnOnce() -> Result<()>,
        record: Record,
        line: Option<u64>,
        after: impl FnOnce() -> Result<()>,
    ) -> Result<u64> {
        let is_intent = matches!(record, Record::Intent { .. });
        if is_intent && !self.path.exists() {
            self.refuse_lost(&Ledger::default())?;
        }
        let (mut file, mut ledger, end) = self.locked()?;
        if is_intent {
            self.refuse_lost(&ledger)?;
        }
        let last = record.fit().and_then(|fit| ledger.last_of(fit)).map(|line| line.number);
        if line.is_some() && line != last {
            return Err(Error::failed("another process has gone on with this fit")
                .file(&self.path)
                .remedy("leave it to that process: nothing that this one did since then was written"));
        }
        let mut text = self.add_opening(&mut ledger)?;
        if let Record::Intent { epsilon, delta, .. } = record {
            self.refuse(&ledger, epsilon, delta)?;
        }
        text.push_str(&with_end(&mut ledger, record));
        before()?;
        self.write(&mut file, end, &text, &ledger)?;
        after()?;
        Ok(ledger.lines().len() as u64 - 1)
    }

    /// Puts the source and its cap on record before anything is fitted: from then on its cap is held by this ledger.
    /// Returns whether the ledger had the source already.
    ///
    /// # Errors
    /// As [`LedgerFile::append`].
    pub fn open(&self) -> Result<bool> {
        let (mut file, mut ledger, end) = self.locked()?;
        let is_known = ledger.keeps(self.source());
        let text = self.add_opening(&mut ledger)?;
        self.write(&mut file, end, &text, &ledger)?;
        Ok(is_known)
    }

    /// Puts throwaway fits on record that are about to be made to real rows, `fits` at most, each with this budget.
    ///
    /// # Errors
    /// As [`LedgerFile::append`]; bad input where there is no ledger of the source.
    pub fn rehearse(&self, test: Rehearsal, fits: usize, budget: Budget) -> Result<()> {
        if !self.read()?.keeps(self.source()) {
            return Err(self.not_found(ErrorKind::BadInput, "a test by throwaway fits leaves a line in the ledger: "));
        }
        let (epsilon, delta) = (budget.epsilon(), budget.delta());
        let (source, fits, tool) = (self.source.clone(), fits as u64, VERSION.into());
        self.append(Record::Rehearsed { source, test, fits, epsilon, delta, tool }).map(drop)
    }

    /// What is there; a ledger that does not exist yet is empty.
    fn read(&self) -> Result<Ledger> {
        if self.path.exists() { read_ledger(&self.path) } else { Ok(Ledger::default()) }
    }

    /// The file, locked, and what is in it. It is made where there is none.
    fn locked(&self) -> Result<(File, Ledger, End)> {
        let path = &self.path;
        // Not truncated: it is read first.
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = opened.map_err(|e| self.cannot("written", &e))?;
        let held = |e: TryLockError| match e {
            TryLockError::WouldBlock => {
                tracing::info!("{}: another process holds the ledger's lock; waiting for it", path.display());
                file.lock()
            }
            TryLockError::Error(e) => Err(e),
        };
        file.try_lock().or_else(held).map_err(|e| self.cannot("locked", &e))?;
        let (ledger, end) = read(&mut file, path, true)?;
        Ok((file, ledger, end))
    }

    fn cannot(&self, what: &str, e: &io::Error) -> Error {
        Error::failed(format!("the ledger cannot be {what} ({})", why(e.kind()))).file(&self.path).remedy(
            "make the ledger and its folder writable, on a file system that has locks, or name the ledger of this source \
             elsewhere with --ledger; nothing is spent without a record",
        )
    }

    /// The lines that come before a first one about this source, or when its cap has changed.
    fn add_opening(&self, ledger: &mut Ledger) -> Result<String> {
        let mut records = Vec::new();
        match ledger.version() {
            None => records.push(Record::Opened { version: LEDGER_VERSION, table: None }),
            Some(version) if version < LEDGER_VERSION => records.push(Record::Continued { version: LEDGER_VERSION }),
            Some(_) => {}
        }
        if !ledger.tables().contains(&(&*self.table, self.source())) {
            self.refuse_other_source(ledger)?;
            records.push(Record::Table { table: self.table.clone(), source: self.source.clone() });
        }
        if ledger.cap(self.source()) != self.cap {
            if let (Some(cap), None) = (ledger.cap(self.source()), self.cap) {
                tracing::warn!(
                    "the schema has no epsilon_cap: the cap of {cap} that {} has for its source is lifted, on record",
                    self.path.display()
                );
            }
            records.push(Record::Cap { epsilon: self.cap, source: self.source.clone() });
        }
        Ok(records.into_iter().map(|record| with_end(ledger, record)).collect())
    }

    /// Puts lines in the ledger's head, and then behind the whole ones.
    fn write(&self, file: &mut File, end: End, text: &str, ledger: &Ledger) -> Result<()> {
        let End { whole, owed } = end;
        let cannot = |e: io::Error| self.cannot("written", &e);
        let put = |file: &mut File, bytes: &[u8]| {
            file.seek(SeekFrom::Start(whole)).and_then(|_| file.write_all(bytes)).map_err(cannot)
        };
        let head = || output::write_bytes(&head_path(&self.path), format!("{}{text}", ledger.head()).as_bytes());
        file.set_len(whole).map_err(cannot)?;
        let lines = owed + text;
        // Its room is made before, so that a full disk leaves nothing of it.
        if let Err(e) = put(file, &vec![b' '; lines.len()]).and_then(|()| head()) {
            // If this fails too, a line of spaces stays, which is not whole.
            let _ = file.set_len(whole);
            return Err(e);
        }
        put(file, lines.as_bytes()).and_then(|()| file.sync_all().map_err(cannot))
    }

    /// Refuses what [`LedgerFile::append`] would refuse of a fit, and writes nothing. A ledger that does not exist yet
    /// is empty. Returns the epsilon and the delta that are spent already.
    ///
    /// # Errors
    /// As [`LedgerFile::append`].
    pub fn check(&self, epsilon: f64, delta: f64) -> Result<(f64, f64)> {
        let mut ledger = self.read()?;
        self.refuse_lost(&ledger)?;
        self.add_opening(&mut ledger)?;
        self.refuse(&ledger, epsilon, delta)?;
        Ok(ledger.spent(self.source()))
    }

    /// An error where there is a cap, and nothing that says what is spent of it.
    fn refuse_lost(&self, ledger: &Ledger) -> Result<()> {
        if self.cap.is_none() || ledger.keeps(self.source()) {
            return Ok(());
        }
        Err(self.not_found(ErrorKind::BudgetRefused, "the schema has an epsilon_cap: "))
    }

    fn not_found(&self, kind: ErrorKind, why: &str) -> Error {
        Error::new(kind, format!("{why}no ledger of the source of table `{}` is here", self.table)).file(&self.path).remedy(
            "name the ledger that its fits are in with --ledger; where nothing was ever fitted to this source, open one: \
             `synthward ledger open SCHEMA`",
        )
    }

    /// An error where the table is known under another source: most likely its schema was drafted twice.
    fn refuse_other_source(&self, ledger: &Ledger) -> Result<()> {
        let tables = ledger.tables();
        let same_name = tables.iter().find_map(|(table, source)| (*table == self.table).then_some(*source)?);
        let (Some(_), Some(other)) = (self.source(), same_name) else { return Ok(()) };
        Err(Error::bad_input(format!("the ledger knows table `{}` under another source", self.table))
            .file(&self.path)
            .expected(format!("source = \"{other}\" in the schema"))
            .remedy(
                "write that where the rows are of the same persons (`inspect --source-of` does); else give the table another \
                 name, or name another ledger with --ledger",
            ))
    }

    /// An error where a fit of this epsilon and delta is more than the ledger leaves.
    fn refuse(&self, ledger: &Ledger, epsilon: f64, delta: f64) -> Result<()> {
        let refused =
            |what: String, remedy| Err(Error::new(ErrorKind::BudgetRefused, what).file(&self.path).remedy(remedy));
        let left = ledger.left(self.source());
        if epsilon > left + SLACK {
            let remedy = if epsilon == f64::INFINITY {
                "no cap allows a fit without noise: ask for a finite epsilon"
            } else {
                "ask for less, or have the data's owner raise epsilon_cap in the schema, which goes on record"
            };
            return refused(
                format!("epsilon {epsilon:.4} is more than the {left:.4} that is left under the cap of its source"),
                remedy,
            );
        }
        if let Some(units) = self.units
            && (ledger.spent(self.source()).1 + delta) * units as f64 >= 1.0
        {
            let what = "the deltas of all fits of this source together reach 1 / (number of units)";
            return refused(what.into(), "ask for a smaller delta");
        }
        Ok(())
    }
}

/// The line of a record that is added to a ledger.
fn with_end(ledger: &mut Ledger, record: Record) -> String {
    ledger.append(record, now(), who()) + "\n"
}

/// Where the head of a ledger is kept: beside it, with `.head` added to its name.
fn head_path(ledger: &Path) -> PathBuf {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".head");
    name.into()
}

/// Reads and verifies a ledger file.
///
/// # Errors
/// Exit code 1 when it cannot be read, 3 when a line does not verify.
pub fn read_ledger(path: &Path) -> Result<Ledger> {
    let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
    // Nobody writes a line between the reading of the ledger and that of its head.
    file.lock_shared().map_err(|e| unreadable(path, &e))?;
    Ok(read(&mut file, path, false)?.0)
}

fn unreadable(path: &Path, e: &io::Error) -> Error {
    Error::bad_input(format!("the ledger cannot be read ({})", why(e.kind()))).file(path)
}

/// Where the next line of a ledger goes.
struct End {
    /// The bytes of the whole lines that are there.
    whole: u64,
    /// Lines that come before it, which stand in the head alone so far.
    owed: String,
}

/// The ledger, and its end.
fn read(file: &mut File, path: &Path, for_writing: bool) -> Result<(Ledger, End)> {
    let mut bytes = Vec::new();
    file.take(LARGEST_LEDGER + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    if bytes.len() as u64 > LARGEST_LEDGER {
        return Err(Error::bad_input("is larger than any ledger").file(path).remedy("name a ledger"));
    }
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let text = str::from_utf8(&bytes[..whole])
        .map_err(|e| unreadable(path, &io::Error::new(io::ErrorKind::InvalidData, e)))?;
    let changed = |e: synthward_privacy::Error| {
        Error::bad_input(e.to_string())
            .file(path)
            .remedy("restore the ledger from a copy; a changed ledger cannot say what is left of the budget")
    };
    let head = match std::fs::read_to_string(head_path(path)) {
        Ok(head) => Some(head),
        Err(_) if whole == 0 => None,
        Err(e) if for_writing => {
            return Err(unreadable(&head_path(path), &e)
                .expected("the head of the ledger, which shows that no line was cut off its end")
                .remedy("put it back from the copy that the ledger is from; nothing is fitted without it"));
        }
        Err(_) => {
            tracing::warn!("{} has no head file beside it: lines cut off its end would not show", path.display());
            None
        }
    };
    let owed = head.as_deref().map_or_else(String::new, |head| owed(head, text.lines().count()));
    let ledger = Ledger::parse(&format!("{text}{owed}")).map_err(changed)?;
    if let Some(head) = head {
        ledger.check_head(&head).map_err(changed)?;
    }
    if whole < bytes.len() && owed.is_empty() {
        tracing::warn!(
            "{}: the last line is not whole, as after a crash while it was written; nothing was spent on it, and it does \
             not count",
            path.display()
        );
    }
    Ok((ledger, End { whole: whole as u64, owed }))
}

/// The lines of a head that are behind this many; none where others are missing before them.
fn owed(head: &str, lines: usize) -> String {
    let (first, last) = head.split_once('\n').unwrap_or((head, ""));
    let count: usize = first.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
    let before = count.saturating_sub(last.lines().count());
    lines.checked_sub(before).map_or_else(String::new, |there| last.split_inclusive('\n').skip(there).collect())
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// The name that the environment gives the user, else the number that the system gives them.
fn who() -> String {
    let named = |name: &&str| std::env::var(name).ok().filter(|name| !name.is_empty());
    ["USER", "LOGNAME", "USERNAME"].iter().find_map(named).unwrap_or_else(number)
}

#[cfg(unix)]
fn number() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}

#[cfg(not(unix))]
fn number() -> String {
    "unknown".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthward_privacy::{Adjacency, Event, PrivacyUnit};

    fn outcome(fit: &str) -> Record {
        Record::Outcome { fit: fit.into(), model_sha256: "0".into(), key: String::new() }
    }

    fn table(name: &str, epsilon_cap: Option<f64>) -> TableSpec {
        let schema =
            crate::schema::Schema::from_toml("[table]\nname = \"t\"\n[[column]]\nname = \"x\"\nkind = \"boolean\"\n");
        TableSpec { name: name.into(), epsilon_cap, ..schema.unwrap().table }
    }

    fn intent(fit: &str, epsilon: f64) -> Record {
        Record::Intent {
            fit: fit.into(),
            source: None,
            epsilon,
            delta: 1e-6,
            unit: PrivacyUnit::Row,
            adjacency: Adjacency::AddRemove,
            event: Event::Gaussian { noise_multiplier: 1.0 },
            request: String::new(),
            file: None,
            tool: None,
        }
    }

    #[test]
    fn lines_survive_and_verify() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", None));
        ledger.append(outcome("one")).unwrap();
        ledger.append(outcome("two")).unwrap();
        assert_eq!(read_ledger(&path).unwrap().lines().len(), 4);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"one\"", "\"eno\"", 1)).unwrap();
        let error = ledger.append(outcome("three")).unwrap_err();
        assert_eq!(error.kind.exit_code(), 3);
    }

    #[test]
    fn the_cap_holds_and_a_change_of_it_is_on_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", Some(1.0)));
        ledger.open().unwrap();
        ledger.append(intent("one", 0.6)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = ledger.append(intent("two", 0.6)).unwrap_err();
        assert_eq!(error.kind.exit_code(), 4);
        assert!(error.to_string().contains("0.4000"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "a refused fit leaves no trace");
        LedgerFile::new(&path, &table("t", Some(2.0))).append(intent("two", 0.6)).unwrap();
        let caps =
            read_ledger(&path).unwrap().lines().iter().filter(|l| matches!(l.record, Record::Cap { .. })).count();
        assert_eq!(caps, 2);
    }

    #[test]
    fn deltas_add_up_to_less_than_one_over_the_units() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let spec = TableSpec { units: Some(400_000), ..table("t", None) };
        let ledger = LedgerFile::new(&path, &spec);
        ledger.append(intent("one", 0.1)).unwrap();
        ledger.append(intent("two", 0.1)).unwrap();
        assert_eq!(ledger.append(intent("three", 0.1)).unwrap_err().kind.exit_code(), 4, "3e-6 * 400,000 > 1");
    }

    /// The last line is put back from the head; where more are missing, nothing is written.
    #[test]
    fn lines_cut_off_the_end_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", None));
        let after = ["one", "two", "three"].map(|fit| {
            ledger.append(intent(fit, 0.1)).unwrap();
            std::fs::read(&path).unwrap()
        });
        for cut in [after[1].len(), after[1].len() + 20, after[2].len() - 1] {
            std::fs::write(&path, &after[2][..cut]).unwrap();
            assert!((read_ledger(&path).unwrap().spent(None).0 - 0.3).abs() < 1e-9, "cut at {cut}");
        }
        ledger.append(intent("four", 0.1)).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(&after[2]), "what was cut off is there again");
        std::fs::write(&path, &after[1]).unwrap();
        assert_eq!(read_ledger(&path).err().map(|e| e.kind.exit_code()), Some(3));
        assert_eq!(ledger.append(intent("five", 0.1)).err().map(|e| e.kind.exit_code()), Some(3));
        assert_eq!(std::fs::read(&path).unwrap(), after[1]);
    }

    /// Who goes on with a fit shuts out whoever had it before.
    #[test]
    fn a_fit_belongs_to_who_wrote_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = LedgerFile::new(folder.path().join("l.jsonl"), &table("t", None));
        let first = ledger.append(intent("one", 0.1)).unwrap();
        ledger.append(intent("two", 0.1)).unwrap();
        let kept = Record::Checkpoint { fit: "one".into(), sha256: "0".into(), key: "1".into() };
        let first = ledger.append_after(kept.clone(), Some(first)).unwrap();
        let second = ledger.append_after(Record::Resumed { fit: "one".into() }, Some(first)).unwrap();
        assert_eq!(ledger.append_after(kept.clone(), Some(first)).unwrap_err().kind.exit_code(), 1);
        assert_eq!(ledger.append_after(outcome("one"), Some(first)).unwrap_err().kind.exit_code(), 1);
        let last = ledger.append_after(outcome("one"), Some(second)).unwrap();
        assert!(ledger.append_after(kept, Some(second)).is_err(), "it has ended");
        assert_eq!(read_ledger(&folder.path().join("l.jsonl")).unwrap().lines().len() as u64, last + 1);
    }

    /// At every place where a crash could have cut off the last line.
    #[test]
    fn a_line_that_is_not_whole_does_not_count_and_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", Some(1.0)));
        ledger.open().unwrap();
        ledger.append(intent("one", 0.6)).unwrap();
        let (whole, head) = (std::fs::read(&path).unwrap(), std::fs::read(head_path(&path)).unwrap());
        ledger.append(intent("two", 0.4)).unwrap();
        let both = std::fs::read(&path).unwrap();
        for cut in (whole.len()..both.len()).step_by(7).chain([both.len() - 1]) {
            std::fs::write(&path, &both[..cut]).unwrap();
            std::fs::write(head_path(&path), &head).unwrap();
            assert_eq!(read_ledger(&path).unwrap().spent(None).0, 0.6, "cut at {cut}");
            ledger.append(intent("again", 0.4)).unwrap();
            assert_eq!(read_ledger(&path).unwrap().spent(None).0, 1.0, "cut at {cut}");
        }
    }

    /// The head cannot be read: nothing is written, so that no fit is charged that never ran.
    #[test]
    fn a_record_without_its_head_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", None));
        ledger.append(intent("one", 0.1)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let head = std::fs::read(head_path(&path)).unwrap();
        std::fs::remove_file(head_path(&path)).unwrap();
        std::fs::create_dir(head_path(&path)).unwrap();
        assert_eq!(ledger.append(intent("two", 0.1)).err().map(|e| e.kind.exit_code()), Some(3));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::remove_dir(head_path(&path)).unwrap();
        std::fs::write(head_path(&path), head).unwrap();
        ledger.append(intent("two", 0.1)).unwrap();
    }

    /// Whoever takes the head away to cut lines off gets no further fit.
    #[test]
    fn without_its_head_a_ledger_goes_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", None));
        let line = ledger.append(intent("one", 0.1)).unwrap();
        let (lines, head) = (std::fs::read(&path).unwrap(), std::fs::read(head_path(&path)).unwrap());
        std::fs::remove_file(head_path(&path)).unwrap();
        for record in [intent("two", 0.1), Record::Resumed { fit: "one".into() }] {
            let refused = ledger.append(record).unwrap_err();
            assert_eq!(refused.kind.exit_code(), 3);
            assert!(refused.to_string().contains("put it back"), "{refused}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), lines);
        std::fs::write(head_path(&path), head).unwrap();
        ledger.append_after(Record::Resumed { fit: "one".into() }, Some(line)).unwrap();
    }

    /// Without a source, or with the same name under another, nobody can tell whose budget it is.
    #[test]
    fn a_table_of_another_source_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let of = |name: &str, source: &str| {
            LedgerFile::new(&path, &TableSpec { source: Some(source.repeat(16)), ..table(name, None) })
        };
        assert!(!of("t", "a").open().unwrap() && of("t", "a").open().unwrap());
        let refused = of("t", "b").append(intent("one", 0.1)).unwrap_err();
        assert_eq!(refused.kind.exit_code(), 3);
        assert!(refused.to_string().contains(&"a".repeat(16)), "{refused}");
        of("u", "a").append(intent("one", 0.1)).unwrap();
        of("v", "b").append(intent("two", 0.1)).unwrap();
        let tables = read_ledger(&path).unwrap();
        let names: Vec<&str> = tables.tables().into_iter().map(|(table, _)| table).collect();
        assert_eq!(names, ["t", "u", "v"]);
    }

    /// Sixteen threads, each with its own handle, want 0.1 of a cap of 0.5.
    #[test]
    fn fits_at_once_cannot_spend_more_than_the_cap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        LedgerFile::new(&path, &table("t", Some(0.5))).open().unwrap();
        let granted = std::thread::scope(|scope| {
            let one = |i: usize| {
                let ledger = LedgerFile::new(&path, &table("t", Some(0.5)));
                scope.spawn(move || ledger.append(intent(&i.to_string(), 0.1)).is_ok())
            };
            let handles: Vec<_> = (0..16).map(one).collect();
            handles.into_iter().map(|h| h.join().unwrap()).filter(|&ok| ok).count()
        });
        assert_eq!(granted, 5);
        assert!((read_ledger(&path).unwrap().spent(None).0 - 0.5).abs() < 1e-9);
    }
}
