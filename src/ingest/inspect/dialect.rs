//! How the text of a table is read, told from its header line and its cells.

use std::borrow::Cow;

use super::super::cells::Texts;
use super::super::raw::{RawColumn, RawTable, Stored};
use super::profile::is_marker;
use crate::error::Result;
use crate::schema::{ConstraintFrom, Notation, Reading, limit};

/// Share of the different cells of a column that are plain numbers where others are limits.
const NUMBERS_SHARE: f64 = 0.5;

/// The suffix that numbers may have.
const PERCENT: &str = "%";

/// What the cells of a column show about the marks in the numbers of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Evidence {
    /// Columns with a decimal comma, or with points between groups of digits.
    comma: usize,
    /// Columns with a decimal point, or with commas between groups of digits.
    point: usize,
    /// Columns in which commas may be either: `1,234` and no other.
    either: usize,
}

/// The reading of a table, its marks told from the cells where nothing is said of them. What plain CSV has is not said, and
/// what was told from the rows is marked.
pub(in crate::ingest) fn told(table: &RawTable, said: &Reading) -> Result<Reading> {
    let mut reading = Reading { from: None, ..table.reading.clone() };
    let columns = number_columns(table)?;
    if said.decimal.is_none() {
        let mut evidence = Evidence::default();
        columns.iter().for_each(|labels| evidence.add(labels));
        let is_comma = match evidence.comma.cmp(&evidence.point) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            // Where a semicolon stands between cells, the comma is taken; so `1,234` is no thousand.
            std::cmp::Ordering::Equal => {
                evidence.comma == 0 && evidence.either > 0 && reading.separator.is_some_and(|mark| mark == ';')
            }
        };
        reading.decimal = is_comma.then_some(',');
    }
    let decimal = reading.decimal.unwrap_or('.');
    if said.thousands.is_none() {
        let marks = [if decimal == ',' { '.' } else { ',' }, ' ', '\''];
        reading.thousands = marks.into_iter().find(|&mark| {
            let with = Reading { thousands: Some(mark), ..reading.clone() };
            let without = Reading { thousands: None, ..reading.clone() };
            columns.iter().any(|labels| {
                let is_number = |reading: &Reading, label: &String| reading.plain(bare(label)).is_some();
                labels.iter().all(|l| is_number(&with, l)) && labels.iter().any(|l| !is_number(&without, l))
            })
        });
    }
    reading.separator = reading.separator.filter(|mark| *mark != ',' || said.separator.is_some());
    reading.decimal = reading.decimal.filter(|mark| *mark != '.');
    let is_told = reading.decimal.is_some() && said.decimal.is_none()
        || reading.thousands.is_some() && said.thousands.is_none()
        || reading.encoding.is_some() && said.encoding.is_none();
    reading.from = is_told.then_some(ConstraintFrom::Data);
    Ok(reading)
}

/// The different cells of each column in which all could be numbers of some reading.
fn number_columns(table: &RawTable) -> Result<Vec<Vec<String>>> {
    let mut columns = Vec::new();
    for column in table.columns.iter().filter(|column| matches!(column.stored, Stored::Text(_))) {
        let mut texts = texts(table, column)?;
        texts.remove(is_marker);
        if !texts.labels.is_empty() && texts.labels.iter().all(|label| may_be_number(bare(label))) {
            columns.push(texts.labels);
        }
    }
    Ok(columns)
}

fn texts(table: &RawTable, column: &RawColumn) -> Result<Texts> {
    Texts::of(column.stored.cells()?).map_err(|_| table.source.bad("the column cannot be read").column(&column.name))
}

/// A cell without its limit and its suffix.
fn bare(label: &str) -> &str {
    let label = label.trim();
    let label = label.strip_suffix(PERCENT).unwrap_or(label);
    limit(label).unwrap_or(label)
}

fn may_be_number(text: &str) -> bool {
    let text = text.trim();
    let is_part = |c: char| {
        c.is_ascii_digit()
            || matches!(c, '+' | '-' | '.' | ',' | '\'' | '\u{2019}' | ' ' | '\u{a0}' | '\u{202f}' | 'e' | 'E')
    };
    text.contains(|c: char| c.is_ascii_digit()) && text.chars().all(is_part)
}

impl Evidence {
    fn add(&mut self, labels: &[String]) {
        let numbers = |decimal, thousands| Reading { decimal: Some(decimal), thousands, ..Reading::default() };
        let all = |reading: &Reading| labels.iter().all(|label| reading.plain(bare(label)).is_some());
        let any = |mark: char| labels.iter().any(|label| bare(label).contains(mark));
        let is_comma = all(&numbers(',', None)) || all(&numbers(',', Some('.'))) || all(&numbers(',', Some(' ')));
        let is_point = all(&numbers('.', None)) || all(&numbers('.', Some(','))) || all(&numbers('.', Some(' ')));
        match (is_comma, is_point) {
            (true, false) => self.comma += 1,
            (false, true) if any('.') || any(',') => self.point += 1,
            (true, true) if any(',') => self.either += 1,
            // `1.234` is a number as it is.
            _ => {}
        }
    }
}

/// How the numbers of one column are written, beside what holds of the whole table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub percent: bool,
    pub limits: bool,
}

impl Marks {
    /// Those of a column of which all cells are numbers then, and of which some are none without.
    pub fn of(reading: &Reading, labels: &[String]) -> Option<Self> {
        let ends = |label: &String| label.trim_end().ends_with(PERCENT);
        let beyond = labels.iter().filter(|label| limit(label).is_some()).count();
        let marks = Self { percent: labels.iter().all(ends), limits: beyond > 0 };
        let is_number = |label: &String| marks.plain(reading, label).is_some_and(|plain| !is_code(&plain));
        let are_few = (beyond as f64) <= NUMBERS_SHARE * labels.len() as f64;
        let is_needed = marks != Self::default() || !reading.has_plain_numbers();
        (is_needed && !labels.is_empty() && are_few && labels.iter().all(is_number)).then_some(marks)
    }

    /// Those of two tables: a suffix may be left out, and a number is its own limit.
    pub fn or(self, other: Self) -> Self {
        Self { percent: self.percent || other.percent, limits: self.limits || other.limits }
    }

    pub fn suffix(self) -> Option<&'static str> {
        self.percent.then_some(PERCENT)
    }

    /// The cell as plain text has it.
    pub fn plain<'t>(self, reading: &Reading, label: &'t str) -> Option<Cow<'t, str>> {
        Notation::new(reading, self.suffix(), self.limits).plain(label)
    }
}

/// Digits that begin with 0 are a code.
fn is_code(number: &str) -> bool {
    let digits = number.trim_start_matches(['+', '-']).as_bytes();
    matches!(digits, [b'0', second, ..] if second.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(columns: &[&[&str]]) -> (usize, usize, usize) {
        let mut evidence = Evidence::default();
        for labels in columns {
            evidence.add(&labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>());
        }
        (evidence.comma, evidence.point, evidence.either)
    }

    #[test]
    fn marks_are_told_by_what_can_be_no_other() {
        assert_eq!(evidence(&[&["1,5", "2"]]), (1, 0, 0));
        assert_eq!(evidence(&[&["0,123"]]), (1, 0, 0));
        assert_eq!(evidence(&[&["1.234,5"]]), (1, 0, 0));
        assert_eq!(evidence(&[&["1,234", "12,345,678"]]), (0, 1, 0));
        assert_eq!(evidence(&[&["1.5"]]), (0, 1, 0));
        assert_eq!(evidence(&[&["1,234", "7"]]), (0, 0, 1));
        assert_eq!(evidence(&[&["1.234"], &["17"], &["1,5", "1.5"]]), (0, 0, 0));
    }

    #[test]
    fn a_column_is_of_numbers_where_all_cells_are() {
        let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
        let marks = |texts: &[&str]| Marks::of(&Reading::default(), &labels(texts));
        assert_eq!(marks(&["12 %", "3.5%"]), Some(Marks { percent: true, limits: false }));
        assert_eq!(marks(&["<0.5", "0.7", "12"]), Some(Marks { percent: false, limits: true }));
        assert_eq!(marks(&["12 %", "3.5"]), None);
        assert_eq!(marks(&["<5", ">10", "7"]), None, "most are no numbers");
        assert_eq!(marks(&["007", "<1"]), None);
        assert_eq!(marks(&["1.5"]), None, "plain");
    }
}
