//! Attacks that count: values, pairs and random subsets of columns that a record shares with synthetic rows, against
//! those that it shares with the pool (TAPAS, 2211.06550; the structure-aware attack of 2402.06699 for pairs).

use super::super::records::{LAST_PLACE, NOWHERE, Places, Records};
use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::HashMap;

/// Subsets, and how many columns they have.
const SUBSETS: usize = 150;
const SUBSET_COLUMNS: std::ops::RangeInclusive<usize> = 3..=6;
/// Bins of a number.
const BINS: u16 = 12;
/// Pairs at most; beyond, a random choice of them.
const MOST_PAIRS: usize = 1500;

/// Sum over columns of how much commoner a record's value is among synthetic rows than in the pool.
pub(super) fn values(records: &Records) -> Vec<f64> {
    let sets: Vec<Vec<usize>> = (0..records.columns.len()).map(|column| vec![column]).collect();
    let cell = |places: &[u16], row: usize| u64::from(places[row]);
    ratios(records, &sets, &|column, row| cell(&column.pool, row), &|column, row| cell(&column.synthetic, row))
}

/// The same over pairs of columns, numbers in bins: what a marginal method measures.
pub(super) fn pairs(records: &Records, seed: u64) -> Vec<f64> {
    let width = records.columns.len();
    let all: Vec<Vec<usize>> = (0..width).flat_map(|a| (a + 1..width).map(move |b| vec![a, b])).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let chosen = sample(&mut rng, all.len(), all.len().min(MOST_PAIRS));
    binned(records, &chosen.iter().map(|i| all[i].clone()).collect::<Vec<_>>())
}

/// The same over random subsets of three to six columns.
pub(super) fn subsets(records: &Records, seed: u64) -> Vec<f64> {
    let width = records.columns.len();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let subset = |_| {
        let size = rng.random_range(SUBSET_COLUMNS).min(width);
        sample(&mut rng, width, size).into_vec()
    };
    binned(records, &(0..SUBSETS).map(subset).collect::<Vec<_>>())
}

fn binned(records: &Records, sets: &[Vec<usize>]) -> Vec<f64> {
    let bin = |column: &Places, place: u16| {
        let number = column.is_number && place != NOWHERE;
        u64::from(if number {
            (u32::from(place) * u32::from(BINS) / (u32::from(LAST_PLACE) + 1)) as u16
        } else {
            place
        })
    };
    ratios(records, sets, &|column, row| bin(column, column.pool[row]), &|column, row| {
        bin(column, column.synthetic[row])
    })
}

type Cell<'a> = &'a (dyn Fn(&Places, usize) -> u64 + Sync);

/// Sum over sets of columns of the logarithm of (share among synthetic rows / share in the pool) of a record's cells.
fn ratios(records: &Records, sets: &[Vec<usize>], pool_cell: Cell, synthetic_cell: Cell) -> Vec<f64> {
    let (rows, made) = (records.pool_rows(), records.synthetic_rows());
    let scale = rows as f64 / made as f64;
    let key = |set: &[usize], cell: Cell, row: usize| {
        set.iter().fold(0u64, |key, &c| {
            (key ^ cell(&records.columns[c], row)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
        })
    };
    let add = |mut sum: Vec<f64>, set: &Vec<usize>| {
        let mut counts: HashMap<u64, (u32, u32)> = HashMap::new();
        let keys: Vec<u64> = (0..rows).map(|row| key(set, pool_cell, row)).collect();
        keys.iter().for_each(|&key| counts.entry(key).or_default().0 += 1);
        for row in 0..made {
            if let Some(count) = counts.get_mut(&key(set, synthetic_cell, row)) {
                count.1 += 1;
            }
        }
        for (sum, key) in sum.iter_mut().zip(keys) {
            let (real, synthetic) = counts[&key];
            // The record itself is one of `real`, whoever it is.
            *sum += ((f64::from(synthetic) * scale + 0.5) / (f64::from(real) + 0.5)).ln();
        }
        sum
    };
    let zero = || vec![0.0; rows];
    sets.par_iter().fold(zero, add).reduce(zero, |mut a, b| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    })
}
