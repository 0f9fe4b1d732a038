//! Total variation distance of 1-, 2- and 3-way marginals.

use rayon::prelude::*;

use super::codes::ColumnCodes;
use super::numpy_choice::NumpyRng;

/// Triples of columns that are looked at; all of them when there are no more.
const TRIPLES: usize = 200;
/// Up to this many joint cells are counted in an array; more are sorted.
const DENSE_CELLS: u128 = 1 << 20;

/// Distance from the holdout rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    pub synthetic: f64,
    /// The training rows in the place of the synthetic ones.
    pub floor: f64,
}

/// Half the summed absolute difference of the relative frequencies of the joint cells of `columns`.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn distance(columns: &[&ColumnCodes]) -> Distance {
    let cells: u128 = columns.iter().map(|c| c.cells as u128).product();
    let counts = if cells <= DENSE_CELLS { dense_counts(columns, cells as usize) } else { sparse_counts(columns) };
    let rows: [u64; 3] = std::array::from_fn(|table| columns.first().map_or(0, |c| codes(c, table).len() as u64));
    // In whole numbers the sum is exact: the order of the cells cannot matter.
    let against_holdout = |other: usize| {
        let gap = |c: &[u32; 3]| (u64::from(c[HOLDOUT]) * rows[other]).abs_diff(u64::from(c[other]) * rows[HOLDOUT]);
        let sum: u128 = counts.iter().map(|c| u128::from(gap(c))).sum();
        sum as f64 / (2.0 * rows[HOLDOUT] as f64 * rows[other] as f64)
    };
    Distance { synthetic: against_holdout(SYNTHETIC), floor: against_holdout(TRAIN) }
}

const HOLDOUT: usize = 0;
const SYNTHETIC: usize = 1;
const TRAIN: usize = 2;

fn codes(column: &ColumnCodes, table: usize) -> &[u32] {
    match table {
        HOLDOUT => &column.holdout,
        SYNTHETIC => &column.synthetic,
        _ => &column.train,
    }
}

/// Rows of each table in each joint cell.
fn dense_counts(columns: &[&ColumnCodes], cells: usize) -> Vec<[u32; 3]> {
    let mut counts = vec![[0; 3]; cells];
    for table in [HOLDOUT, SYNTHETIC, TRAIN] {
        let parts: Vec<(&[u32], usize)> = columns.iter().map(|c| (codes(c, table), c.cells)).collect();
        for row in 0..parts.first().map_or(0, |(codes, _)| codes.len()) {
            let cell = parts.iter().fold(0, |cell, (codes, cells)| cell * cells + codes[row] as usize);
            counts[cell][table] += 1;
        }
    }
    counts
}

/// The same for joint cells too many to hold, empty ones left out.
fn sparse_counts(columns: &[&ColumnCodes]) -> Vec<[u32; 3]> {
    let mut keys: Vec<(u128, usize)> = Vec::new();
    for table in [HOLDOUT, SYNTHETIC, TRAIN] {
        let parts: Vec<(&[u32], u128)> = columns.iter().map(|c| (codes(c, table), c.cells as u128)).collect();
        let rows = parts.first().map_or(0, |(codes, _)| codes.len());
        let cell = |row: usize| parts.iter().fold(0, |cell, (codes, cells)| cell * cells + u128::from(codes[row]));
        keys.extend((0..rows).map(|row| (cell(row), table)));
    }
    keys.sort_unstable();
    let count = |run: &[(u128, usize)]| {
        let mut counts = [0; 3];
        run.iter().for_each(|&(_, table)| counts[table] += 1);
        counts
    };
    keys.chunk_by(|a, b| a.0 == b.0).map(count).collect()
}

/// Mean distance over `sets` of columns, `None` when there are none.
fn mean_distance(columns: &[ColumnCodes], sets: &[Vec<usize>]) -> Option<Distance> {
    let of_set = |set: &Vec<usize>| distance(&set.iter().map(|&c| &columns[c]).collect::<Vec<_>>());
    let distances: Vec<Distance> = sets.par_iter().map(of_set).collect();
    let mean = |figure: fn(&Distance) -> f64| distances.iter().map(figure).sum::<f64>() / distances.len() as f64;
    (!distances.is_empty()).then(|| Distance { synthetic: mean(|d| d.synthetic), floor: mean(|d| d.floor) })
}

/// Mean distance over all pairs of columns.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn two_way(columns: &[ColumnCodes]) -> Option<Distance> {
    let n = columns.len();
    let pairs: Vec<Vec<usize>> = (0..n).flat_map(|a| (a + 1..n).map(move |b| vec![a, b])).collect();
    mean_distance(columns, &pairs)
}

/// Mean distance over 200 random triples of columns, the judge's own for this seed.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn three_way(columns: &[ColumnCodes], seed: u64) -> Option<Distance> {
    let n = columns.len();
    let chosen = NumpyRng::new(&[seed, 1]).choose(triples(n), TRIPLES);
    let sets: Vec<Vec<usize>> = chosen.into_iter().map(|rank| triple(n, rank).to_vec()).collect();
    mean_distance(columns, &sets)
}

/// Number of triples of `n` columns.
fn triples(n: usize) -> usize {
    n * n.saturating_sub(1) * n.saturating_sub(2) / 6
}

/// Triple number `rank` of `n` columns in lexicographic order.
fn triple(n: usize, mut rank: usize) -> [usize; 3] {
    let mut first = 0;
    let with_first = |first: usize| (n - first - 1) * (n - first - 2) / 2;
    while rank >= with_first(first) {
        rank -= with_first(first);
        first += 1;
    }
    let mut second = first + 1;
    while rank >= n - second - 1 {
        rank -= n - second - 1;
        second += 1;
    }
    [first, second, second + 1 + rank]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: usize, holdout: &[u32], synthetic: &[u32], train: &[u32]) -> ColumnCodes {
        ColumnCodes { cells, train: train.to_vec(), holdout: holdout.to_vec(), synthetic: synthetic.to_vec() }
    }

    #[test]
    fn a_distance_known_by_hand() {
        // Holdout 3/4, 1/4; synthetic 1/2, 1/2; training 0, 1.
        let one = column(2, &[0, 0, 0, 1], &[0, 1], &[1, 1, 1]);
        assert_eq!(distance(&[&one]), Distance { synthetic: 0.25, floor: 0.75 });
    }

    #[test]
    fn sorting_counts_as_the_array_does() {
        let draw = |rows: u64, of: u64| -> Vec<u32> {
            (0..rows).map(|i| (i * i * 7 + i * 3) % of).map(|c| c as u32).collect()
        };
        let columns =
            [column(9, &draw(50, 9), &draw(40, 9), &draw(60, 9)), column(5, &draw(50, 5), &draw(40, 4), &draw(60, 3))];
        let refs: Vec<&ColumnCodes> = columns.iter().collect();
        let mut dense = dense_counts(&refs, 45);
        let mut sparse = sparse_counts(&refs);
        dense.retain(|c| c.iter().any(|&n| n > 0));
        dense.sort_unstable();
        sparse.sort_unstable();
        assert_eq!(dense, sparse);
    }

    #[test]
    fn triples_come_in_lexicographic_order() {
        let n = 6;
        let mut expected = Vec::new();
        for a in 0..n {
            for b in a + 1..n {
                expected.extend((b + 1..n).map(|c| [a, b, c]));
            }
        }
        let unranked: Vec<[usize; 3]> = (0..triples(n)).map(|rank| triple(n, rank)).collect();
        assert_eq!(unranked, expected);
        assert_eq!((triples(0), triples(2), triples(3)), (0, 0, 1));
    }
}
