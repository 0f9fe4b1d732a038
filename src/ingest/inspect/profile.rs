//! One column as the rules see it: its name in words, its type, its distinct values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::cells::{Texts, nanoseconds};
use super::super::load::number;
use super::super::raw::{RawColumn, RawTable, Stored};
use super::Distinct;
use super::dialect::Marks;
use crate::error::Result;
use crate::schema::datetime::{self, Ticks};
use crate::schema::{ArrowType, CodeSystem};

/// Texts that nearly always mean a missing cell. "None" is not one of them:
/// in health records it often means "not done", which is not "not known".
pub(super) const MISSING_MARKERS: [&str; 11] =
    ["", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL", "NaN", "nan"];

/// A column is nearly unique when so large a share of its cells differ.
const NEAR_UNIQUE: f64 = 0.9;

/// Below so many cells nothing is called nearly unique.
const ENOUGH_ROWS: usize = 20;

/// Share of distinct values that must have the shape of a code system with a
/// check digit, which chance rarely gets right.
pub(super) const CHECKED_CODE_SHARE: f64 = 0.8;

/// How a time of day is written.
pub(super) const TIME_OF_DAY: &str = "%H:%M:%S%.f";

/// What the rules need to know about one column.
pub(super) struct Profile {
    pub name: String,
    /// The name in lower case, cut at punctuation and at capitals within it.
    pub words: Vec<String>,
    /// The type in the file; `None` for CSV text.
    pub arrow_type: Option<ArrowType>,
    /// The name of the type, when it is not supported.
    pub unsupported: Option<String>,
    pub rows: usize,
    pub missing: usize,
    /// The missing markers that were met.
    pub markers: Vec<String>,
    /// Distinct values, in order of their text: any other one would say something of the rows.
    pub labels: Vec<String>,
    /// Number of cells of each label.
    pub counts: Vec<usize>,
    /// How the numbers are written, where they are not plain: the labels are.
    pub marks: Option<Marks>,
    /// Of dates in which day and month could be exchanged: other columns show that the month comes first.
    pub is_month_first: bool,
}

impl Profile {
    pub fn of(raw: &RawTable, column: &RawColumn) -> Result<Self> {
        let mut profile = Self {
            name: column.name.clone(),
            words: words(&column.name),
            arrow_type: None,
            unsupported: None,
            rows: raw.rows,
            missing: raw.rows,
            markers: Vec::new(),
            labels: Vec::new(),
            counts: Vec::new(),
            marks: None,
            is_month_first: false,
        };
        match &column.stored {
            Stored::Unsupported(data_type) => {
                profile.unsupported = Some(data_type.clone());
                return Ok(profile);
            }
            Stored::Text(_) => {}
            Stored::Typed(arrow_type, _) => profile.arrow_type = Some(arrow_type.clone()),
        }
        let mut texts = all_texts(raw, column)?;
        profile.markers = texts.labels.iter().map(|l| l.trim()).filter(|l| is_marker(l)).map(str::to_owned).collect();
        texts.remove(is_marker);
        profile.marks = make_plain(&mut texts, raw, column);
        let counts = texts.counts();
        profile.missing = raw.rows - counts.iter().sum::<usize>();
        let mut pairs: Vec<(String, usize)> = texts.labels.into_iter().zip(counts).collect();
        pairs.sort_unstable();
        (profile.labels, profile.counts) = pairs.into_iter().unzip();
        Ok(profile)
    }

    /// Takes in the cells of the same column of another table.
    pub fn join(&mut self, other: Self) {
        let is_wide = |profile: &Self| profile.arrow_type.as_ref().is_some_and(|t| t.is_numeric() && !t.is_integer());
        self.unsupported = self.unsupported.take().or(other.unsupported.clone());
        self.arrow_type = match (&self.arrow_type, &other.arrow_type) {
            (Some(own), Some(others)) if own.is_numeric() && others.is_numeric() => {
                // The wider one: whole numbers may have decimals elsewhere.
                Some(if is_wide(self) { own.clone() } else { others.clone() })
            }
            (Some(own), Some(others)) if own == others => Some(own.clone()),
            (Some(own), None) | (None, Some(own)) if own.is_numeric() => {
                let is_whole = |label: &String| label.trim().parse::<i64>().is_ok();
                let holds = own.is_integer() && self.labels.iter().chain(&other.labels).all(is_whole);
                (holds || !own.is_integer()).then(|| own.clone())
            }
            _ => None,
        };
        let mut cells: BTreeMap<String, usize> = self.labels.drain(..).zip(self.counts.drain(..)).collect();
        other.labels.into_iter().zip(other.counts).for_each(|(label, count)| *cells.entry(label).or_default() += count);
        (self.labels, self.counts) = cells.into_iter().unzip();
        self.markers.extend(other.markers);
        self.markers.sort_unstable();
        self.markers.dedup();
        self.marks = self.marks.into_iter().chain(other.marks).reduce(Marks::or);
        self.rows += other.rows;
        self.missing += other.missing;
    }

    pub fn present(&self) -> usize {
        self.rows - self.missing
    }

    pub fn distinct(&self) -> Distinct {
        let (values, cells) = (self.labels.len(), self.present());
        match values {
            0 => Distinct::None,
            1 => Distinct::One,
            n if cells >= ENOUGH_ROWS && n == cells => Distinct::Unique,
            n if cells >= ENOUGH_ROWS && n as f64 >= NEAR_UNIQUE * cells as f64 => Distinct::NearUnique,
            2 => Distinct::Two,
            3..=20 => Distinct::Few,
            21..=100 => Distinct::Dozens,
            101..=1000 => Distinct::Hundreds,
            _ => Distinct::Thousands,
        }
    }

    pub fn is_near_unique(&self) -> bool {
        matches!(self.distinct(), Distinct::Unique | Distinct::NearUnique)
    }

    /// True for CSV text and for columns that the file itself calls text.
    pub fn is_text(&self) -> bool {
        self.arrow_type.as_ref().is_none_or(ArrowType::is_text)
    }

    /// True when every label satisfies the test, and there is one.
    pub fn all(&self, test: impl Fn(&str) -> bool) -> bool {
        !self.labels.is_empty() && self.labels.iter().all(|label| test(label))
    }

    /// The values as numbers, when all are and none is written like a code (`007`).
    /// Text in a typed file is text on purpose.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        let may_be = self.arrow_type.as_ref().is_none_or(ArrowType::is_numeric);
        if !may_be || self.labels.is_empty() {
            return None;
        }
        self.labels.iter().map(|label| number(label).filter(|_| !leading_zero(label))).collect()
    }

    /// True when the values are whole numbers whose last digit checks the others.
    pub fn has_check_digits(&self) -> bool {
        let checked = self.labels.iter().filter(|label| CodeSystem::Snomed.has_shape(label)).count();
        self.labels.len() > 2 && checked as f64 >= CHECKED_CODE_SHARE * self.labels.len() as f64
    }

    pub fn has_word(&self, words: &[&str]) -> bool {
        self.words.iter().any(|w| words.contains(&w.as_str()))
    }

    /// True when the name ends in a word that keys end in.
    pub fn is_key_named(&self) -> bool {
        let last = self.words.last().map_or("", String::as_str);
        ["id", "ids", "nbr", "nr", "no", "number", "key", "uuid", "guid", "identifier", "mrn"].contains(&last)
    }
}

/// The cells of a column as texts, row by row, markers of missing cells included.
fn all_texts(raw: &RawTable, column: &RawColumn) -> Result<Texts> {
    let unreadable = |_| raw.source.bad("the column cannot be read").column(&column.name);
    let cells = column.stored.cells()?;
    let arrow_type = column.stored.arrow_type()?;
    match arrow_type.and_then(|t| Ticks::of(t.data_type())) {
        Some(unit) => {
            let format = arrow_type.filter(|t| t.is_time_of_day()).map(|_| TIME_OF_DAY);
            let moments = nanoseconds(cells).map_err(unreadable)?;
            Ok(Texts::of_moments(&moments, |n| datetime::written(n, format, unit).unwrap_or_default()))
        }
        None => Texts::of(cells).map_err(unreadable),
    }
}

/// The cells of a column as texts, row by row, as a [`Profile`] counts them.
pub(super) fn texts(raw: &RawTable, column: &RawColumn) -> Result<Texts> {
    let mut texts = all_texts(raw, column)?;
    texts.remove(is_marker);
    make_plain(&mut texts, raw, column);
    Ok(texts)
}

/// Writes numbers of text as programs do, where all of the column are numbers.
fn make_plain(texts: &mut Texts, raw: &RawTable, column: &RawColumn) -> Option<Marks> {
    let is_text = matches!(column.stored, Stored::Text(_));
    let marks = Marks::of(&raw.reading, &texts.labels).filter(|_| is_text)?;
    texts.rename(|label| marks.plain(&raw.reading, label).map_or_else(|| label.to_owned(), Cow::into_owned));
    Some(marks)
}

pub(super) fn is_marker(text: &str) -> bool {
    MISSING_MARKERS.contains(&text.trim())
}

fn leading_zero(label: &str) -> bool {
    let digits = label.trim().trim_start_matches(['+', '-']);
    digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit()
}

/// `patient_nbr` to patient, nbr; `PatientID` to patient, id; `BIRTHDATE` to birthdate.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut previous = ' ';
    for c in name.chars() {
        let starts_word = c.is_uppercase() && previous.is_lowercase();
        if !c.is_alphanumeric() || starts_word {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        previous = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_into_words() {
        for (name, expected) in [
            ("patient_nbr", &["patient", "nbr"][..]),
            ("PatientID", &["patient", "id"]),
            ("BIRTHDATE", &["birthdate"]),
            ("A1Cresult", &["a1cresult"]),
            ("  e-mail ", &["e", "mail"]),
        ] {
            assert_eq!(words(name), expected);
        }
    }

    #[test]
    fn codes_with_leading_zeros_are_not_numbers() {
        assert!(leading_zero("007") && leading_zero("-01.5"));
        assert!(!leading_zero("0") && !leading_zero("0.5") && !leading_zero("10"));
    }
}
