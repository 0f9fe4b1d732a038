//! Attacks that are fitted: what synthetic rows look like, and what members look like.

use super::super::records::Records;
use super::super::statistics::membership_test;
use crate::evaluate::boosting::{self, Objective};
use crate::evaluate::table::{Column, Table};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Rows of either side that a classifier is fitted to, at most.
const MOST_ROWS: usize = 10_000;
const ROUNDS: usize = 60;

/// How surely a classifier of synthetic rows against records takes a record for synthetic (LOGAN, 1705.07663). Fitted
/// on half of the units, it scores the other half; labels are not used.
pub(super) fn classifier(records: &Records, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut made: Vec<usize> = (0..records.synthetic_rows()).collect();
    made.shuffle(&mut rng);
    made.truncate(MOST_ROWS);
    let synthetic = records.synthetic_table.take(&made);
    let mut scores = vec![0.0; records.pool_rows()];
    for fold in halves(records, &mut rng) {
        let mut fitted = fold[0].clone();
        fitted.shuffle(&mut rng);
        fitted.truncate(MOST_ROWS);
        let real = records.pool_table.take(&fitted);
        let columns: Vec<Column> = synthetic.columns.iter().zip(&real.columns).map(|(a, b)| a.concat(b)).collect();
        let labels: Vec<f64> =
            (0..synthetic.rows + real.rows).map(|row| f64::from(u8::from(row < synthetic.rows))).collect();
        let model = boosting::fit(&columns.iter().collect::<Vec<_>>(), &labels, Objective::Logistic, ROUNDS, seed);
        let scored = records.pool_table.take(&fold[1]);
        let predicted = model.predict(&scored.columns.iter().collect::<Vec<_>>(), scored.rows);
        fold[1].iter().zip(predicted).for_each(|(&row, p)| scores[row] = p[0]);
    }
    scores
}

/// What a classifier of members against holdout, fitted to the other attacks' scores on half of the units, says of the
/// other half: it finds transformed copies that no single attack was written for. One vector of scores per half, with
/// the units that it scores: each half is a test of its own.
pub(super) fn of_members(records: &Records, scores: &[&[f64]], seed: u64) -> [(Vec<usize>, Vec<f64>); 2] {
    let columns: Vec<Column> = scores.iter().map(|s| Column::numbers(s.to_vec())).collect();
    by_halves(records, &Table::of_rows(records.units(), columns), seed)
}

/// Probability of so clear a difference between members and holdout by chance: a classifier on the cells of a unit's
/// first row, fitted on one half of the units and tested on the other.
pub(in super::super) fn two_sample(records: &Records, seed: u64) -> f64 {
    let first: Vec<usize> = records.offsets[..records.units()].iter().map(|&row| row as usize).collect();
    let p = |(units, scores): (Vec<usize>, Vec<f64>)| {
        let member: Vec<bool> = units.iter().map(|&unit| records.member[unit]).collect();
        membership_test(&scores, &member).p
    };
    let [a, b] = by_halves(records, &records.pool_table.take(&first), seed).map(p);
    (2.0 * a.min(b)).min(1.0)
}

/// A classifier of members on one row a unit, fitted to half of the units, scores the other half; and the reverse.
fn by_halves(records: &Records, table: &Table, seed: u64) -> [(Vec<usize>, Vec<f64>); 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut units: Vec<usize> = (0..records.units()).collect();
    units.shuffle(&mut rng);
    let (first, second) = units.split_at(units.len() / 2);
    [(first, second), (second, first)].map(|(fitted, scored)| {
        let fitted = &fitted[..fitted.len().min(2 * MOST_ROWS)];
        let part = table.take(fitted);
        let labels: Vec<f64> = fitted.iter().map(|&unit| f64::from(u8::from(records.member[unit]))).collect();
        if labels.iter().all(|&l| l == labels[0]) {
            return (scored.to_vec(), vec![0.0; scored.len()]);
        }
        let model = boosting::fit(&part.columns.iter().collect::<Vec<_>>(), &labels, Objective::Logistic, ROUNDS, seed);
        let part = table.take(scored);
        let predicted = model.predict(&part.columns.iter().collect::<Vec<_>>(), part.rows);
        (scored.to_vec(), predicted.into_iter().map(|p| p[0]).collect())
    })
}

/// Rows of two random halves of the units, each once to fit and once to score.
fn halves(records: &Records, rng: &mut ChaCha8Rng) -> [[Vec<usize>; 2]; 2] {
    let mut first: Vec<bool> = (0..records.units()).map(|unit| unit % 2 == 0).collect();
    first.shuffle(rng);
    let (a, b): (Vec<usize>, Vec<usize>) =
        (0..records.pool_rows()).partition(|&row| first[records.unit_of[row] as usize]);
    [[a.clone(), b.clone()], [b, a]]
}
