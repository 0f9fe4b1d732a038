//! Columns that follow from one other column: they group its numbers, or have one value for each of its values.

use super::{COMMONEST, Facts, Found, ROWS, round};
use crate::ingest::MISSING;
use crate::schema::{Kind, MapValue, Rule};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// Rows for each value that gives another one, and for each group, at least.
const ROWS_EACH: usize = 10;

/// Of two columns that give each other the one with names gives the other.
pub(super) fn find(facts: &[Facts], found: &Found) -> Vec<Rule> {
    let mut given: HashSet<usize> = (0..facts.len()).filter(|&of| found.decides(facts[of].name())).collect();
    let follows: Vec<usize> = (0..facts.len())
        .filter(|of| !given.contains(of) && !facts[*of].firsts.is_empty() && facts[*of].varies())
        .collect();
    let mut rules = Vec::new();
    let mut try_all = |pairs: Vec<(usize, usize)>, rule: fn(&Facts, &Facts) -> Option<Rule>| {
        let tried: Vec<Option<Rule>> = pairs.par_iter().map(|&(on, of)| rule(&facts[on], &facts[of])).collect();
        for ((on, of), rule) in pairs.into_iter().zip(tried) {
            if let Some(rule) = rule.filter(|_| !given.contains(&on) && !given.contains(&of)) {
                given.insert(of);
                rules.push(rule);
            }
        }
    };
    let pairs = |order: &[usize]| -> Vec<(usize, usize)> {
        order.iter().flat_map(|&on| follows.iter().filter(move |of| **of != on).map(move |&of| (on, of))).collect()
    };
    // The finest numbers first: the others group them.
    let mut numbers: Vec<usize> = (0..facts.len()).filter(|&on| facts[on].column.kind.is_amount()).collect();
    numbers.sort_by_key(|&on| facts[on].codes.len().min(1));
    try_all(pairs(&numbers), groups);
    let mut few: Vec<usize> = follows.iter().copied().filter(|&on| facts[on].column.kind != Kind::Real).collect();
    few.sort_by_key(|&on| !facts[on].column.kind.has_labels());
    try_all(pairs(&few), map);
    rules
}

/// Whether one of them is missing exactly where the other is, and both are somewhere.
fn together(on: &Facts, of: &Facts) -> bool {
    on.missing > 0 && on.missing == of.missing && (0..on.rows()).all(|row| on.has(row) == of.has(row))
}

fn value(of: &Facts, code: usize) -> MapValue {
    match of.labels.get(code) {
        Some(label) if of.column.kind == Kind::Boolean => MapValue::Boolean(label == "true"),
        Some(label) => MapValue::Text(label.clone()),
        None if of.column.kind == Kind::Integer => MapValue::Integer(of.numbers[of.firsts[code]] as i64),
        None => MapValue::Real(of.numbers[of.firsts[code]]),
    }
}

/// Some, where enough rows have both columns for so many groups, and the one that follows is not nearly the same in all.
fn is_told(on: &Facts, of: &Facts, groups: usize) -> Option<()> {
    let mut counts = vec![0; of.firsts.len()];
    (0..of.rows()).filter(|&row| on.has(row) && of.has(row)).for_each(|row| counts[of.codes[row] as usize] += 1);
    let (rows, most) = (counts.iter().sum::<usize>(), counts.iter().copied().max().unwrap_or(0));
    (rows >= ROWS.max(ROWS_EACH * groups) && most as f64 <= COMMONEST * rows as f64).then_some(())
}

/// The values of a column stand for runs of the numbers of another one.
fn groups(on: &Facts, of: &Facts) -> Option<Rule> {
    let mut ends = vec![(f64::INFINITY, f64::NEG_INFINITY); of.firsts.len()];
    for (&x, &code) in on.numbers.iter().zip(&of.codes).filter(|(x, code)| !x.is_nan() && **code != MISSING) {
        let (low, high) = &mut ends[code as usize];
        (*low, *high) = (low.min(x), high.max(x));
    }
    let mut runs: Vec<(usize, (f64, f64))> =
        ends.into_iter().enumerate().filter(|(_, (low, high))| low <= high).collect();
    runs.sort_by(|a, b| a.1.0.total_cmp(&b.1.0));
    // A group of one number each is a map, which names do better.
    let is_finer = runs.iter().any(|(_, (low, high))| low < high);
    let are_apart = runs.windows(2).all(|w| w[0].1.1 < w[1].1.0);
    if !are_apart || !is_finer || runs.len() < 2 {
        return None;
    }
    is_told(on, of, runs.len())?;
    Some(Rule::Bins {
        of: of.name().to_owned(),
        on: on.name().to_owned(),
        starts: runs.windows(2).map(|w| round::between(w[0].1.1, w[1].1.0)).collect(),
        values: runs.iter().map(|(code, _)| value(of, *code)).collect(),
        missing_together: together(on, of),
    })
}

/// Each value of one column has one value of the other.
fn map(on: &Facts, of: &Facts) -> Option<Rule> {
    let mut image = vec![MISSING; on.firsts.len()];
    for (&on, &of) in on.codes.iter().zip(&of.codes).filter(|(on, of)| **on != MISSING && **of != MISSING) {
        let own = &mut image[on as usize];
        if *own != MISSING && *own != of {
            return None;
        }
        *own = of;
    }
    let map: BTreeMap<String, MapValue> = image
        .iter()
        .enumerate()
        .filter(|(_, code)| **code != MISSING)
        .map(|(key, &code)| {
            (
                on.labels.get(key).cloned().unwrap_or_else(|| on.numbers[on.firsts[key]].to_string()),
                value(of, code as usize),
            )
        })
        .collect();
    is_told(on, of, map.len())?;
    Some(Rule::Dependency {
        of: of.name().to_owned(),
        on: on.name().to_owned(),
        map,
        missing_together: together(on, of),
    })
}
