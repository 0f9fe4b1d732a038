//! Rows that break the schema's constraints.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::{Frame, FrameColumn, MISSING, Values};
use crate::schema::expression::Cell;
use crate::schema::{Column, Constraint, Counting, MapValue, Rule, Schema, common_unit, group, is_computed, is_sum};

/// For each constraint of the schema its title and how many rows of a table break it.
///
/// # Privacy
/// As [`broken`].
pub fn count_broken(frame: &Frame, schema: &Schema) -> Vec<(String, usize)> {
    let count = |constraint: &Constraint| (constraint.title(), broken(frame, schema, &constraint.rule));
    schema.constraints.iter().map(count).collect()
}

/// How many rows of a table break a rule. Of rows that agree where they must not, all but one do; where a dependency has no
/// map, those do that have not the commonest value.
///
/// # Privacy
/// Outside the guarantee: the count is read from the rows. It is for the controller only, who is told a class of counts at
/// most.
pub fn broken(frame: &Frame, schema: &Schema, rule: &Rule) -> usize {
    match rule {
        Rule::Inequality { low, high, strict } => inequality(frame, schema, low, high, *strict),
        Rule::Implication { .. } | Rule::Forbidden { .. } | Rule::Missing { .. } => forbidden(frame, schema, rule),
        Rule::Sum { total, parts } => sum(frame, schema, total, parts),
        Rule::Unique { columns } => unique(frame, schema, columns),
        Rule::Constant { columns } => of_unit(frame, schema, columns, |first, own| own != first),
        Rule::Ascending { columns } => of_unit(frame, schema, columns, |last, own| own < last),
        Rule::Dependency { of, on, map, missing_together } => {
            let spelled = map.iter().map(|(on, of)| (on.as_str(), of.spelled()));
            dependency(frame, [of, on], &spelled.collect(), *missing_together)
        }
        Rule::Formula { of, tolerance, .. } => formula(frame, schema, rule, of, *tolerance),
        Rule::Bins { of, on, starts, values, missing_together } => {
            bins(frame, [of, on], starts, values, *missing_together)
        }
    }
}

fn column<'f>(frame: &'f Frame, name: &str) -> Option<&'f FrameColumn> {
    frame.columns.iter().find(|column| column.name == name)
}

/// A column with its numbers.
fn numbers<'f, 's>(frame: &'f Frame, schema: &'s Schema, name: &str) -> Option<(&'s Column, &'f [f64])> {
    match &column(frame, name)?.values {
        Values::Number(values) => Some((schema.column(name)?, values)),
        Values::Text { .. } => None,
    }
}

fn inequality(frame: &Frame, schema: &Schema, low: &str, high: &str, strict: bool) -> usize {
    let both = numbers(frame, schema, low).zip(numbers(frame, schema, high));
    let Some(((low, lows), (high, highs))) = both else { return 0 };
    let (low, high) = common_unit(low, high);
    let broken = |(x, y): &(&f64, &f64)| {
        let (x, y) = (low.of(**x), high.of(**y));
        x > y || strict && x == y
    };
    lows.iter().zip(highs).filter(broken).count()
}

fn forbidden(frame: &Frame, schema: &Schema, rule: &Rule) -> usize {
    let Some(never) = rule.never() else { return 0 };
    let named: HashMap<&str, &FrameColumn> =
        never.tests().iter().filter_map(|test| Some((test.column.as_str(), column(frame, &test.column)?))).collect();
    let cell = |row: usize, name: &str| match named.get(name).map(|column| &column.values) {
        Some(Values::Number(values)) if !values[row].is_nan() => Cell::Number(values[row]),
        Some(Values::Text { codes, labels }) if codes[row] != MISSING => Cell::Label(&labels[codes[row] as usize]),
        _ => Cell::Missing,
    };
    (0..frame.rows).filter(|&row| never.truth_of(schema, &|name: &str| cell(row, name)) == Some(true)).count()
}

fn sum(frame: &Frame, schema: &Schema, total: &str, parts: &[String]) -> usize {
    let parts: Option<Vec<&[f64]>> = parts.iter().map(|part| Some(numbers(frame, schema, part)?.1)).collect();
    let Some(((column, totals), parts)) = numbers(frame, schema, total).zip(parts) else { return 0 };
    let broken = |&row: &usize| {
        let sum: f64 = parts.iter().map(|part| part[row]).sum();
        let is_complete = !sum.is_nan() && !totals[row].is_nan();
        is_complete && !is_sum(totals[row], sum, column)
    };
    (0..frame.rows).filter(broken).count()
}

fn formula(frame: &Frame, schema: &Schema, rule: &Rule, of: &str, tolerance: Option<f64>) -> usize {
    let input = |name: &String| numbers(frame, schema, name).map(|(column, cells)| (Counting::of(column), cells));
    let formula = rule.formula().and_then(|formula| formula.map(&input));
    let Some((formula, (column, cells))) = formula.zip(numbers(frame, schema, of)) else { return 0 };
    let broken = |&row: &usize| {
        let computed = formula.value(&|(counting, cells)| counting.count(cells[row]));
        // What has no value, such as a part of nothing, says nothing.
        computed.is_finite() && !cells[row].is_nan() && !is_computed(cells[row], computed, column, tolerance)
    };
    (0..frame.rows).filter(broken).count()
}

fn bins(frame: &Frame, [of, on]: [&str; 2], starts: &[f64], values: &[MapValue], missing_together: bool) -> usize {
    let Some((of, on)) = column(frame, of).zip(column(frame, on)) else { return 0 };
    let Values::Number(numbers) = &on.values else { return 0 };
    let values: Vec<Option<u64>> = values.iter().map(|value| spelled(of, &value.spelled())).collect();
    let broken = |&row: &usize| match (numbers[row].is_nan(), key(of, row)) {
        (false, Some(own)) => values[group(numbers[row], starts)] != Some(own),
        (on, of) => missing_together && on != of.is_none(),
    };
    (0..frame.rows).filter(broken).count()
}

/// What tells the value of a cell from others of its column; nothing where it is missing.
fn key(column: &FrameColumn, row: usize) -> Option<u64> {
    match &column.values {
        Values::Number(values) => (!values[row].is_nan()).then(|| (values[row] + 0.0).to_bits()),
        Values::Text { codes, .. } => (codes[row] != MISSING).then(|| u64::from(codes[row])),
    }
}

fn unique(frame: &Frame, schema: &Schema, names: &[String]) -> usize {
    let of_units = schema.table.unit_column().filter(|unit| names.iter().any(|name| name == unit));
    let columns: Option<Vec<&FrameColumn>> =
        names.iter().filter(|name| Some(name.as_str()) != of_units).map(|name| column(frame, name)).collect();
    let (Some(columns), Some(units)) = (columns, of_units.map_or(Some(None), |_| frame.unit.as_ref().map(Some))) else {
        return 0;
    };
    let mut seen = HashSet::new();
    let mut again = |row: usize| {
        let own: Option<Vec<u64>> = columns.iter().map(|column| key(column, row)).collect();
        own.is_some_and(|own| !seen.insert((units.map(|units| units[row]), own)))
    };
    (0..frame.rows).filter(|&row| again(row)).count()
}

/// How many rows have a cell that breaks a rule with the one before it in their unit; missing cells are passed over.
fn of_unit(frame: &Frame, schema: &Schema, names: &[String], breaks: impl Fn(f64, f64) -> bool) -> usize {
    let Some(units) = &frame.unit else { return 0 };
    let mut broken = vec![false; frame.rows];
    for (column, declared) in names.iter().filter_map(|name| Some((column(frame, name)?, schema.column(name)?))) {
        let amounts = amounts(column, declared);
        let mut before: HashMap<u32, f64> = HashMap::new();
        for (row, unit) in units.iter().enumerate() {
            let own = amounts[row];
            if own.is_nan() {
                continue;
            }
            broken[row] |= before.insert(*unit, own).is_some_and(|before| breaks(before, own));
        }
    }
    broken.into_iter().filter(|broken| *broken).count()
}

/// Cells as numbers by which they can be compared: categories by their place in the schema, others behind them. NaN is
/// missing.
fn amounts(column: &FrameColumn, declared: &Column) -> Vec<f64> {
    match &column.values {
        Values::Number(values) => values.clone(),
        Values::Text { codes, labels } => {
            let listed = declared.labels();
            let place = |(other, label): (usize, &String)| {
                listed.iter().position(|l| l == label).unwrap_or(listed.len() + other)
            };
            let places: Vec<f64> = labels.iter().enumerate().map(|label| place(label) as f64).collect();
            codes.iter().map(|&code| places.get(code as usize).copied().unwrap_or(f64::NAN)).collect()
        }
    }
}

fn dependency(frame: &Frame, [of, on]: [&str; 2], map: &HashMap<&str, String>, missing_together: bool) -> usize {
    let Some((of, on)) = column(frame, of).zip(column(frame, on)) else { return 0 };
    let is_alone = |&row: &usize| missing_together && key(on, row).is_some() != key(of, row).is_some();
    let alone = (0..frame.rows).filter(is_alone).count();
    let pairs = || (0..frame.rows).filter_map(|row| Some((key(on, row)?, key(of, row)?)));
    let mut counts: HashMap<u64, HashMap<u64, usize>> = HashMap::new();
    pairs().for_each(|(on, of)| *counts.entry(on).or_default().entry(of).or_default() += 1);
    let declared: HashMap<u64, Option<u64>> =
        map.iter().filter_map(|(key, value)| Some((spelled(on, key)?, spelled(of, value)))).collect();
    let kept = |(on, counts): (&u64, &HashMap<u64, usize>)| match declared.get(on) {
        Some(value) => value.and_then(|value| counts.get(&value)).copied().unwrap_or(0),
        None => most(counts),
    };
    alone + pairs().count() - counts.iter().map(kept).sum::<usize>()
}

fn most<K: Eq + Hash>(counts: &HashMap<K, usize>) -> usize {
    counts.values().copied().max().unwrap_or(0)
}

/// The key of a value of a column, as a schema spells it; nothing where the table has not got it.
fn spelled(column: &FrameColumn, text: &str) -> Option<u64> {
    match &column.values {
        Values::Number(_) => text.trim().parse::<f64>().ok().map(|x| (x + 0.0).to_bits()),
        Values::Text { labels, .. } => labels.iter().position(|label| label == text).map(|place| place as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"
        [table]
        name = "t"
        privacy_unit = "who"
        [[column]]
        name = "who"
        kind = "identifier"
        [[column]]
        name = "day"
        kind = "datetime"
        type = "date32"
        [[column]]
        name = "moment"
        kind = "datetime"
        type = "timestamp[us]"
        [[column]]
        name = "a"
        kind = "real"
        decimals = 1
        [[column]]
        name = "b"
        kind = "real"
        decimals = 1
        [[column]]
        name = "all"
        kind = "real"
        decimals = 1
        [[column]]
        name = "sex"
        kind = "categorical"
        categories = ["F", "M"]
        [[column]]
        name = "level"
        kind = "ordinal"
        categories = ["low", "high"]
    "#;

    fn frame() -> Frame {
        let number =
            |name: &str, values: &[f64]| FrameColumn { name: name.into(), values: Values::Number(values.to_vec()) };
        let text = |name: &str, codes: &[u32], labels: &[&str]| FrameColumn {
            name: name.into(),
            values: Values::Text { codes: codes.to_vec(), labels: labels.iter().map(|&l| l.into()).collect() },
        };
        const DAY: f64 = 86_400e6;
        Frame {
            rows: 5,
            columns: vec![
                number("day", &[1.0, 2.0, 3.0, f64::NAN, 5.0]),
                number("moment", &[DAY, 2.0 * DAY + 1.0, 3.0 * DAY - 1.0, 0.0, f64::NAN]),
                number("a", &[0.1, 1.0, 1.0, f64::NAN, 1.0]),
                number("b", &[0.2, 1.0, 1.0, 1.0, 1.0]),
                number("all", &[0.3, 2.0, 2.1, 9.0, f64::NAN]),
                text("sex", &[0, 1, 1, MISSING, 0], &["M", "F"]),
                text("level", &[0, 1, 1, 0, 1], &["high", "low"]),
            ],
            unit: Some(vec![0, 0, 1, 1, 2]),
        }
    }

    /// In the order of the schema, whatever the order in which a table first has them.
    #[test]
    fn ordinal_cells_ascend_in_the_order_of_the_schema() {
        let schema = Schema::from_toml(SCHEMA).unwrap();
        let broken_by = |codes: &[u32]| {
            let labels = vec!["high".to_owned(), "low".to_owned()];
            let values = Values::Text { codes: codes.to_vec(), labels };
            let columns = vec![FrameColumn { name: "level".into(), values }];
            let frame = Frame { rows: 3, columns, unit: Some(vec![0; 3]) };
            broken(&frame, &schema, &Rule::Ascending { columns: vec!["level".into()] })
        };
        assert_eq!((broken_by(&[1, 0, 0]), broken_by(&[0, 1, 1]), broken_by(&[0, MISSING, 1])), (0, 1, 1));
    }

    /// Small tables with answers known by hand.
    #[test]
    fn rows_that_break_a_rule_are_counted() {
        for (rule, expected) in [
            ("kind = \"inequality\"\nlow = \"day\"\nhigh = \"moment\"", 1),
            ("kind = \"inequality\"\nlow = \"day\"\nhigh = \"moment\"\nstrict = true", 2),
            ("kind = \"implication\"\nwhen = \"sex = 'F'\"\nthen = \"level > 'low'\"", 2),
            ("kind = \"implication\"\nwhen = \"b = 1\"\nthen = \"sex = 'F' and a = 1\"", 1),
            ("kind = \"forbidden\"\nnever = \"level = 'high' and sex is null\"", 1),
            ("kind = \"sum\"\ntotal = \"all\"\nparts = [\"a\", \"b\"]", 1),
            ("kind = \"unique\"\ncolumns = [\"a\"]", 2),
            ("kind = \"unique\"\ncolumns = [\"b\", \"level\"]", 2),
            ("kind = \"unique\"\ncolumns = [\"who\", \"b\"]", 1),
            ("kind = \"constant\"\ncolumns = [\"level\"]", 2),
            ("kind = \"constant\"\ncolumns = [\"sex\", \"b\"]", 1),
            ("kind = \"ascending\"\ncolumns = [\"b\", \"all\"]", 0),
            ("kind = \"ascending\"\ncolumns = [\"level\"]", 1),
            ("kind = \"dependency\"\nof = \"level\"\non = \"sex\"", 1),
            ("kind = \"dependency\"\nof = \"level\"\non = \"sex\"\nmap = { F = \"high\" }", 3),
            ("kind = \"dependency\"\nof = \"level\"\non = \"sex\"\nmissing_together = true", 2),
            ("kind = \"formula\"\nof = \"all\"\nformula = \"a + b\"", 1),
            ("kind = \"formula\"\nof = \"all\"\nformula = \"a + b\"\ntolerance = 0.2", 0),
            ("kind = \"formula\"\nof = \"a\"\nformula = \"moment - day + 1\"", 1),
            ("kind = \"bins\"\nof = \"level\"\non = \"a\"\nstarts = [1]\nvalues = [\"high\", \"low\"]", 0),
            (
                "kind = \"bins\"\nof = \"level\"\non = \"a\"\nstarts = [1]\nvalues = [\"low\", \"high\"]\nmissing_together = true",
                5,
            ),
            ("kind = \"missing\"\ncolumns = [\"a\", \"sex\"]\nunless = \"level = 'high'\"", 3),
        ] {
            let schema = Schema::from_toml(&format!("{SCHEMA}[[constraint]]\nname = \"x\"\n{rule}\n")).unwrap();
            assert_eq!(count_broken(&frame(), &schema), [("x".to_owned(), expected)], "{rule}");
        }
    }
}
