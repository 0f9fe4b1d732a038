//! Rules that hold in every row, suggested for a person to confirm.

use super::Inspection;
use crate::ingest::{Frame, FrameColumn, MISSING, Values};
use crate::schema::{Column, Constraint, ConstraintFrom, Kind, Rule, Schema, common_unit};
use std::collections::HashMap;

/// Columns of each sort that are compared with each other, at most: the first ones.
const COMPARED: usize = 24;
/// Values of a column that may give another one, at most.
pub(super) const VALUES: usize = 64;
/// Rows without a missing cell that a suggestion rests on, at least.
pub(super) const ROWS: usize = 100;
/// Part of the rows that would break an inequality if its columns had nothing to do with each other, at least.
const SURPRISING: f64 = 0.02;
/// Part of the rows that the commonest value of a dependent column may have: more of it hardly depends on anything.
pub(super) const COMMONEST: f64 = 0.9;
/// Suggestions of each kind, at most.
const SUGGESTED: usize = 8;

impl Inspection {
    /// The schema of what can be compared: other columns are left out, so that little is read.
    pub fn comparable(&self) -> Schema {
        let mut schema = self.schema.clone();
        (schema.table.privacy_unit, schema.table.max_rows_per_unit, schema.table.units) = (None, None, None);
        let chosen: Vec<String> = [is_moment, is_whole, has_few]
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
        self.schema.constraints = constraints;
    }
}

fn is_moment(column: &Column) -> bool {
    column.kind == Kind::Datetime
}

fn is_whole(column: &Column) -> bool {
    column.kind == Kind::Integer
}

fn has_few(column: &Column) -> bool {
    let range = || column.range().is_some_and(|(min, max)| max - min < VALUES as f64);
    column.kind.has_labels() && column.labels().len() <= VALUES || is_whole(column) && range()
}

/// Inequalities and dependencies that hold in every row of a table and would not by chance.
///
/// # Privacy
/// Outside the guarantee: that a rule holds was read from the rows. It is for the controller only.
pub fn suggest(frame: &Frame, schema: &Schema) -> Vec<Constraint> {
    let named = |is: fn(&Column) -> bool| {
        let found = frame.columns.iter().filter_map(|cells| Some((schema.column(&cells.name)?, cells)));
        found.filter(|(column, _)| is(column)).take(COMPARED).collect::<Vec<_>>()
    };
    let mut suggested = Vec::new();
    for is in [is_moment, is_whole] {
        suggested.extend(inequalities(&named(is)));
    }
    suggested.extend(dependencies(&named(has_few)));
    let mut possible = Schema { constraints: Vec::new(), ..schema.clone() };
    for rule in suggested {
        possible.constraints.push(Constraint { from: ConstraintFrom::Data, ..Constraint::new(rule) });
        if possible.check().is_err() {
            possible.constraints.pop();
        }
    }
    possible.constraints
}

type Named<'a> = (&'a Column, &'a FrameColumn);

fn numbers(cells: &FrameColumn) -> &[f64] {
    match &cells.values {
        Values::Number(values) => values,
        Values::Text { .. } => &[],
    }
}

/// Pairs of columns of which one is never above the other, but those that follow from two others.
fn inequalities(columns: &[Named]) -> Vec<Rule> {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for low in 0..columns.len() {
        pairs.extend(
            (0..columns.len())
                .filter(|&high| low != high && is_ordered(columns[low], columns[high]))
                .map(|high| (low, high)),
        );
    }
    let follows = |&(low, high): &(usize, usize)| {
        (0..columns.len()).any(|between| pairs.contains(&(low, between)) && pairs.contains(&(between, high)))
    };
    let kept = pairs.iter().filter(|pair| !follows(pair)).take(SUGGESTED);
    let rule = |&(low, high): &(usize, usize)| Rule::Inequality {
        low: columns[low].0.name.clone(),
        high: columns[high].0.name.clone(),
        strict: false,
    };
    kept.map(rule).collect()
}

fn is_ordered((low, lows): Named, (high, highs): Named) -> bool {
    let (low, high) = common_unit(low, high);
    let pairs = || {
        numbers(lows)
            .iter()
            .zip(numbers(highs))
            .map(|(&x, &y)| (low.of(x), high.of(y)))
            .filter(|(x, y)| !x.is_nan() && !y.is_nan())
    };
    if pairs().any(|(x, y)| x > y) || pairs().count() < ROWS || pairs().all(|(x, y)| x == y) {
        return false;
    }
    // Each row's lower end against another row's higher one.
    let (xs, ys): (Vec<f64>, Vec<f64>) = pairs().unzip();
    let broken = |shift: usize| (0..xs.len()).filter(|&row| xs[row] > ys[(row + shift) % ys.len()]).count();
    let shifts = [1, xs.len() / 3, xs.len() / 2];
    let broken: usize = shifts.into_iter().map(broken).sum();
    broken as f64 >= SURPRISING * (shifts.len() * xs.len()) as f64
}

/// The values of a column, numbered; [`MISSING`] stays.
fn numbered(cells: &FrameColumn) -> Vec<u32> {
    match &cells.values {
        Values::Text { codes, .. } => codes.clone(),
        Values::Number(values) => {
            let mut seen: HashMap<u64, u32> = HashMap::new();
            let mut number = |x: &f64| {
                let next = seen.len() as u32;
                if x.is_nan() { MISSING } else { *seen.entry((x + 0.0).to_bits()).or_insert(next) }
            };
            values.iter().map(&mut number).collect()
        }
    }
}

/// Pairs of columns of which one has one value for each value of the other. Of two that give each other the one with
/// names gives the other.
fn dependencies(columns: &[Named]) -> Vec<Rule> {
    let codes: Vec<Vec<u32>> = columns.iter().map(|(_, cells)| numbered(cells)).collect();
    let named_first = |j: &usize| !columns[*j].0.kind.has_labels();
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(named_first);
    let mut rules = Vec::new();
    let mut given: Vec<usize> = Vec::new();
    for &on in &order {
        for &of in &order {
            if rules.len() < SUGGESTED
                && of != on
                && !given.contains(&of)
                && !given.contains(&on)
                && gives(&codes[on], &codes[of])
            {
                given.push(of);
                rules.push(Rule::Dependency {
                    of: columns[of].0.name.clone(),
                    on: columns[on].0.name.clone(),
                    map: std::collections::BTreeMap::new(),
                    missing_together: false,
                });
            }
        }
    }
    rules
}

fn gives(on: &[u32], of: &[u32]) -> bool {
    let mut image: HashMap<u32, u32> = HashMap::new();
    let mut counts: HashMap<u32, usize> = HashMap::new();
    let mut rows = 0;
    for (&on, &of) in on.iter().zip(of).filter(|(on, of)| **on != MISSING && **of != MISSING) {
        if *image.entry(on).or_insert(of) != of {
            return false;
        }
        *counts.entry(of).or_default() += 1;
        rows += 1;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    rows >= ROWS && rows >= 10 * image.len() && most as f64 <= COMMONEST * rows as f64
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
        suggest(frame, &schema).iter().map(Constraint::title).collect()
    }

    #[test]
    fn rules_that_hold_and_would_not_by_chance_are_suggested() {
        assert_eq!(suggested(&frame(400, |_| ())), ["in <= seen", "seen <= out", "years by degree"]);
        assert_eq!(suggested(&frame(99, |_| ())), Vec::<String>::new(), "too few rows say nothing");
    }

    #[test]
    fn one_row_that_breaks_a_rule_takes_it_away() {
        let early = suggested(&frame(400, |row| row[2] = row[0]));
        assert_eq!(early, ["in <= seen", "in <= out", "years by degree"]);
        assert_eq!(suggested(&frame(400, |row| row[3] = 10.0)), ["in <= seen", "seen <= out"]);
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
