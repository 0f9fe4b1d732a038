//! The ledger on disk: locked while it is read and written, flushed before a
//! release depends on it.
//!
//! # A line that is not whole
//! A record counts once its line, the end of the line included, is on the disk: only then is a row read. Where a line
//! cannot be written, as on a full disk, what was written of it is taken back at once. What a crash leaves of a line
//! therefore stands at the end, has no end of its own, and nothing was spent on it: it does not count, reading says so,
//! and the next record takes its place. Anything else that does not verify is refused.

use crate::error::{Error, ErrorKind, Result};
use crate::output;
use crate::schema::TableSpec;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use synthward_privacy::ledger::{LEDGER_VERSION, Ledger, Record};

/// Bytes of a ledger, at most: a hundred thousand fits.
const LARGEST_LEDGER: u64 = 1 << 28;
/// Rounding that sums of spent epsilons may carry.
const SLACK: f64 = 1e-9;

/// A ledger file of one table.
pub struct LedgerFile {
    path: PathBuf,
    table: String,
    cap: Option<f64>,
    units: Option<u64>,
}

impl LedgerFile {
    /// Names the ledger of a table, with the cap and the public number of units
    /// that the table's schema states; nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>, table: &TableSpec) -> Self {
        Self { path: path.into(), table: table.name.clone(), cap: table.epsilon_cap, units: table.units }
    }

    /// Where the ledger lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record under an exclusive lock, after verifying every line
    /// before it, and flushes it to the disk. A new ledger is opened first, and
    /// a cap that changed is put on record. Since the sum is checked and the
    /// intent is written under one lock, two fits at once cannot both spend
    /// the last epsilon. Returns the number of the new line.
    ///
    /// # Errors
    /// Exit code 1 when the file cannot be read or written, 3 when a line does
    /// not verify or the ledger belongs to another table, 4 when an intent
    /// exceeds the cap. The ledger is then as it was, but for a line that was
    /// not whole.
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
        let cannot = |e: io::Error| {
            Error::failed(format!("the ledger cannot be written ({})", e.kind()))
                .file(&self.path)
                .remedy("make the ledger and its folder writable; nothing is spent without a record")
        };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path).map_err(cannot)?;
        file.lock().map_err(cannot)?;
        let (mut ledger, whole) = read(&mut file, &self.path)?;
        let mut text = String::new();
        let mut add = |ledger: &mut Ledger, record| {
            text.push_str(&ledger.append(record, now(), who()));
            text.push('\n');
        };
        self.refuse_other_table(&ledger)?;
        let last = record.fit().and_then(|fit| ledger.last_of(fit)).map(|line| line.number);
        if line.is_some() && line != last {
            return Err(Error::failed("another process has gone on with this fit")
                .file(&self.path)
                .remedy("leave it to that process: nothing that this one did since then was written"));
        }
        if ledger.table().is_none() {
            add(&mut ledger, Record::Opened { version: LEDGER_VERSION, table: self.table.clone() });
        }
        if ledger.cap() != self.cap {
            add(&mut ledger, Record::Cap { epsilon: self.cap });
        }
        if let Record::Intent { epsilon, delta, .. } = record {
            self.refuse(&ledger, epsilon, delta)?;
        }
        add(&mut ledger, record);
        before()?;
        file.set_len(whole).map_err(cannot)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(cannot);
        // After the ledger: a crash between the two leaves a head that is behind, never one ahead.
        let written = written.and_then(|()| output::write_bytes(&head_path(&self.path), ledger.head().as_bytes()));
        if written.is_err() {
            // If this fails too, either a line stays that is not whole, or one that is: then it counts as spent.
            let _ = file.set_len(whole).and_then(|()| file.sync_all());
        }
        written?;
        after()?;
        Ok(ledger.lines().len() as u64 - 1)
    }

    /// Refuses what [`LedgerFile::append`] would refuse of a fit, and writes nothing. A ledger that does not exist yet
    /// is empty. Returns the epsilon and the delta that are spent already.
    ///
    /// # Errors
    /// As [`LedgerFile::append`].
    pub fn check(&self, epsilon: f64, delta: f64) -> Result<(f64, f64)> {
        let mut ledger = if self.path.exists() { read_ledger(&self.path)? } else { Ledger::default() };
        self.refuse_other_table(&ledger)?;
        if ledger.cap() != self.cap {
            ledger.append(Record::Cap { epsilon: self.cap }, now(), who());
        }
        self.refuse(&ledger, epsilon, delta)?;
        Ok(ledger.spent())
    }

    fn refuse_other_table(&self, ledger: &Ledger) -> Result<()> {
        match ledger.table() {
            Some(table) if table != self.table => {
                Err(Error::bad_input(format!("this is the ledger of table `{table}`, not of `{}`", self.table))
                    .file(&self.path)
                    .remedy("name the ledger of this table with --ledger"))
            }
            _ => Ok(()),
        }
    }

    /// An error where a fit of this epsilon and delta is more than the ledger leaves.
    fn refuse(&self, ledger: &Ledger, epsilon: f64, delta: f64) -> Result<()> {
        let refused =
            |what: String, remedy| Err(Error::new(ErrorKind::BudgetRefused, what).file(&self.path).remedy(remedy));
        if epsilon > ledger.left() + SLACK {
            let left = ledger.left();
            let remedy = if epsilon == f64::INFINITY {
                "no cap allows a fit without noise: ask for a finite epsilon"
            } else {
                "ask for less, or have the data's owner raise epsilon_cap in the schema, which goes on record"
            };
            return refused(
                format!("epsilon {epsilon:.4} is more than the {left:.4} that is left under the table's cap"),
                remedy,
            );
        }
        if let Some(units) = self.units
            && (ledger.spent().1 + delta) * units as f64 >= 1.0
        {
            let what = "the deltas of all fits of this table together reach 1 / (number of units)";
            return refused(what.into(), "ask for a smaller delta");
        }
        Ok(())
    }
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
    Ok(read(&mut file, path)?.0)
}

fn unreadable(path: &Path, e: &io::Error) -> Error {
    Error::bad_input(format!("the ledger cannot be read ({})", e.kind())).file(path)
}

/// The ledger, and the bytes of its whole lines.
fn read(file: &mut File, path: &Path) -> Result<(Ledger, u64)> {
    let mut bytes = Vec::new();
    file.take(LARGEST_LEDGER + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    if bytes.len() as u64 > LARGEST_LEDGER {
        return Err(Error::bad_input("is larger than any ledger").file(path).remedy("name the ledger of this table"));
    }
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let text = str::from_utf8(&bytes[..whole])
        .map_err(|e| unreadable(path, &io::Error::new(io::ErrorKind::InvalidData, e)))?;
    let changed = |e: synthward_privacy::Error| {
        Error::bad_input(e.to_string())
            .file(path)
            .remedy("restore the ledger from a copy; a changed ledger cannot say what is left of the budget")
    };
    let ledger = Ledger::parse(text).map_err(changed)?;
    match std::fs::read_to_string(head_path(path)) {
        Ok(head) => ledger.check_head(&head).map_err(changed)?,
        Err(_) if ledger.lines().is_empty() => {}
        Err(_) => tracing::warn!("{} has no head file beside it: lines cut off its end would not show", path.display()),
    }
    if whole < bytes.len() {
        tracing::warn!(
            "{}: the last line is not whole, as after a crash while it was written; nothing was spent on it, and it does \
             not count",
            path.display()
        );
    }
    Ok((ledger, whole as u64))
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn who() -> String {
    ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
        .unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthward_privacy::{Adjacency, Event, PrivacyUnit};

    fn outcome(fit: &str) -> Record {
        Record::Outcome { fit: fit.into(), model_sha256: "0".into() }
    }

    fn table(name: &str, epsilon_cap: Option<f64>) -> TableSpec {
        let schema =
            crate::schema::Schema::from_toml("[table]\nname = \"t\"\n[[column]]\nname = \"x\"\nkind = \"boolean\"\n");
        TableSpec { name: name.into(), epsilon_cap, ..schema.unwrap().table }
    }

    fn intent(fit: &str, epsilon: f64) -> Record {
        Record::Intent {
            fit: fit.into(),
            epsilon,
            delta: 1e-6,
            unit: PrivacyUnit::Row,
            adjacency: Adjacency::AddRemove,
            event: Event::Gaussian { noise_multiplier: 1.0 },
            request: String::new(),
        }
    }

    #[test]
    fn lines_survive_and_verify() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", None));
        ledger.append(outcome("one")).unwrap();
        ledger.append(outcome("two")).unwrap();
        assert_eq!(read_ledger(&path).unwrap().lines().len(), 3);
        assert!(LedgerFile::new(&path, &table("other", None)).append(outcome("three")).is_err());
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

    #[test]
    fn lines_cut_off_the_end_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", None));
        ledger.append(intent("one", 0.1)).unwrap();
        let one = std::fs::read(&path).unwrap();
        ledger.append(intent("two", 0.1)).unwrap();
        std::fs::write(&path, one).unwrap();
        assert_eq!(read_ledger(&path).err().map(|e| e.kind.exit_code()), Some(3));
        assert_eq!(ledger.append(intent("three", 0.1)).err().map(|e| e.kind.exit_code()), Some(3));
    }

    /// Who goes on with a fit shuts out whoever had it before.
    #[test]
    fn a_fit_belongs_to_who_wrote_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = LedgerFile::new(folder.path().join("l.jsonl"), &table("t", None));
        let first = ledger.append(intent("one", 0.1)).unwrap();
        ledger.append(intent("two", 0.1)).unwrap();
        let kept = Record::Checkpoint { fit: "one".into(), sha256: "0".into() };
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
        ledger.append(intent("one", 0.6)).unwrap();
        let (whole, head) = (std::fs::read(&path).unwrap(), std::fs::read(head_path(&path)).unwrap());
        ledger.append(intent("two", 0.4)).unwrap();
        let both = std::fs::read(&path).unwrap();
        for cut in (whole.len()..both.len()).step_by(7).chain([both.len() - 1]) {
            std::fs::write(&path, &both[..cut]).unwrap();
            std::fs::write(head_path(&path), &head).unwrap();
            assert_eq!(read_ledger(&path).unwrap().spent().0, 0.6, "cut at {cut}");
            ledger.append(intent("again", 0.4)).unwrap();
            assert_eq!(read_ledger(&path).unwrap().spent().0, 1.0, "cut at {cut}");
        }
    }

    /// A whole line that lost nothing but its end was acknowledged if the head knows it: then it was cut off.
    #[test]
    fn a_line_that_the_head_knows_cannot_be_passed_off_as_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", None));
        ledger.append(intent("one", 0.1)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(ledger.append(intent("two", 0.1)).err().map(|e| e.kind.exit_code()), Some(3));
        assert_eq!(std::fs::read(&path).unwrap(), &whole[..whole.len() - 1]);
    }

    /// The head cannot be written: the record is taken back, so that no fit is charged that never ran.
    #[test]
    fn a_record_without_its_head_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let ledger = LedgerFile::new(&path, &table("t", None));
        ledger.append(intent("one", 0.1)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let head = std::fs::read(head_path(&path)).unwrap();
        std::fs::remove_file(head_path(&path)).unwrap();
        std::fs::create_dir(head_path(&path)).unwrap();
        assert_eq!(ledger.append(intent("two", 0.1)).err().map(|e| e.kind.exit_code()), Some(1));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::remove_dir(head_path(&path)).unwrap();
        std::fs::write(head_path(&path), head).unwrap();
        ledger.append(intent("two", 0.1)).unwrap();
    }

    /// Sixteen threads, each with its own handle, want 0.1 of a cap of 0.5.
    #[test]
    fn fits_at_once_cannot_spend_more_than_the_cap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let granted = std::thread::scope(|scope| {
            let one = |i: usize| {
                let ledger = LedgerFile::new(&path, &table("t", Some(0.5)));
                scope.spawn(move || ledger.append(intent(&i.to_string(), 0.1)).is_ok())
            };
            let handles: Vec<_> = (0..16).map(one).collect();
            handles.into_iter().map(|h| h.join().unwrap()).filter(|&ok| ok).count()
        });
        assert_eq!(granted, 5);
        assert!((read_ledger(&path).unwrap().spent().0 - 0.5).abs() < 1e-9);
    }
}
