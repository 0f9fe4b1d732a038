//! The ledger: what was spent on a source of data, one line an event, each line bound
//! to the one before by a hash. Text in, text out: the files are the caller's.

mod record;

use crate::Error;
pub use record::{Record, Rehearsal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Format version of the lines this code writes.
///
/// # Privacy
/// Public.
pub const LEDGER_VERSION: u32 = 4;

/// Since this version a line says that noise is drawn, before it is, and nothing that a fit learns is told before it is kept.
///
/// # Privacy
/// Public.
pub const DRAWN_SINCE: u32 = 4;

/// One line.
///
/// # Privacy
/// Touches no data: plans, times and names only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Place in the ledger, from 0.
    pub number: u64,
    /// RFC 3339 time, as the caller's clock had it.
    pub time: String,
    /// Who ran the program, as the caller knows it.
    pub who: String,
    /// What the line says.
    #[serde(flatten)]
    pub record: Record,
    /// Hash of the line before; zeros in the first.
    pub previous: String,
}

/// The format version that the last of some lines has.
fn version(lines: &[Line]) -> Option<u32> {
    lines.iter().rev().find_map(|line| match line.record {
        Record::Opened { version, .. } | Record::Continued { version } => Some(version),
        _ => None,
    })
}

/// Whether what is on record of one source counts for another: where either has no name they may be the same, and what is
/// spent is never taken for less than it is.
fn counts(recorded: Option<&str>, of: Option<&str>) -> bool {
    recorded.is_none() || of.is_none() || recorded == of
}

/// The end of a line of text: `,"hash":"<SHA-256 of the line without this end>"}`.
/// The text itself is hashed, so that nothing depends on how numbers are printed.
fn sealed(body: &str) -> (String, String) {
    let hash: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let open = body.strip_suffix('}').unwrap_or(body);
    (format!("{open},\"hash\":\"{hash}\"}}"), hash)
}

/// A verified ledger.
///
/// # Privacy
/// Touches no data: plans, times and names only.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    lines: Vec<Line>,
    /// Hash of the last line.
    last: Option<String>,
}

impl Ledger {
    /// Reads and verifies the text of a ledger. An empty text is an empty ledger.
    ///
    /// # Errors
    /// [`Error::Ledger`] names the first line that was edited, removed,
    /// reordered, or written by a newer version.
    ///
    /// # Privacy
    /// Touches no data: a ledger holds plans and times only.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut ledger = Self::default();
        for (index, text) in text.lines().enumerate() {
            let bad = |what| Error::Ledger { line: index + 1, what };
            let body = text.rfind(",\"hash\":").map(|end| format!("{}}}", &text[..end]));
            let body = body.ok_or_else(|| bad("is not a ledger line"))?;
            let line: Line = serde_json::from_str(&body).map_err(|_| bad("is not a ledger line"))?;
            if let Record::Opened { version, .. } | Record::Continued { version } = line.record
                && version > LEDGER_VERSION
            {
                return Err(bad("was written by a newer version of synthward"));
            }
            if matches!(line.record, Record::Opened { .. }) != (index == 0) {
                return Err(bad("the first line, and no other, opens the ledger"));
            }
            if line.number != index as u64 || line.previous != ledger.last_hash() {
                return Err(bad("does not follow from the line before: a line was removed or reordered"));
            }
            let (sealed, hash) = sealed(&body);
            if sealed != text {
                return Err(bad("was edited: its hash does not match its content"));
            }
            ledger.lines.push(line);
            ledger.last = Some(hash);
        }
        Ok(ledger)
    }

    /// The number of lines and the hash of the last: kept apart from the
    /// ledger, it shows that lines were cut off the end.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn head(&self) -> String {
        format!("{} {}\n", self.lines.len(), self.last_hash())
    }

    /// Checks that an earlier [`Ledger::head`] is part of this ledger: it may
    /// have grown since, but not shrunk.
    ///
    /// # Errors
    /// [`Error::Ledger`] when lines are missing at the end or the head is of another ledger.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn check_head(&self, head: &str) -> Result<(), Error> {
        let bad = |what| Error::Ledger { line: self.lines.len(), what };
        let (count, hash) =
            head.lines().next().unwrap_or("").split_once(' ').ok_or_else(|| bad("its head file is damaged"))?;
        let count: usize = count.parse().map_err(|_| bad("its head file is damaged"))?;
        // The hash of line n is what line n + 1 calls the previous one.
        let found = match self.lines.get(count) {
            Some(next) => next.previous.clone(),
            None if count == self.lines.len() => self.last_hash(),
            None => return Err(bad("is the last one, but more were written: lines were removed at the end")),
        };
        if found == hash { Ok(()) } else { Err(bad("does not follow from the ledger's head file")) }
    }

    fn last_hash(&self) -> String {
        self.last.clone().unwrap_or_else(|| "0".repeat(64))
    }

    /// The verified lines.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The format version of the last lines; none before the first.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn version(&self) -> Option<u32> {
        version(&self.lines)
    }

    /// The format version in which the line of this number was written; 0 where there is none.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn version_at(&self, number: u64) -> u32 {
        let end = self.lines.len().min(number as usize + 1);
        version(&self.lines[..end]).unwrap_or(0)
    }

    /// The tables whose budgets are kept here, each with its source, in the order in which they came. A table without a
    /// source shares the budget of all others.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn tables(&self) -> Vec<(&str, Option<&str>)> {
        let mut tables = Vec::new();
        for line in &self.lines {
            let table = match &line.record {
                Record::Opened { table: Some(table), .. } => (&**table, None),
                Record::Table { table, source } => (&**table, source.as_deref()),
                _ => continue,
            };
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        tables
    }

    /// Whether what was spent on a source is to be found here.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn keeps(&self, source: Option<&str>) -> bool {
        self.tables().iter().any(|(_, of)| counts(*of, source))
    }

    /// The cap in force on a source.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn cap(&self, of: Option<&str>) -> Option<f64> {
        let cap = |line: &Line| match &line.record {
            Record::Cap { epsilon, source } if counts(source.as_deref(), of) => Some(*epsilon),
            _ => None,
        };
        self.lines.iter().rev().find_map(cap).flatten()
    }

    /// What the cap leaves to spend on a source; infinite without one.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn left(&self, of: Option<&str>) -> f64 {
        self.cap(of).map_or(f64::INFINITY, |cap| (cap - self.spent(of).0).max(0.0))
    }

    /// Appends a record and returns its line of text, without the line end.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn append(&mut self, record: Record, time: String, who: String) -> String {
        let line = Line { number: self.lines.len() as u64, time, who, record, previous: self.last_hash() };
        let body = serde_json::to_string(&line).expect("plain data serialises");
        let (text, hash) = sealed(&body);
        self.lines.push(line);
        self.last = Some(hash);
        text
    }

    /// The last line about a fit. Whoever carries a fit out knows this line as its own; when it is another's, a later
    /// process has taken the fit over.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn last_of(&self, fit: &str) -> Option<&Line> {
        self.lines.iter().rev().find(|line| line.record.fit() == Some(fit))
    }

    /// Epsilon and delta of all intents on a source that were not taken back, by basic
    /// composition; of all intents, where no source is named. An intent without an outcome counts: a crash is spent.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn spent(&self, of: Option<&str>) -> (f64, f64) {
        self.lines.iter().enumerate().fold((0.0, 0.0), |(e, d), (number, line)| match &line.record {
            Record::Intent { fit, source, epsilon, delta, .. }
                if counts(source.as_deref(), of) && !self.refused(number, fit) =>
            {
                (e + epsilon, d + delta)
            }
            _ => (e, d),
        })
    }

    /// The lines that count for a source; all lines, where none is named.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn lines_of(&self, of: Option<&str>) -> impl Iterator<Item = &Line> {
        let source = move |record: &Record| match record {
            Record::Table { source, .. }
            | Record::Cap { source, .. }
            | Record::Intent { source, .. }
            | Record::Rehearsed { source, .. } => counts(source.as_deref(), of),
            _ => true,
        };
        let others = self.lines.iter().filter(|line| !source(&line.record)).filter_map(|line| line.record.fit());
        let others: HashSet<&str> = others.collect();
        let is_other = move |record: &Record| !source(record) || record.fit().is_some_and(|fit| others.contains(fit));
        self.lines.iter().filter(move |line| !is_other(&line.record))
    }

    /// Whether the intent on this line was refused: the next word on its fit is the refusal.
    fn refused(&self, intent: usize, name: &str) -> bool {
        let later = self.lines[intent + 1..].iter().find_map(|line| match &line.record {
            Record::Refused { fit } if fit == name => Some(true),
            record if record.fit() == Some(name) => Some(false),
            _ => None,
        });
        later.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Adjacency, Event, PrivacyUnit};

    fn opened(version: u32) -> Record {
        Record::Opened { version, table: None }
    }

    fn intent(fit: &str, epsilon: f64, source: Option<&str>) -> Record {
        Record::Intent {
            fit: fit.into(),
            source: source.map(str::to_owned),
            epsilon,
            delta: 1e-6,
            unit: PrivacyUnit::Row,
            adjacency: Adjacency::AddRemove,
            event: Event::Gaussian { noise_multiplier: 3.0 },
            request: String::new(),
            file: Some("a/t.csv".into()),
            tool: Some("0.2.0".into()),
        }
    }

    /// Appends records, and returns the ledger's text.
    fn written(ledger: &mut Ledger, records: impl IntoIterator<Item = Record>) -> String {
        let line = |record| ledger.append(record, "2026-01-01T00:00:00Z".into(), "a".into());
        records.into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn text() -> String {
        let fits = ["one", "two"].map(|fit| intent(fit, 0.1 + 0.2, None));
        written(&mut Ledger::default(), [opened(LEDGER_VERSION)].into_iter().chain(fits))
    }

    fn outcome(fit: &str) -> Record {
        Record::Outcome { fit: fit.into(), model_sha256: "0".into(), key: String::new() }
    }

    #[test]
    fn a_written_ledger_verifies_and_adds_up() {
        let ledger = Ledger::parse(&text()).unwrap();
        assert_eq!(ledger.version(), Some(LEDGER_VERSION));
        assert!((ledger.spent(None).0 - 0.6).abs() < 1e-12);
        assert!(Ledger::parse("").unwrap().lines().is_empty());
    }

    /// Numbers whose shortest text does not parse back to the same bits everywhere.
    #[test]
    fn awkward_numbers_verify() {
        let awkward = (1..500).map(|i| {
            let mut record = intent(&i.to_string(), 0.999_912_345_678 / f64::from(i), None);
            if let Record::Intent { delta, event, .. } = &mut record {
                *delta = 1e-6 / f64::from(i);
                *event = Event::Gaussian { noise_multiplier: 53_117.0 / f64::from(i) };
            }
            record
        });
        let opened = Record::Opened { version: 2, table: Some("a \"quoted\",\"hash\": name".into()) };
        let text = written(&mut Ledger::default(), [opened].into_iter().chain(awkward));
        assert_eq!(Ledger::parse(&text).unwrap().lines().len(), 500);
    }

    #[test]
    fn a_crash_is_spent_and_a_refusal_is_not() {
        let mut ledger = Ledger::parse(&text()).unwrap();
        ledger.append(outcome("one"), "t".into(), "a".into());
        ledger.append(Record::Refused { fit: "two".into() }, "t".into(), "a".into());
        assert!((ledger.spent(None).0 - 0.3).abs() < 1e-12, "fit two was refused, fit one was released");
        ledger.append(Record::Refused { fit: "one".into() }, "t".into(), "a".into());
        assert!((ledger.spent(None).0 - 0.3).abs() < 1e-12, "what was released cannot be refused afterwards");
        for seen in [
            Record::Drawn { fit: "two".into() },
            Record::Resumed { fit: "two".into() },
            Record::Checkpoint { fit: "two".into(), sha256: "0".into(), key: "1".into() },
        ] {
            let mut ledger = Ledger::parse(&text()).unwrap();
            ledger.append(seen.clone(), "t".into(), "a".into());
            assert_eq!(ledger.last_of("two").unwrap().record, seen);
            ledger.append(Record::Refused { fit: "two".into() }, "t".into(), "a".into());
            assert!((ledger.spent(None).0 - 0.6).abs() < 1e-12, "what may have been released cannot be refused");
        }
    }

    #[test]
    fn lines_cut_off_the_end_are_found() {
        let text = text();
        let ledger = Ledger::parse(&text).unwrap();
        let cut = Ledger::parse(text.rsplit_once('\n').unwrap().0).unwrap();
        assert!(ledger.check_head(&ledger.head()).is_ok());
        assert!(ledger.check_head(&cut.head()).is_ok(), "a ledger may grow");
        assert!(
            matches!(cut.check_head(&ledger.head()), Err(Error::Ledger { line: 2, what }) if what.contains("removed"))
        );
        assert!(ledger.check_head("3 0000").is_err() && ledger.check_head("what").is_err());
    }

    #[test]
    fn the_last_cap_holds() {
        let mut ledger = Ledger::parse(&text()).unwrap();
        let cap = |epsilon| Record::Cap { epsilon, source: None };
        assert_eq!((ledger.cap(None), ledger.left(None)), (None, f64::INFINITY));
        written(&mut ledger, [cap(Some(1.0))]);
        assert!((ledger.left(None) - 0.4).abs() < 1e-12);
        written(&mut ledger, [cap(Some(0.5))]);
        assert_eq!(ledger.left(None), 0.0);
        written(&mut ledger, [cap(None)]);
        assert_eq!(ledger.cap(None), None);
    }

    /// Each source has a budget of its own; what names none counts for all, whichever side does not.
    #[test]
    fn budgets_are_those_of_sources() {
        let mut ledger = Ledger::default();
        let table = |table: &str, source: &str| Record::Table { table: table.into(), source: Some(source.into()) };
        let cap = |epsilon, source: &str| Record::Cap { epsilon: Some(epsilon), source: Some(source.into()) };
        let rehearsed = Record::Rehearsed {
            source: Some("aa".into()),
            test: Rehearsal::ShadowModels,
            fits: 16,
            epsilon: 1.0,
            delta: 1e-6,
            tool: "0.2.0".into(),
        };
        let text = written(
            &mut ledger,
            [
                opened(LEDGER_VERSION),
                table("visits", "aa"),
                cap(1.0, "aa"),
                intent("one", 0.25, Some("aa")),
                table("births", "bb"),
                cap(2.0, "bb"),
                intent("two", 0.5, Some("bb")),
                rehearsed,
            ],
        );
        assert_eq!(Ledger::parse(&text).unwrap().lines(), ledger.lines());
        let spent = |ledger: &Ledger| [Some("aa"), Some("bb"), Some("cc"), None].map(|of| ledger.spent(of).0);
        assert_eq!(spent(&ledger), [0.25, 0.5, 0.0, 0.75]);
        assert_eq!(
            [Some("aa"), Some("bb")].map(|of| (ledger.cap(of), ledger.left(of))),
            [(Some(1.0), 0.75), (Some(2.0), 1.5)]
        );
        assert_eq!([Some("aa"), Some("cc"), None].map(|of| ledger.keeps(of)), [true, false, true]);
        assert_eq!(ledger.tables(), [("visits", Some("aa")), ("births", Some("bb"))]);
        written(&mut ledger, [intent("three", 1.0, None), outcome("one"), outcome("two")]);
        assert_eq!(spent(&ledger), [1.25, 1.5, 1.0, 1.75]);
        let numbers: Vec<u64> = ledger.lines_of(Some("bb")).map(|line| line.number).collect();
        assert_eq!(numbers, [0, 4, 5, 6, 8, 10]);
        assert_eq!(ledger.lines_of(None).count(), ledger.lines().len());
    }

    /// A fit without noise leaves nothing for a later cap, and its line is read back.
    #[test]
    fn an_infinite_epsilon_is_on_record() {
        let mut ledger = Ledger::parse(&text()).unwrap();
        let record = intent("open", f64::INFINITY, None);
        let line = written(&mut ledger, [record.clone()]);
        assert!(line.contains(r#""epsilon":"inf""#), "{line}");
        let mut ledger = Ledger::parse(&format!("{}\n{line}", text())).unwrap();
        assert_eq!(ledger.lines().last().unwrap().record, record);
        assert_eq!(ledger.spent(None).0, f64::INFINITY);
        written(&mut ledger, [Record::Cap { epsilon: Some(1e6), source: None }]);
        assert_eq!(ledger.left(None), 0.0);
    }

    #[test]
    fn tampering_is_found() {
        let text = text();
        let lines: Vec<&str> = text.lines().collect();
        let edited = text.replacen("\"noise_multiplier\":3.0", "\"noise_multiplier\":9.0", 1);
        assert!(matches!(Ledger::parse(&edited), Err(Error::Ledger { line: 2, .. })));
        assert!(matches!(Ledger::parse(&[lines[0], lines[2]].join("\n")), Err(Error::Ledger { line: 2, .. })));
        assert!(matches!(Ledger::parse(&[lines[0], lines[2], lines[1]].join("\n")), Err(Error::Ledger { .. })));
        assert!(matches!(Ledger::parse(lines[1]), Err(Error::Ledger { line: 1, .. })));
        assert!(Ledger::parse("{}").is_err() && Ledger::parse("\u{0}").is_err());
    }

    #[test]
    fn a_newer_version_is_refused() {
        let newer = LEDGER_VERSION + 1;
        let lines = [opened(newer), opened(LEDGER_VERSION), Record::Continued { version: newer }];
        for (records, at) in [(&lines[..1], 1), (&lines[1..], 2)] {
            let text = written(&mut Ledger::default(), records.iter().cloned());
            let parsed = Ledger::parse(&text);
            assert!(matches!(parsed, Err(Error::Ledger { line, what }) if line == at && what.contains("newer")));
        }
    }

    /// Lines of version 0.1.0, as it wrote them, are read and added to.
    #[test]
    fn an_older_ledger_is_gone_on_with() {
        let mut ledger = Ledger::parse(V2.trim_end()).unwrap();
        let spent = ledger.spent(Some("aa")).0;
        assert!(ledger.version() == Some(2) && (spent - 1.999823).abs() < 1e-6, "{spent}");
        assert_eq!((ledger.tables(), ledger.keeps(Some("aa"))), (vec![("stays", None)], true));
        let more =
            written(&mut ledger, [Record::Continued { version: LEDGER_VERSION }, intent("new", 0.5, Some("aa"))]);
        let read = Ledger::parse(&format!("{}{more}", V2)).unwrap();
        assert_eq!((read.version(), read.spent(Some("aa")).0), (Some(LEDGER_VERSION), spent + 0.5));
        let number = |fit: &str| read.last_of(fit).map_or(u64::MAX, |line| line.number);
        assert_eq!([0, number("new")].map(|number| read.version_at(number)), [2, LEDGER_VERSION]);
    }

    const V2: &str = include_str!("../../fixtures/ledger/version-0.1.0.jsonl");
}
