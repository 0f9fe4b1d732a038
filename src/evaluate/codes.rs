//! A column as a few cells: 20 quantile bins of a number, the categories, and one cell for missing.

use super::table::{Column, Table, Tables};
use crate::ingest::MISSING;

/// Quantile bins of a numeric column.
const BINS: usize = 20;

/// The codes of one column in the three tables. The last cell is missing.
pub struct ColumnCodes {
    pub cells: usize,
    pub train: Vec<u32>,
    pub holdout: Vec<u32>,
    pub synthetic: Vec<u32>,
}

impl ColumnCodes {
    /// Bins are cut on the training table alone; categories are those of all three.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn new(tables: &Tables, column: usize) -> Self {
        let edges = match &tables.train.columns[column] {
            Column::Number { values, .. } => quantile_edges(values),
            Column::Category(_) => Vec::new(),
        };
        let present = match &tables.train.columns[column] {
            Column::Number { .. } => edges.len() + 1,
            Column::Category(_) => tables.labels[column].len(),
        };
        let code = |table: &Table| code(&table.columns[column], &edges, present as u32);
        let [train, holdout, synthetic] = [&tables.train, &tables.holdout, &tables.synthetic].map(code);
        Self { cells: present + 1, train, holdout, synthetic }
    }
}

/// The cell of each row; a number equal to an edge belongs to the bin above it.
fn code(column: &Column, edges: &[f64], missing: u32) -> Vec<u32> {
    match column {
        Column::Number { values, .. } => {
            let bin = |&v: &f64| if v.is_nan() { missing } else { edges.partition_point(|&e| e <= v) as u32 };
            values.iter().map(bin).collect()
        }
        Column::Category(codes) => codes.iter().map(|&c| if c == MISSING { missing } else { c }).collect(),
    }
}

/// Lower edges of all bins but the first.
///
/// Up to 20 distinct values are a bin each, cut at the midpoints. Otherwise the cuts are the
/// 20-quantiles (inverted distribution function), ties merged, and a minimum that holds more
/// than a twentieth of the rows is a bin of its own.
fn quantile_edges(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    if distinct.len() <= BINS {
        return distinct.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
    }
    let minimum = sorted[0];
    // The products are NumPy's, rounding included: a rank next to a whole number must fall on the same side.
    let step = 1.0 / BINS as f64;
    let quantile = |i: usize| {
        let level = if i == BINS { 1.0 } else { i as f64 * step };
        let rank = (sorted.len() as f64 * level - 1.0).ceil().max(0.0);
        sorted[(rank as usize).min(sorted.len() - 1)]
    };
    let mut edges: Vec<f64> = (0..=BINS).map(quantile).collect();
    edges.dedup();
    edges.pop();
    edges.remove(0);
    let above = sorted.partition_point(|&v| v <= minimum);
    if above as f64 / sorted.len() as f64 > 1.0 / BINS as f64 && edges.first().is_none_or(|&e| e > sorted[above]) {
        edges.insert(0, sorted[above]);
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_cut_at_midpoints() {
        assert_eq!(quantile_edges(&[3.0, 1.0, f64::NAN, 1.0, 2.0]), [1.5, 2.5]);
        assert!(quantile_edges(&[f64::NAN]).is_empty());
        assert!(quantile_edges(&[]).is_empty());
        let column = Column::numbers(vec![1.5, 0.0, f64::NAN, 9.0]);
        assert_eq!(code(&column, &[1.5, 2.5], 3), [1, 0, 3, 2]);
    }

    #[test]
    fn a_spike_at_the_minimum_is_a_bin_of_its_own() {
        let values: Vec<f64> = (0..1000).map(|i| if i < 960 { 0.0 } else { f64::from(i) }).collect();
        // 95% of the rows are the spike: the 19 inner quantiles are all zero.
        assert_eq!(quantile_edges(&values), [960.0]);
    }
}
