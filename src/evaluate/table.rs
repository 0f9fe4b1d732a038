//! The three tables on common ground: same columns, same order, one numbering of categories.

use std::collections::{HashMap, HashSet};

use super::SMALLEST_GROUP;
use super::numpy_choice::NumpyRng;
use crate::error::{Error, Result};
use crate::ingest::{Frame, FrameColumn, MISSING, Values};

/// What is wrong with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// It was infinite, and is missing now.
    Infinite,
    /// It lay beyond the column's range, and is an end of it now.
    Outside,
}

/// The cells of one column of one table.
#[derive(Clone)]
pub enum Column {
    /// NaN is missing.
    Number { values: Vec<f64>, flaws: Vec<Flaw> },
    /// Numbers of categories common to the three tables. [`MISSING`] is missing.
    Category(Vec<u32>),
}

impl Column {
    /// Numbers as they are; an infinite one becomes missing.
    pub fn numbers(values: Vec<f64>) -> Self {
        let flaws = values.iter().map(|v| if v.is_infinite() { Flaw::Infinite } else { Flaw::None }).collect();
        Self::Number { values: values.into_iter().map(|v| if v.is_finite() { v } else { f64::NAN }).collect(), flaws }
    }

    /// Moves numbers beyond a range to its nearer end.
    fn clamp(&mut self, (low, high): (f64, f64)) {
        let Self::Number { values, flaws } = self else { return };
        for (value, flaw) in values.iter_mut().zip(flaws) {
            if *value < low || *value > high {
                (*value, *flaw) = (value.clamp(low, high), Flaw::Outside);
            }
        }
    }

    pub fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Number { values, .. } => values[row].is_nan(),
            Self::Category(codes) => codes[row] == MISSING,
        }
    }

    fn take(&self, rows: &[usize]) -> Self {
        match self {
            Self::Number { values, flaws } => Self::Number {
                values: rows.iter().map(|&r| values[r]).collect(),
                flaws: rows.iter().map(|&r| flaws[r]).collect(),
            },
            Self::Category(codes) => Self::Category(rows.iter().map(|&r| codes[r]).collect()),
        }
    }

    /// One column after the other.
    pub fn concat(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Number { values, flaws }, Self::Number { values: more, flaws: more_flaws }) => {
                Self::Number { values: [&values[..], more].concat(), flaws: [&flaws[..], more_flaws].concat() }
            }
            (Self::Category(codes), Self::Category(more)) => Self::Category([&codes[..], more].concat()),
            _ => unreachable!("aligned tables agree on the kind of a column"),
        }
    }
}

/// One table, columns in the order of [`Tables::names`].
#[derive(Clone)]
pub struct Table {
    pub rows: usize,
    pub columns: Vec<Column>,
    /// The privacy unit of each row: rows of one are not independent. A number of its own where nobody says whose it is.
    pub unit: Vec<u32>,
}

impl Table {
    /// Each row of a unit of its own.
    pub fn of_rows(rows: usize, columns: Vec<Column>) -> Self {
        Self { rows, columns, unit: (0..rows as u32).collect() }
    }

    /// The rows numbered in `rows`, in that order.
    pub fn take(&self, rows: &[usize]) -> Self {
        let unit = rows.iter().map(|&r| self.unit[r]).collect();
        Self { rows: rows.len(), columns: self.columns.iter().map(|c| c.take(rows)).collect(), unit }
    }

    /// The rows of this table, then those of one of other units.
    pub fn concat(&self, other: &Self) -> Self {
        let first = self.unit.iter().max().map_or(0, |&last| last + 1);
        Self {
            rows: self.rows + other.rows,
            columns: self.columns.iter().zip(&other.columns).map(|(a, b)| a.concat(b)).collect(),
            unit: self.unit.iter().copied().chain(other.unit.iter().map(|unit| first + unit)).collect(),
        }
    }

    /// About so many rows: whole units, drawn with `rng`.
    pub fn drawn(&self, rows: usize, mut rng: NumpyRng) -> Self {
        let (unit, units) = numbered(&self.unit);
        let mut taken = vec![usize::MAX; units];
        let chosen = rng.choose(units, units * rows / self.rows.max(1));
        chosen.iter().enumerate().for_each(|(place, &unit)| taken[unit] = place);
        let mut kept: Vec<usize> = (0..self.rows).filter(|&row| taken[unit[row] as usize] < usize::MAX).collect();
        kept.sort_by_key(|&row| taken[unit[row] as usize]);
        self.take(&kept)
    }

    /// Rows of the unit that has most of them.
    pub fn most_rows_of_unit(&self) -> usize {
        let (unit, units) = numbered(&self.unit);
        let mut rows_of = vec![0; units];
        unit.iter().for_each(|&unit| rows_of[unit as usize] += 1);
        rows_of.into_iter().max().unwrap_or(0)
    }

    pub fn missing_rate(&self, column: usize) -> f64 {
        let missing = (0..self.rows).filter(|&r| self.columns[column].is_missing(r)).count();
        missing as f64 / self.rows as f64
    }
}

/// Units as numbers from 0, by first appearance, and how many there are.
pub fn numbered(unit: &[u32]) -> (Vec<u32>, usize) {
    let mut number_of: HashMap<u32, u32> = HashMap::with_capacity(unit.len());
    let numbers = unit.iter().map(|&unit| {
        let next = number_of.len() as u32;
        *number_of.entry(unit).or_insert(next)
    });
    let numbers = numbers.collect();
    (numbers, number_of.len())
}

/// How many units some rows belong to.
pub fn units_of(unit: impl Iterator<Item = u32>) -> usize {
    unit.collect::<HashSet<u32>>().len()
}

/// The training, holdout and synthetic tables, aligned.
///
/// # Privacy
/// Holds real rows. Touches sensitive data, releases nothing.
pub struct Tables {
    pub names: Vec<String>,
    /// Of a category column, the spelling of each number. The training table's own come first.
    pub labels: Vec<Vec<String>>,
    /// How many of `labels` occur in the training table.
    pub known_labels: Vec<usize>,
    /// Of a number column, what [`Tables::clamp`] moved its cells into.
    pub ranges: Vec<Option<(f64, f64)>>,
    pub train: Table,
    pub holdout: Table,
    pub synthetic: Table,
}

impl Tables {
    /// Aligns by name; the training table gives the order.
    ///
    /// # Errors
    /// A table without rows or columns, a column that one table lacks, or one that is
    /// a number in one table and text in another.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing: an error names columns, never cells.
    pub fn align(real: &Frame, holdout: &Frame, synthetic: &Frame) -> Result<Self> {
        let frames = [("real", real), ("holdout", holdout), ("synthetic", synthetic)];
        for (role, frame) in frames {
            if frame.rows == 0 {
                return Err(Error::bad_input(format!("the {role} table has no rows"))
                    .remedy("give a table with at least one row of data"));
            }
        }
        if real.columns.is_empty() {
            return Err(Error::bad_input("the real table has no columns to compare")
                .remedy("declare in the schema at least one column that is not an identifier or dropped"));
        }
        let [_, holdout_columns, synthetic_columns] = frames.map(|(role, frame)| columns_like(real, frame, role));
        let (holdout_columns, synthetic_columns) = (holdout_columns?, synthetic_columns?);

        let empty = |frame: &Frame| Table {
            unit: frame.unit.clone().unwrap_or_else(|| (0..frame.rows as u32).collect()),
            ..Table::of_rows(frame.rows, Vec::new())
        };
        let mut tables = Self {
            names: real.columns.iter().map(|c| c.name.clone()).collect(),
            labels: Vec::new(),
            known_labels: Vec::new(),
            ranges: vec![None; real.columns.len()],
            train: empty(real),
            holdout: empty(holdout),
            synthetic: empty(synthetic),
        };
        for ((column, held), made) in real.columns.iter().zip(holdout_columns).zip(synthetic_columns) {
            let mut vocabulary = Vocabulary::default();
            tables.train.columns.push(vocabulary.read_training(&column.values));
            tables.known_labels.push(vocabulary.labels.len());
            tables.holdout.columns.push(vocabulary.read(&held.values));
            tables.synthetic.columns.push(vocabulary.read(&made.values));
            tables.labels.push(vocabulary.labels);
        }
        Ok(tables)
    }

    /// Moves every number beyond the range of its column to the nearer end, so that no person's value weighs more than the
    /// range allows in any figure.
    pub fn clamp(&mut self, range: impl Fn(&Self, usize) -> Option<(f64, f64)>) {
        self.ranges = (0..self.names.len()).map(|column| range(self, column)).collect();
        for (column, range) in self.ranges.iter().enumerate() {
            for table in [&mut self.train, &mut self.holdout, &mut self.synthetic] {
                range.iter().for_each(|&range| table.columns[column].clamp(range));
            }
        }
    }

    /// The values of a number column of the training table within which all units but the nine lowest and the nine highest
    /// have one.
    pub fn tenth_ends(&self, column: usize) -> Option<(f64, f64)> {
        match &self.train.columns[column] {
            Column::Number { values, .. } => tenth_ends(values, &self.train.unit),
            Column::Category(_) => None,
        }
    }

    /// The number of the column of this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// 1 for each row of `table` whose cell in `column` is one of `values`, 0 for the others, NaN where it is missing.
    pub fn indicator(&self, table: &Table, column: usize, values: &[String]) -> Vec<f64> {
        let of = |is_one: bool| f64::from(u8::from(is_one));
        match &table.columns[column] {
            Column::Number { values: cells, .. } => {
                let wanted: Vec<f64> = values.iter().filter_map(|v| v.trim().parse().ok()).collect();
                cells.iter().map(|v| if v.is_nan() { f64::NAN } else { of(wanted.contains(v)) }).collect()
            }
            Column::Category(codes) => {
                let wanted: Vec<bool> = self.labels[column].iter().map(|l| values.contains(l)).collect();
                codes.iter().map(|&c| if c == MISSING { f64::NAN } else { of(wanted[c as usize]) }).collect()
            }
        }
    }

    /// The number of a category as the schema spells it; `None` where no table has it.
    pub fn category(&self, column: usize, label: &str) -> Option<u32> {
        self.labels[column].iter().position(|l| l == label).map(|code| code as u32)
    }
}

/// The tenth lowest of the units' lowest values and the tenth highest of their highest; `None` without a value.
fn tenth_ends(values: &[f64], unit: &[u32]) -> Option<(f64, f64)> {
    let mut ends: HashMap<u32, (f64, f64)> = HashMap::new();
    for (&value, &unit) in values.iter().zip(unit).filter(|(value, _)| !value.is_nan()) {
        let (low, high) = ends.entry(unit).or_insert((value, value));
        (*low, *high) = (low.min(value), high.max(value));
    }
    let (mut lows, mut highs): (Vec<f64>, Vec<f64>) = ends.into_values().unzip();
    lows.sort_unstable_by(f64::total_cmp);
    highs.sort_unstable_by(|a, b| b.total_cmp(a));
    let tenth = |of: &[f64]| of.get(SMALLEST_GROUP - 1).or(of.last()).copied();
    let (low, high) = (tenth(&lows)?, tenth(&highs)?);
    // Of fewer than twenty units the ends may have crossed.
    Some((low.min(high), low.max(high)))
}

/// The columns of `frame` in the order of `real`.
fn columns_like<'a>(real: &Frame, frame: &'a Frame, role: &str) -> Result<Vec<&'a FrameColumn>> {
    const REMEDY: &str = "read the three tables under one schema, with the same columns in each";
    if let Some(extra) = frame.columns.iter().find(|c| real.columns.iter().all(|r| r.name != c.name)) {
        let what = format!("in the {role} table but not in the real one");
        return Err(Error::bad_input(what).column(&extra.name).remedy(REMEDY));
    }
    let find = |wanted: &FrameColumn| {
        let missing = || Error::bad_input(format!("missing in the {role} table")).column(&wanted.name).remedy(REMEDY);
        let found = frame.columns.iter().find(|c| c.name == wanted.name).ok_or_else(missing)?;
        match (&wanted.values, &found.values) {
            (Values::Number(_), Values::Number(_)) | (Values::Text { .. }, Values::Text { .. }) => Ok(found),
            _ => Err(Error::bad_input(format!("a number in one table and text in another (real and {role})"))
                .column(&wanted.name)
                .remedy(REMEDY)),
        }
    };
    real.columns.iter().map(find).collect()
}

/// Categories of one column as they are met.
#[derive(Default)]
struct Vocabulary {
    labels: Vec<String>,
    number_of: HashMap<String, u32>,
}

impl Vocabulary {
    fn number(&mut self, label: &str) -> u32 {
        if let Some(&number) = self.number_of.get(label) {
            return number;
        }
        let number = self.labels.len() as u32;
        self.labels.push(label.to_owned());
        self.number_of.insert(label.to_owned(), number);
        number
    }

    fn read_training(&mut self, values: &Values) -> Column {
        self.read_with(values, |vocabulary, label| vocabulary.number(label))
    }

    /// As the judge does, a spelling that the training table lacks is forgiven when it only
    /// differs by blanks around it or by the `.0` of a whole number.
    fn read(&mut self, values: &Values) -> Column {
        let forgiving = |vocabulary: &mut Self, label: &str| {
            let known = |l: &str| vocabulary.number_of.get(l).copied();
            let trimmed = label.trim();
            let as_whole = || {
                let number: f64 = trimmed.parse().ok()?;
                (number.is_finite() && number.fract() == 0.0).then(|| format!("{number:.0}"))
            };
            let found = known(label).or_else(|| known(trimmed)).or_else(|| known(&as_whole()?));
            found.unwrap_or_else(|| vocabulary.number(label))
        };
        self.read_with(values, forgiving)
    }

    /// Only labels that occur are numbered.
    fn read_with(&mut self, values: &Values, mut number: impl FnMut(&mut Self, &str) -> u32) -> Column {
        match values {
            Values::Number(values) => Column::numbers(values.clone()),
            Values::Text { codes, labels } => {
                let mut number_of: Vec<Option<u32>> = vec![None; labels.len()];
                let mut renumber = |&code: &u32| match number_of.get_mut(code as usize) {
                    None => MISSING,
                    Some(slot) => *slot.get_or_insert_with(|| number(self, &labels[code as usize])),
                };
                Column::Category(codes.iter().map(&mut renumber).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::{frame, number, text};

    #[test]
    fn columns_are_matched_by_name_and_categories_share_numbers() {
        let real = frame(vec![text("sex", &["F", "M", ""]), number("age", &[1.0, 2.0, 3.0])]);
        let holdout = frame(vec![number("age", &[f64::INFINITY]), text("sex", &["M"])]);
        let synthetic = frame(vec![text("sex", &["X", "M"]), number("age", &[f64::NAN, 2.0])]);
        let tables = Tables::align(&real, &holdout, &synthetic).unwrap();
        assert_eq!(tables.names, ["sex", "age"]);
        assert_eq!((tables.labels[0].join(" "), tables.known_labels[0]), ("F M X".into(), 2));
        assert!(matches!(&tables.holdout.columns[0], Column::Category(c) if c == &[1]));
        assert!(matches!(&tables.synthetic.columns[0], Column::Category(c) if c == &[2, 1]));
        assert!(tables.train.columns[0].is_missing(2));
        let Column::Number { values, flaws } = &tables.holdout.columns[1] else { panic!("a number") };
        assert!(values[0].is_nan() && flaws[0] == Flaw::Infinite);
    }

    #[test]
    fn a_category_is_forgiven_blanks_and_a_decimal_point() {
        let real = frame(vec![text("code", &["1", "20", "a"])]);
        let other = frame(vec![text("code", &["1.0", " a ", "20.5", "b"])]);
        let tables = Tables::align(&real, &other, &real).unwrap();
        assert!(matches!(&tables.holdout.columns[0], Column::Category(c) if c == &[0, 2, 3, 4]));
    }

    #[test]
    fn a_table_that_does_not_fit_is_refused_by_column_name() {
        let real = frame(vec![text("sex", &["F"]), number("age", &[1.0])]);
        let short = frame(vec![text("sex", &["F"])]);
        let wrong = frame(vec![text("sex", &["F"]), text("age", &["1"])]);
        let empty = frame(vec![text("sex", &[]), number("age", &[])]);
        let message = |r: Result<Tables>| r.err().map(|e| e.to_string()).unwrap_or_default();
        for (result, words) in [
            (Tables::align(&real, &short, &real), "column `age`: missing in the holdout table"),
            (Tables::align(&real, &real, &wrong), "column `age`: a number in one table and text in another"),
            (Tables::align(&short, &short, &real), "column `age`: in the synthetic table but not in the real one"),
            (Tables::align(&real, &real, &empty), "the synthetic table has no rows"),
        ] {
            let text = message(result);
            assert!(text.contains(words) && text.contains("remedy:"), "{text}");
        }
    }
}
