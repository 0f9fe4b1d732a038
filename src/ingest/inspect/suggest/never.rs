//! What never goes together: a value of one column with values of another one, or with numbers beyond a bound.

use super::{Facts, Found, SURPRISING_ROWS, round};
use crate::ingest::MISSING;
use crate::schema::Rule;
use crate::schema::formula::quoted;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Part of the rows that would break an implication if its columns had nothing to do with each other, at least: of columns that
/// have to do with each other, rare values miss each other by chance.
const SURPRISING: f64 = 0.01;
/// Of the rows that a bound excludes, the part that a rounder one has to exclude, too.
const KEPT: f64 = 0.7;

/// An implication, and the rows that would break it by chance.
type Weighed = (f64, Rule);

/// Implications, those that exclude most first.
pub(super) fn find(facts: &[Facts], found: &Found) -> Vec<Rule> {
    // Of what follows from another column, that one says it.
    let free = || facts.iter().filter(|facts| !found.decides(facts.name()));
    let labelled: Vec<&Facts> = free().filter(|facts| !facts.labels.is_empty()).collect();
    let amounts: Vec<&Facts> = free().filter(|facts| facts.column.kind.is_amount()).collect();
    let values = labelled.par_iter().enumerate().flat_map_iter(|(first, a)| {
        labelled[first + 1..].iter().filter(|b| !found.are_tied(a, b)).flat_map(|b| excluded(a, b))
    });
    let mut rules: Vec<Weighed> = values.collect();
    let bounds = amounts.par_iter().flat_map_iter(|on| {
        let mut sorted: Vec<f64> = on.numbers.iter().copied().filter(|x| !x.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let others = labelled.iter().filter(|of| !found.are_tied(on, of));
        others.flat_map(|of| bounds(on, &sorted, of)).collect::<Vec<_>>()
    });
    rules.extend(bounds.collect::<Vec<_>>());
    rules.sort_by(|a, b| b.0.total_cmp(&a.0));
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn surprising(rows: usize) -> f64 {
    SURPRISING_ROWS.max(SURPRISING * rows as f64)
}

fn implication(when: String, then: String) -> Rule {
    Rule::Implication { when, then }
}

/// Values that never stand in one row, told from the side that takes fewer rules.
fn excluded(a: &Facts, b: &Facts) -> Vec<Weighed> {
    let width = b.firsts.len();
    let mut together = vec![0usize; a.firsts.len() * width];
    for (&x, &y) in a.codes.iter().zip(&b.codes).filter(|(x, y)| **x != MISSING && **y != MISSING) {
        together[x as usize * width + y as usize] += 1;
    }
    let rows: usize = together.iter().sum();
    let of_a: Vec<usize> = together.chunks(width.max(1)).map(|row| row.iter().sum()).collect();
    let of_b: Vec<usize> = (0..width).map(|y| together.iter().skip(y).step_by(width).sum()).collect();
    let expected = |x: usize, y: usize| of_a[x] as f64 * of_b[y] as f64 / rows.max(1) as f64;
    let is_never = |x: usize, y: usize| together[x * width + y] == 0 && expected(x, y) >= surprising(rows);
    let is_seen = |x: usize, y: usize| together[x * width + y] > 0;
    let (xs, ys) = (a.firsts.len(), width);
    let by_a = rules(a, b, (xs, ys), &is_never, &is_seen, &expected);
    let by_b = rules(b, a, (ys, xs), &|y, x| is_never(x, y), &|y, x| is_seen(x, y), &|y, x| expected(x, y));
    if by_a.len() <= by_b.len() { by_a } else { by_b }
}

/// For each value of `on` what it excludes; values that exclude the same together.
fn rules(
    on: &Facts,
    of: &Facts,
    (values, others): (usize, usize),
    is_never: &dyn Fn(usize, usize) -> bool,
    is_seen: &dyn Fn(usize, usize) -> bool,
    expected: &dyn Fn(usize, usize) -> f64,
) -> Vec<Weighed> {
    let mut alike: BTreeMap<String, (f64, Vec<usize>)> = BTreeMap::new();
    for x in 0..values {
        let excluded: Vec<usize> = (0..others).filter(|&y| is_never(x, y)).collect();
        let seen: Vec<usize> = (0..others).filter(|&y| is_seen(x, y)).collect();
        if excluded.is_empty() || seen.is_empty() {
            continue;
        }
        // What is left is shorter to say where it is one value, and all others are surprising.
        let then = match seen.len() == 1 && excluded.len() + 1 == of.counts().iter().filter(|count| **count > 0).count()
        {
            true => of.among(&seen, "=", "in"),
            false => of.among(&excluded, "!=", "not in"),
        };
        let rule = alike.entry(then).or_default();
        rule.0 += excluded.iter().map(|&y| expected(x, y)).sum::<f64>();
        rule.1.push(x);
    }
    let rule = |(then, (weight, values)): (String, (f64, Vec<usize>))| {
        (weight, implication(on.among(&values, "=", "in"), then))
    };
    alike.into_iter().map(rule).collect()
}

/// Values with which a number is never below a bound, or above one.
fn bounds(on: &Facts, sorted: &[f64], of: &Facts) -> Vec<Weighed> {
    let mut ends = vec![(f64::INFINITY, f64::NEG_INFINITY, 0usize); of.firsts.len()];
    for (&x, &code) in on.numbers.iter().zip(&of.codes).filter(|(x, code)| !x.is_nan() && **code != MISSING) {
        let (low, high, rows) = &mut ends[code as usize];
        (*low, *high, *rows) = (low.min(x), high.max(x), *rows + 1);
    }
    let name = quoted(on.name());
    let mut alike: BTreeMap<String, (f64, Vec<usize>)> = BTreeMap::new();
    let mut add = |then: String, weight: f64, code: usize| {
        let rule = alike.entry(then).or_default();
        rule.0 += weight;
        rule.1.push(code);
    };
    for (code, &(low, high, rows)) in ends.iter().enumerate().filter(|(_, end)| end.2 > 0) {
        let expected = |others: usize| rows as f64 * others as f64 / sorted.len() as f64;
        let below = sorted.partition_point(|x| *x < low);
        if expected(below) >= surprising(sorted.len()) {
            let kept = sorted[((KEPT * below as f64) as usize).min(below - 1)];
            add(format!("{name} >= {}", round::between(kept, low)), expected(below), code);
        }
        let up_to = sorted.partition_point(|x| *x <= high);
        let above = sorted.len() - up_to;
        if expected(above) >= surprising(sorted.len()) {
            let kept = sorted[(sorted.len() - 1 - (KEPT * above as f64) as usize).max(up_to)];
            add(format!("{name} <= {}", round::above(high, kept)), expected(above), code);
        }
    }
    let rule = |(then, (weight, values)): (String, (f64, Vec<usize>))| {
        (weight, implication(of.among(&values, "=", "in"), then))
    };
    alike.into_iter().map(rule).collect()
}
