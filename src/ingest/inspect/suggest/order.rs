//! Columns in order: one is never above the other.

use super::{Facts, Found, ROWS, SURPRISING_ROWS};
use crate::schema::{Rule, common_unit};
use rayon::prelude::*;

/// Part of the rows that would break an inequality if its columns had nothing to do with each other, at least.
const SURPRISING: f64 = 0.02;

/// Pairs of columns of which one is never above the other, but those that follow from two others.
pub(super) fn find(facts: &[Facts], found: &Found) -> Vec<Rule> {
    let sorts = [super::is_moment, super::is_amount];
    sorts
        .into_iter()
        .flat_map(|is| {
            let columns: Vec<&Facts> = facts.iter().filter(|facts| is(facts.column)).collect();
            let all: Vec<(usize, usize)> =
                (0..columns.len()).flat_map(|low| (0..columns.len()).map(move |high| (low, high))).collect();
            let is_ordered = |&(low, high): &(usize, usize)| {
                low != high && !found.are_tied(columns[low], columns[high]) && is_ordered(columns[low], columns[high])
            };
            let pairs: Vec<(usize, usize)> = all.into_par_iter().filter(is_ordered).collect();
            let follows = |&(low, high): &(usize, usize)| {
                (0..columns.len()).any(|between| pairs.contains(&(low, between)) && pairs.contains(&(between, high)))
            };
            let rule = |&(low, high): &(usize, usize)| Rule::Inequality {
                low: columns[low].name().to_owned(),
                high: columns[high].name().to_owned(),
                strict: false,
            };
            pairs.iter().filter(|pair| !follows(pair)).map(rule).collect::<Vec<_>>()
        })
        .collect()
}

fn is_ordered(low: &Facts, high: &Facts) -> bool {
    // As the table has them: days would not tell nanoseconds apart.
    let units = common_unit(low.column, high.column);
    let cells = low.stored.iter().zip(high.stored);
    let pairs =
        || cells.clone().map(|(&x, &y)| (units.0.of(x), units.1.of(y))).filter(|(x, y)| !x.is_nan() && !y.is_nan());
    if pairs().any(|(x, y)| x > y) || pairs().count() < ROWS || pairs().all(|(x, y)| x == y) {
        return false;
    }
    // Each row's lower end against another row's higher one.
    let (xs, ys): (Vec<f64>, Vec<f64>) = pairs().unzip();
    let broken = |shift: usize| (0..xs.len()).filter(|&row| xs[row] > ys[(row + shift) % ys.len()]).count();
    let shifts = [1, xs.len() / 3, xs.len() / 2];
    let broken: usize = shifts.into_iter().map(broken).sum();
    broken as f64 >= (SURPRISING * xs.len() as f64).max(SURPRISING_ROWS) * shifts.len() as f64
}
