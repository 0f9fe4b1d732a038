//! Rules that hold in the rows, suggested for a person to confirm: columns that follow from others, columns in order, cells
//! that are missing for a reason, and what never goes together.
//!
//! Each rule has to be one that columns which have nothing to do with each other would break often. What follows from another
//! column by one rule is not told of by a second one.

mod absent;
mod constant;
mod formula;
mod given;
mod never;
mod order;
mod round;

pub use constant::constant;

use super::Inspection;
use crate::ingest::rules::broken;
use crate::ingest::{Frame, FrameColumn, MISSING, Values};
use crate::schema::{Column, Constraint, ConstraintFrom, Counting, Kind, Rule, Schema, own_tolerance};
use std::collections::{HashMap, HashSet};

/// Columns of each sort that are compared with each other, at most: the first ones.
const COMPARED: usize = 128;
/// Values of a column that may give another one, at most.
pub(super) const VALUES: usize = 64;
/// Rows without a missing cell that a suggestion rests on, at least.
pub(super) const ROWS: usize = 100;
/// Rows that would break a rule if its columns had nothing to do with each other, at least. That none does is then a matter
/// of e^-20, for one of some hundred thousand rules that are tried.
const SURPRISING_ROWS: f64 = 20.0;
/// Part of the rows that the commonest value of a column that follows may have: more of it hardly depends on anything.
pub(super) const COMMONEST: f64 = 0.9;
/// Part of the rows that a formula need not give: cells that were corrected by hand.
const STRAY: f64 = 0.002;
/// Suggestions of each kind, at most.
const SUGGESTED: usize = 24;

impl Inspection {
    /// The schema of what can be compared: other columns are left out, so that little is read.
    pub fn comparable(&self) -> Schema {
        let mut schema = self.schema.clone();
        (schema.table.privacy_unit, schema.table.max_rows_per_unit, schema.table.units) = (None, None, None);
        let chosen: Vec<String> = [is_moment, is_amount, has_few]
            .into_iter()
            .flat_map(|is| schema.modelled().filter(move |c| is(c)).take(COMPARED).map(|c| c.name.clone()))
            .collect();
        schema.columns.iter_mut().for_each(|column| column.drop |= !chosen.contains(&column.name));
        schema
    }

    /// Takes suggested rules into the draft: as public ones, where somebody vouched for all that was read from the rows.
    pub fn suggest(&mut self, mut constraints: Vec<Constraint>) {
        if self.schema.table.assumed_public {
            constraints.iter_mut().for_each(|constraint| constraint.from = ConstraintFrom::Public);
        }
        self.schema.constraints.extend(constraints);
    }
}

fn is_moment(column: &Column) -> bool {
    column.kind == Kind::Datetime && column.arrow_type.as_ref().is_none_or(|t| !t.is_time_of_day())
}

fn is_amount(column: &Column) -> bool {
    column.kind.is_amount()
}

fn has_few(column: &Column) -> bool {
    column.kind.has_labels() && column.labels().len() <= VALUES
}

/// Rules that hold in the rows of all these tables and would not by chance. They are sought in the first one.
///
/// # Privacy
/// Outside the guarantee: that a rule holds was read from the rows. It is for the controller only.
pub fn suggest(frames: &[Frame], schema: &Schema) -> Vec<Constraint> {
    let Some((frame, others)) = frames.split_first() else { return Vec::new() };
    let facts: Vec<Facts> = frame.columns.iter().filter_map(|cells| Facts::of(cells, schema)).collect();
    let mut found = Found { possible: Schema { constraints: Vec::new(), ..schema.clone() }, tied: HashSet::new() };
    let holds = |rule: &Rule| {
        others.iter().all(|frame| {
            let stray = if matches!(rule, Rule::Formula { .. }) { STRAY * frame.rows as f64 } else { 0.0 };
            broken(frame, schema, rule) as f64 <= stray
        })
    };
    for find in [formula::find, given::find, order::find, absent::find, never::find] {
        let mut left = SUGGESTED;
        for rule in find(&facts, &found) {
            if left > 0 && holds(&rule) && found.take(rule) {
                left -= 1;
            }
        }
    }
    found.possible.constraints
}

/// What was found so far.
struct Found {
    /// The schema with the rules.
    possible: Schema,
    /// Pairs of columns of which one follows from the other.
    tied: HashSet<(String, String)>,
}

impl Found {
    /// Takes a rule, where the schema can have it.
    fn take(&mut self, rule: Rule) -> bool {
        let columns = rule.columns();
        let decides = rule.computes().is_some();
        self.possible.constraints.push(Constraint { from: ConstraintFrom::Data, ..Constraint::new(rule) });
        let index = self.possible.constraints.len() - 1;
        if self.possible.check_constraint(index).is_err() {
            self.possible.constraints.pop();
            return false;
        }
        if let (true, Some((of, others))) = (decides, columns.split_first()) {
            self.tied.extend(others.iter().flat_map(|on| [(of.clone(), on.clone()), (on.clone(), of.clone())]));
        }
        true
    }

    fn are_tied(&self, a: &Facts, b: &Facts) -> bool {
        self.tied.contains(&(a.column.name.clone(), b.column.name.clone()))
    }

    /// Whether a rule decides the column.
    fn decides(&self, name: &str) -> bool {
        self.possible.constraints.iter().any(|constraint| constraint.rule.computes() == Some(name))
    }
}

/// A column as the rules see it.
struct Facts<'a> {
    column: &'a Column,
    /// Numbers as the frame has them; empty for labels.
    stored: &'a [f64],
    /// The same, a moment in days.
    numbers: Vec<f64>,
    /// Values by number, in the order of their first row, [`MISSING`] where one is; empty where there are too many.
    codes: Vec<u32>,
    /// A row of each value.
    firsts: Vec<usize>,
    /// The labels as the table has them; empty for numbers.
    labels: &'a [String],
    missing: usize,
}

impl<'a> Facts<'a> {
    fn of(cells: &'a FrameColumn, schema: &'a Schema) -> Option<Self> {
        let column = schema.column(&cells.name)?;
        let facts = match &cells.values {
            Values::Text { codes, labels } => {
                let missing = codes.iter().filter(|code| **code == MISSING).count();
                let mut firsts = vec![usize::MAX; labels.len()];
                codes
                    .iter()
                    .enumerate()
                    .rev()
                    .filter(|(_, code)| **code != MISSING)
                    .for_each(|(row, &code)| firsts[code as usize] = row);
                Self { column, stored: &[], numbers: Vec::new(), codes: codes.clone(), firsts, labels, missing }
            }
            Values::Number(values) => {
                let counting = Counting::of(column);
                let numbers: Vec<f64> = values.iter().map(|&x| counting.count(x)).collect();
                let missing = numbers.iter().filter(|x| x.is_nan()).count();
                let (codes, firsts) = numbered(&numbers).unwrap_or_default();
                Self { column, stored: values, numbers, codes, firsts, labels: &[], missing }
            }
        };
        Some(facts)
    }

    fn name(&self) -> &str {
        &self.column.name
    }

    fn is_number(&self) -> bool {
        !self.numbers.is_empty()
    }

    fn rows(&self) -> usize {
        self.codes.len().max(self.numbers.len())
    }

    fn has(&self, row: usize) -> bool {
        if self.is_number() { !self.numbers[row].is_nan() } else { self.codes[row] != MISSING }
    }

    /// How often each value is there.
    fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.firsts.len()];
        self.codes.iter().filter(|code| **code != MISSING).for_each(|&code| counts[code as usize] += 1);
        counts
    }

    /// A value as a condition names it.
    fn literal(&self, code: usize) -> String {
        match self.labels.get(code) {
            Some(label) if self.column.kind == Kind::Boolean => label.clone(),
            Some(label) => format!("'{}'", label.replace('\'', "''")),
            None => self.numbers[self.firsts[code]].to_string(),
        }
    }

    /// A condition that is true of these values.
    fn among(&self, codes: &[usize], is: &str, within: &str) -> String {
        let name = crate::schema::formula::quoted(self.name());
        let values: Vec<String> = codes.iter().map(|&code| self.literal(code)).collect();
        match values.as_slice() {
            [one] => format!("{name} {is} {one}"),
            _ => format!("{name} {within} ({})", values.join(", ")),
        }
    }

    /// Whether its rows are enough, and not nearly all alike.
    fn varies(&self) -> bool {
        let most = self.counts().into_iter().max().unwrap_or(0);
        self.rows() - self.missing >= ROWS && most as f64 <= COMMONEST * (self.rows() - self.missing) as f64
    }

    fn own_tolerance(&self) -> Option<f64> {
        own_tolerance(self.column)
    }
}

/// The values of a column, numbered, and a row of each; nothing where there are more than [`VALUES`].
fn numbered(values: &[f64]) -> Option<(Vec<u32>, Vec<usize>)> {
    let (mut seen, mut firsts): (HashMap<u64, u32>, Vec<usize>) = (HashMap::new(), Vec::new());
    let mut codes = Vec::with_capacity(values.len());
    for (row, x) in values.iter().enumerate() {
        if x.is_nan() {
            codes.push(MISSING);
            continue;
        }
        let next = firsts.len() as u32;
        let code = *seen.entry((x + 0.0).to_bits()).or_insert(next);
        if code == next {
            firsts.push(row);
            if firsts.len() > VALUES {
                return None;
            }
        }
        codes.push(code);
    }
    Some((codes, firsts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"
        [table]
        name = "t"
        [[column]]
        name = "in"
        kind = "datetime"
        type = "date32"
        [[column]]
        name = "seen"
        kind = "datetime"
        type = "timestamp[us]"
        [[column]]
        name = "out"
        kind = "datetime"
        type = "date32"
        [[column]]
        name = "years"
        kind = "integer"
        min = 0
        max = 40
        [[column]]
        name = "large"
        kind = "integer"
        min = 1000
        max = 2000
        [[column]]
        name = "degree"
        kind = "categorical"
        categories = ["a", "b", "c", "d"]
        [[column]]
        name = "rare"
        kind = "boolean"
    "#;

    fn frame(rows: usize, change: impl Fn(&mut [f64; 5])) -> Frame {
        let row = |r: usize| {
            let day = (r * 37 % 300) as f64;
            let mut cells = [
                day,
                (day + 1.0) * 86_400e6,
                day + (r % 5 + 2) as f64,
                (r % 4 * 10) as f64,
                1000.0 + (r * 7 % 100) as f64,
            ];
            if r == rows / 2 {
                change(&mut cells);
            }
            cells
        };
        let cells: Vec<[f64; 5]> = (0..rows).map(row).collect();
        let number = |name: &str, j: usize| FrameColumn {
            name: name.into(),
            values: Values::Number(cells.iter().map(|row| row[j]).collect()),
        };
        let text = |name: &str, of: &dyn Fn(usize) -> u32, labels: &[&str]| FrameColumn {
            name: name.into(),
            values: Values::Text {
                codes: (0..rows).map(of).collect(),
                labels: labels.iter().map(|&l| l.into()).collect(),
            },
        };
        let columns = vec![
            number("in", 0),
            number("seen", 1),
            number("out", 2),
            number("years", 3),
            number("large", 4),
            text("degree", &|r| (r % 4) as u32, &["a", "b", "c", "d"]),
            text("rare", &|r| u32::from(r % 40 == 0), &["false", "true"]),
        ];
        Frame { rows, columns, unit: None }
    }

    fn suggested(frame: &Frame) -> Vec<String> {
        let schema = Schema::from_toml(SCHEMA).unwrap();
        suggest(std::slice::from_ref(frame), &schema).iter().map(Constraint::title).collect()
    }

    #[test]
    fn rules_that_hold_and_would_not_by_chance_are_suggested() {
        assert_eq!(suggested(&frame(400, |_| ())), ["years by degree", "in <= seen", "seen <= out"]);
        assert_eq!(suggested(&frame(99, |_| ())), Vec::<String>::new(), "too few rows say nothing");
    }

    #[test]
    fn one_row_that_breaks_a_rule_takes_it_away() {
        let early = suggested(&frame(400, |row| row[2] = row[0]));
        assert_eq!(early, ["years by degree", "in <= seen", "in <= out"]);
        let without_years = suggested(&frame(400, |row| row[3] = 10.0));
        assert_eq!(without_years[..2], ["in <= seen", "seen <= out"]);
        assert!(without_years[2..].iter().all(|title| title.starts_with("when degree")), "{without_years:?}");
    }

    #[test]
    fn many_columns_are_not_all_compared() {
        let mut schema = Schema::from_toml(SCHEMA).unwrap();
        for n in 0..200 {
            let mut column = schema.columns[3].clone();
            column.name = format!("n{n}");
            schema.columns.push(column);
        }
        let inspection = Inspection {
            source: "t".into(),
            sha256: String::new(),
            rows: 0,
            typed: false,
            columns: Vec::new(),
            unit_candidates: Vec::new(),
            schema,
        };
        let compared = inspection.comparable().modelled().count();
        assert!((COMPARED..=3 * COMPARED).contains(&compared), "{compared}");
    }
}
