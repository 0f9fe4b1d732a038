//! The ledger: what was spent on a table, one line an event, each line bound
//! to the one before by a hash. Text in, text out: the files are the caller's.

use crate::{Adjacency, Error, Event, PrivacyUnit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Format version of the lines this code writes.
///
/// # Privacy
/// Public.
pub const LEDGER_VERSION: u32 = 2;

/// What a line says.
///
/// # Privacy
/// Touches no data: plans, times and names only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// The first line: the table the ledger belongs to.
    Opened { version: u32, table: String },
    /// The most epsilon that all fits of the table together may spend, from
    /// here on; `None` lifts the cap. Any change of the cap is on record.
    Cap { epsilon: Option<f64> },
    /// Written before the first row is read. Counts as spent from here on,
    /// whatever happens afterwards. An infinite epsilon, `"inf"`, is a fit without noise.
    Intent {
        fit: String,
        #[serde(with = "crate::infinite")]
        epsilon: f64,
        delta: f64,
        unit: PrivacyUnit,
        adjacency: Adjacency,
        event: Event,
        /// Hash of what the fit was asked for beside its event; whoever resumes it has to ask for the same.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        request: String,
    },
    /// Written when all that was released so far lies whole on the disk, and before it gets the name under which a
    /// fit is resumed. A fit goes on from its last checkpoint and from no other, or else steps would be taken twice.
    Checkpoint { fit: String, sha256: String },
    /// Another process goes on from the last checkpoint, or from the intent where there is none: what the process before
    /// it did since then was shown to nobody. That one may write no line of this fit any more.
    Resumed { fit: String },
    /// Written when the model lies whole on the disk, and before it gets its name. Ends the fit.
    Outcome { fit: String, model_sha256: String },
    /// Written when the input was refused before any mechanism ran: the intent is not spent.
    Refused { fit: String },
}

impl Record {
    /// The fit that the record is about.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn fit(&self) -> Option<&str> {
        match self {
            Self::Opened { .. } | Self::Cap { .. } => None,
            Self::Intent { fit, .. }
            | Self::Checkpoint { fit, .. }
            | Self::Resumed { fit }
            | Self::Outcome { fit, .. }
            | Self::Refused { fit } => Some(fit),
        }
    }
}

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
            if let Record::Opened { version, .. } = line.record
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
        let (count, hash) = head.trim().split_once(' ').ok_or_else(|| bad("its head file is damaged"))?;
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

    /// The table the ledger belongs to, once it is opened.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn table(&self) -> Option<&str> {
        match self.lines.first().map(|l| &l.record) {
            Some(Record::Opened { table, .. }) => Some(table),
            _ => None,
        }
    }

    /// The cap in force.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn cap(&self) -> Option<f64> {
        let cap = |line: &Line| match line.record {
            Record::Cap { epsilon } => Some(epsilon),
            _ => None,
        };
        self.lines.iter().rev().find_map(cap).flatten()
    }

    /// What the cap leaves to spend; infinite without one.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn left(&self) -> f64 {
        self.cap().map_or(f64::INFINITY, |cap| (cap - self.spent().0).max(0.0))
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

    /// Epsilon and delta of all intents that were not refused, by basic
    /// composition. An intent without an outcome counts: a crash is spent.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn spent(&self) -> (f64, f64) {
        self.lines.iter().enumerate().fold((0.0, 0.0), |(e, d), (number, line)| match &line.record {
            Record::Intent { fit, epsilon, delta, .. } if !self.refused(number, fit) => (e + epsilon, d + delta),
            _ => (e, d),
        })
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

    fn text() -> String {
        let mut ledger = Ledger::default();
        let mut lines = vec![ledger.append(
            Record::Opened { version: LEDGER_VERSION, table: "t".into() },
            "2026-01-01T00:00:00Z".into(),
            "a".into(),
        )];
        for fit in ["one", "two"] {
            lines.push(ledger.append(
                Record::Intent {
                    fit: fit.into(),
                    epsilon: 0.1 + 0.2,
                    delta: 1e-6,
                    unit: PrivacyUnit::Row,
                    adjacency: Adjacency::AddRemove,
                    event: Event::Gaussian { noise_multiplier: 3.0 },
                    request: String::new(),
                },
                "2026-01-01T00:00:01Z".into(),
                "a".into(),
            ));
        }
        lines.join("\n")
    }

    #[test]
    fn a_written_ledger_verifies_and_adds_up() {
        let ledger = Ledger::parse(&text()).unwrap();
        assert_eq!(ledger.table(), Some("t"));
        assert!((ledger.spent().0 - 0.6).abs() < 1e-12);
        assert!(Ledger::parse("").unwrap().lines().is_empty());
    }

    /// Numbers whose shortest text does not parse back to the same bits everywhere.
    #[test]
    fn awkward_numbers_verify() {
        let mut ledger = Ledger::default();
        let opened = Record::Opened { version: LEDGER_VERSION, table: "a \"quoted\",\"hash\": name".into() };
        let mut text = ledger.append(opened, "t".into(), "a".into());
        for i in 1..500 {
            let event = Event::Gaussian { noise_multiplier: 53_117.0 / f64::from(i) };
            let (unit, adjacency) = (PrivacyUnit::Row, Adjacency::AddRemove);
            let (epsilon, delta) = (0.999_912_345_678 / f64::from(i), 1e-6 / f64::from(i));
            let (fit, request) = (i.to_string(), "r".into());
            let record = Record::Intent { fit, epsilon, delta, unit, adjacency, event, request };
            text = format!("{text}\n{}", ledger.append(record, "t".into(), "a".into()));
        }
        assert_eq!(Ledger::parse(&text).unwrap().lines().len(), 500);
    }

    #[test]
    fn a_crash_is_spent_and_a_refusal_is_not() {
        let mut ledger = Ledger::parse(&text()).unwrap();
        ledger.append(Record::Outcome { fit: "one".into(), model_sha256: "0".into() }, "t".into(), "a".into());
        ledger.append(Record::Refused { fit: "two".into() }, "t".into(), "a".into());
        assert!((ledger.spent().0 - 0.3).abs() < 1e-12, "fit two was refused, fit one was released");
        ledger.append(Record::Refused { fit: "one".into() }, "t".into(), "a".into());
        assert!((ledger.spent().0 - 0.3).abs() < 1e-12, "what was released cannot be refused afterwards");
        for seen in
            [Record::Resumed { fit: "two".into() }, Record::Checkpoint { fit: "two".into(), sha256: "0".into() }]
        {
            let mut ledger = Ledger::parse(&text()).unwrap();
            ledger.append(seen.clone(), "t".into(), "a".into());
            assert_eq!(ledger.last_of("two").unwrap().record, seen);
            ledger.append(Record::Refused { fit: "two".into() }, "t".into(), "a".into());
            assert!((ledger.spent().0 - 0.6).abs() < 1e-12, "what may have been released cannot be refused");
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
        assert_eq!((ledger.cap(), ledger.left()), (None, f64::INFINITY));
        ledger.append(Record::Cap { epsilon: Some(1.0) }, "t".into(), "a".into());
        assert!((ledger.left() - 0.4).abs() < 1e-12);
        ledger.append(Record::Cap { epsilon: Some(0.5) }, "t".into(), "a".into());
        assert_eq!(ledger.left(), 0.0);
        ledger.append(Record::Cap { epsilon: None }, "t".into(), "a".into());
        assert_eq!(ledger.cap(), None);
    }

    /// A fit without noise leaves nothing for a later cap, and its line is read back.
    #[test]
    fn an_infinite_epsilon_is_on_record() {
        let mut ledger = Ledger::parse(&text()).unwrap();
        let (unit, adjacency, event) = (PrivacyUnit::Row, Adjacency::AddRemove, Event::NonPrivate);
        let (fit, request, epsilon) = ("open".into(), String::new(), f64::INFINITY);
        let record = Record::Intent { fit, epsilon, delta: 0.0, unit, adjacency, event, request };
        let line = ledger.append(record.clone(), "t".into(), "a".into());
        assert!(line.contains(r#""epsilon":"inf""#), "{line}");
        let mut ledger = Ledger::parse(&format!("{}\n{line}", text())).unwrap();
        assert_eq!(ledger.lines().last().unwrap().record, record);
        assert_eq!(ledger.spent().0, f64::INFINITY);
        ledger.append(Record::Cap { epsilon: Some(1e6) }, "t".into(), "a".into());
        assert_eq!(ledger.left(), 0.0);
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
        let mut ledger = Ledger::default();
        let line =
            ledger.append(Record::Opened { version: LEDGER_VERSION + 1, table: "t".into() }, "t".into(), "a".into());
        assert!(matches!(Ledger::parse(&line), Err(Error::Ledger { line: 1, what }) if what.contains("newer")));
    }
}
