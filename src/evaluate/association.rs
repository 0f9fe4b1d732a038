//! How strongly columns hang together, pair by pair.
//!
//! Two numbers: Pearson's correlation. Two categories: Cramér's V, corrected for bias (Bergsma 2013), missing a category.
//! A number and a category: the correlation ratio, corrected for bias (Kelley 1935).

use rayon::prelude::*;

use super::codes::ColumnCodes;
use super::evaluation::{Association, Figure};
use super::metrics;
use super::table::{Column, Table, Tables};

/// Fewer rows with both numbers have no correlation.
const MIN_ROWS: usize = 20;

/// The association matrices of holdout and synthetic rows, and how far the latter, and the training rows', is from the
/// former.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim.
pub fn association(tables: &Tables, codes: &[ColumnCodes]) -> Association {
    let holdout = matrix(&tables.holdout, codes, |c| &c.holdout);
    let synthetic = matrix(&tables.synthetic, codes, |c| &c.synthetic);
    let real = matrix(&tables.train, codes, |c| &c.train);
    let columns = tables.names.len();
    let pairs = || (0..columns).flat_map(|a| (a + 1..columns).map(move |b| (a, b)));
    let difference = |other: &[Vec<f64>]| metrics::mean(pairs().map(|(a, b)| (other[a][b] - holdout[a][b]).abs()));
    let mean_difference = (columns > 1).then(|| Figure { synthetic: difference(&synthetic), floor: difference(&real) });
    // Zero is added so that no -0 is written.
    let rounded = |matrix: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
        matrix.iter().map(|row| row.iter().map(|x| (x * 1e3).round() / 1e3 + 0.0).collect()).collect()
    };
    Association {
        mean_difference,
        columns: tables.names.clone(),
        holdout: rounded(holdout),
        synthetic: rounded(synthetic),
    }
}

/// Symmetric, ones on the diagonal.
fn matrix(table: &Table, codes: &[ColumnCodes], of: fn(&ColumnCodes) -> &Vec<u32>) -> Vec<Vec<f64>> {
    let columns = codes.len();
    let cells = |c: usize| (of(&codes[c]).as_slice(), codes[c].cells);
    let pair = |a: usize, b: usize| {
        let strength = match (&table.columns[a], &table.columns[b]) {
            (Column::Number { values: x, .. }, Column::Number { values: y, .. }) => pearson(x, y),
            (Column::Category(_), Column::Category(_)) => cramers_v(cells(a), cells(b)).min(1.0),
            (Column::Category(_), Column::Number { values, .. }) => correlation_ratio(cells(a), values).min(1.0),
            (Column::Number { values, .. }, Column::Category(_)) => correlation_ratio(cells(b), values).min(1.0),
        };
        // Sums of numbers near the largest overflow.
        if strength.is_finite() { strength } else { 0.0 }
    };
    let above: Vec<Vec<f64>> =
        (0..columns).into_par_iter().map(|a| (a + 1..columns).map(|b| pair(a, b)).collect()).collect();
    let entry = |a: usize, b: usize| match a.cmp(&b) {
        std::cmp::Ordering::Less => above[a][b - a - 1],
        std::cmp::Ordering::Equal => 1.0,
        std::cmp::Ordering::Greater => above[b][a - b - 1],
    };
    (0..columns).map(|a| (0..columns).map(|b| entry(a, b)).collect()).collect()
}

/// Pearson's correlation over the rows that have both numbers; 0 when there are too few.
fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let (x, y): (Vec<f64>, Vec<f64>) = x.iter().zip(y).filter(|(x, y)| !x.is_nan() && !y.is_nan()).unzip();
    if x.len() < MIN_ROWS { 0.0 } else { metrics::correlation(&x, &y) }
}

/// Cramér's V of two columns, given as cells and their number.
fn cramers_v((a, a_cells): (&[u32], usize), (b, b_cells): (&[u32], usize)) -> f64 {
    let (of_a, of_b) = (counts(a, a_cells), counts(b, b_cells));
    let present = |counts: &[f64]| counts.iter().filter(|&&n| n > 0.0).count() as f64;
    let (rows, r, s) = (a.len() as f64, present(&of_a), present(&of_b));
    if r < 2.0 || s < 2.0 {
        return 0.0;
    }
    // Chi-squared over the rows: the sum of joint counts squared over the product of margins, less one.
    let mut joint: Vec<u64> = a.iter().zip(b).map(|(&a, &b)| u64::from(a) * b_cells as u64 + u64::from(b)).collect();
    joint.sort_unstable();
    let term = |run: &[u64]| {
        let (a, b) = (run[0] / b_cells as u64, run[0] % b_cells as u64);
        (run.len() as f64).powi(2) / (of_a[a as usize] * of_b[b as usize])
    };
    let phi_squared = joint.chunk_by(|x, y| x == y).map(term).sum::<f64>() - 1.0;
    let unbiased = (phi_squared - (r - 1.0) * (s - 1.0) / (rows - 1.0)).max(0.0);
    let shrunk = |cells: f64| cells - (cells - 1.0).powi(2) / (rows - 1.0);
    let most = shrunk(r).min(shrunk(s)) - 1.0;
    if most > 0.0 { (unbiased / most).sqrt() } else { 0.0 }
}

/// Rows of each cell.
fn counts(codes: &[u32], cells: usize) -> Vec<f64> {
    let mut rows = vec![0.0; cells];
    codes.iter().for_each(|&code| rows[code as usize] += 1.0);
    rows
}

/// The correlation ratio: the share of the variance of the numbers that lies between the cells.
fn correlation_ratio((codes, cells): (&[u32], usize), values: &[f64]) -> f64 {
    let present = || codes.iter().zip(values).filter(|(_, v)| !v.is_nan()).map(|(&c, &v)| (c as usize, v));
    let rows = present().count();
    if rows <= MIN_ROWS {
        return 0.0;
    }
    let mean = metrics::mean(present().map(|(_, v)| v));
    let (mut in_cell, mut sums, mut spread) = (vec![0.0_f64; cells], vec![0.0_f64; cells], 0.0);
    for (cell, value) in present() {
        in_cell[cell] += 1.0;
        sums[cell] += value;
        spread += (value - mean).powi(2);
    }
    if !(spread > 0.0) {
        return 0.0;
    }
    let between: f64 =
        in_cell.iter().zip(&sums).filter(|(n, _)| **n > 0.0).map(|(n, sum)| n * (sum / n - mean).powi(2)).sum();
    let groups = in_cell.iter().filter(|&&n| n > 0.0).count();
    let mut explained = between / spread;
    if rows > groups {
        explained = 1.0 - (1.0 - explained) * (rows - 1) as f64 / (rows - groups) as f64;
    }
    explained.max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::{Lcg, frame, number, text};
    use proptest::prelude::*;

    #[test]
    fn perfect_and_absent_association() {
        let x: Vec<f64> = (0..40).map(f64::from).collect();
        let falling: Vec<f64> = x.iter().map(|x| 5.0 - 2.0 * x).collect();
        assert!((pearson(&x, &falling) + 1.0).abs() < 1e-12);
        assert_eq!(pearson(&x, &[3.0; 40]), 0.0);
        assert_eq!(pearson(&x[..19], &falling[..19]), 0.0, "too few rows");
        let halves: Vec<u32> = (0..40).map(|i| i % 2).collect();
        assert!((cramers_v((&halves, 3), (&halves, 3)) - 1.0).abs() < 1e-12);
        assert_eq!(cramers_v((&halves, 3), (&[0; 40], 3)), 0.0);
        let of_half: Vec<f64> = halves.iter().map(|&h| f64::from(h)).collect();
        assert!((correlation_ratio((&halves, 3), &of_half) - 1.0).abs() < 1e-12);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_matrix_is_symmetric_with_entries_up_to_one(seed in any::<u64>()) {
            let mut lcg = Lcg(seed);
            let numbers: Vec<f64> = (0..60).map(|_| (lcg.uniform() * 9.0).floor()).collect();
            let more: Vec<f64> = numbers.iter().map(|x| if lcg.uniform() < 0.2 { f64::NAN } else { x + lcg.uniform() }).collect();
            let cells: Vec<&str> = (0..60).map(|_| ["a", "b", ""][(lcg.uniform() * 3.0) as usize]).collect();
            let others: Vec<&str> = cells.iter().map(|c| if lcg.uniform() < 0.7 { c } else { "z" }).collect();
            let table = frame(vec![number("x", &numbers), text("a", &cells), number("y", &more), text("b", &others)]);
            let tables = Tables::align(&table, &table, &table).unwrap();
            let codes: Vec<ColumnCodes> = (0..4).map(|c| ColumnCodes::new(&tables, c)).collect();
            let found = association(&tables, &codes);
            prop_assert_eq!(found.mean_difference, Some(Figure { synthetic: 0.0, floor: 0.0 }));
            for a in 0..4 {
                prop_assert_eq!(found.holdout[a][a], 1.0);
                for b in 0..4 {
                    prop_assert_eq!(found.holdout[a][b], found.holdout[b][a]);
                    prop_assert!((-1.0..=1.0).contains(&found.holdout[a][b]));
                }
            }
            prop_assert!(found.holdout[0][2] > 0.9 && found.holdout[1][3] > 0.3);
        }
    }
}
