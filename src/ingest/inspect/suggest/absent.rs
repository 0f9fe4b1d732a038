//! Cells that are missing for a reason: of other people nobody asked.

use super::{Facts, Found, SURPRISING_ROWS, round};
use crate::schema::Rule;
use crate::schema::formula::quoted;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Columns that are missing unless another one says something: of each the reason that explains most, and columns with the
/// same one together.
pub(super) fn find(facts: &[Facts], _: &Found) -> Vec<Rule> {
    let reason = |of: &Facts| {
        let others = facts.iter().filter(|on| on.name() != of.name());
        let reasons = others.flat_map(|on| [by_value(on, of), by_number(on, of), by_presence(on, of)]).flatten();
        // Of several that explain the same the first one.
        reasons.fold(None, |best: Option<(f64, String)>, one| match best {
            Some(best) if one.0 <= best.0 => Some(best),
            _ => Some(one),
        })
    };
    let partly = |of: &&Facts| of.column.nullable && of.missing > 0 && of.missing < of.rows();
    let found: Vec<(String, Option<(f64, String)>)> =
        facts.par_iter().filter(partly).map(|of| (of.name().to_owned(), reason(of))).collect();
    let mut rules: BTreeMap<String, (f64, Vec<String>)> = BTreeMap::new();
    for (name, reason) in found {
        if let Some((rows, unless)) = reason {
            let rule = rules.entry(unless).or_default();
            rule.0 += rows;
            rule.1.push(name);
        }
    }
    let mut rules: Vec<(f64, Rule)> =
        rules.into_iter().map(|(unless, (rows, columns))| (rows, Rule::Missing { columns, unless })).collect();
    rules.sort_by(|a, b| b.0.total_cmp(&a.0));
    rules.into_iter().map(|(_, rule)| rule).collect()
}

/// How many cells would be there among so many rows that have none, if the others said anything of them; nothing where too few.
fn surprise(rows: usize, of: &Facts) -> Option<f64> {
    let expected = rows as f64 * (of.rows() - of.missing) as f64 / of.rows() as f64;
    (expected >= SURPRISING_ROWS).then_some(expected)
}

fn by_value(on: &Facts, of: &Facts) -> Option<(f64, String)> {
    if on.labels.is_empty() {
        return None;
    }
    let counts = on.counts();
    let mut seen = vec![false; counts.len()];
    (0..of.rows()).filter(|&row| of.has(row) && on.has(row)).for_each(|row| seen[on.codes[row] as usize] = true);
    let of_seen =
        |is: bool| -> Vec<usize> { (0..counts.len()).filter(|&code| counts[code] > 0 && seen[code] == is).collect() };
    let (there, absent) = (of_seen(true), of_seen(false));
    let expected = surprise(absent.iter().map(|&code| counts[code]).sum(), of)?;
    let unless = match absent.len() < there.len() {
        true => on.among(&absent, "!=", "not in"),
        false => on.among(&there, "=", "in"),
    };
    (!there.is_empty()).then_some((expected, unless))
}

fn by_number(on: &Facts, of: &Facts) -> Option<(f64, String)> {
    if !on.column.kind.is_amount() {
        return None;
    }
    let there = (0..of.rows()).filter(|&row| of.has(row)).map(|row| on.numbers[row]).filter(|x| !x.is_nan());
    let ends = there.fold(None, |ends: Option<(f64, f64)>, x| {
        let (low, high) = ends.unwrap_or((x, x));
        Some((low.min(x), high.max(x)))
    });
    let (low, high) = ends?;
    let (below, above): (Vec<f64>, Vec<f64>) =
        on.numbers.iter().copied().filter(|x| *x < low || *x > high).partition(|x| *x < low);
    let name = quoted(on.name());
    let at_least = surprise(below.len(), of).map(|rows| {
        let next = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (rows, format!("{name} >= {}", round::between(next, low)))
    });
    let at_most = surprise(above.len(), of).map(|rows| {
        let next = above.iter().copied().fold(f64::INFINITY, f64::min);
        (rows, format!("{name} <= {}", round::above(high, next)))
    });
    match (at_least, at_most) {
        (Some(low), Some(high)) => Some((low.0 + high.0, format!("{} and {}", low.1, high.1))),
        (low, high) => low.or(high),
    }
}

fn by_presence(on: &Facts, of: &Facts) -> Option<(f64, String)> {
    let alone = (0..of.rows()).any(|row| of.has(row) && !on.has(row));
    let expected = surprise(on.missing, of)?;
    (!alone && on.missing <= of.missing).then(|| (expected, format!("{} is not null", quoted(on.name()))))
}
