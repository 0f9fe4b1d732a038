//! Columns as boosting sees them: at most 255 bins, number 0 for what is unknown.

use std::collections::BTreeMap;

use super::table::Column;
use crate::ingest::MISSING;

/// Bin of a missing cell and of a category too rare to have its own bin.
pub const UNKNOWN: u8 = 0;
/// Bins of a numeric column, and of a category column whose rarest categories can be spared.
const MAX_BINS: usize = 127;
/// Bins of a category column at most.
const MAX_CATEGORY_BINS: usize = 254;
/// Beyond [`MAX_BINS`], categories get bins until this share of the rows has one.
const CATEGORY_COVERAGE: f64 = 0.99;
/// Rows of a bin at least.
const MIN_BIN_ROWS: usize = 3;

/// How the cells of a column become bins, learned on the rows of a fit.
pub enum Binner {
    /// Bin `i + 1` holds what lies above cut `i - 1` and not above cut `i`.
    Number { cuts: Vec<f64> },
    /// Bin of each category number.
    Category { bin_of: Vec<u8>, bins: usize },
}

impl Binner {
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn fit(column: &Column) -> Self {
        match column {
            Column::Number { values, .. } => Self::Number { cuts: number_cuts(values) },
            Column::Category(codes) => category_bins(codes),
        }
    }

    /// Number of bins, [`UNKNOWN`] included.
    pub fn bins(&self) -> usize {
        match self {
            Self::Number { cuts } => cuts.len() + 2,
            Self::Category { bins, .. } => *bins,
        }
    }

    pub fn is_category(&self) -> bool {
        matches!(self, Self::Category { .. })
    }

    /// The bin of each row.
    pub fn apply(&self, column: &Column) -> Vec<u8> {
        match (self, column) {
            (Self::Number { cuts }, Column::Number { values, .. }) => {
                let bin = |&v: &f64| if v.is_nan() { UNKNOWN } else { 1 + cuts.partition_point(|&c| c < v) as u8 };
                values.iter().map(bin).collect()
            }
            (Self::Category { bin_of, .. }, Column::Category(codes)) => {
                codes.iter().map(|&c| bin_of.get(c as usize).copied().unwrap_or(UNKNOWN)).collect()
            }
            _ => unreachable!("a column keeps its kind"),
        }
    }
}

/// Cuts between bins of about equal numbers of rows; a value heavy enough for a bin gets it alone.
fn number_cuts(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let runs: Vec<&[f64]> = sorted.chunk_by(|a, b| a == b).collect();
    let heavy_rows = sorted.len() as f64 / MAX_BINS as f64;
    let few = runs.len() <= MAX_BINS;
    let heavy = |run: &[f64]| !few && run.len() as f64 >= heavy_rows;

    let mut bins_left = MAX_BINS - runs.iter().filter(|r| heavy(r)).count();
    let mut rows_left: usize = runs.iter().filter(|r| !heavy(r)).map(|r| r.len()).sum();
    let mut cuts = Vec::new();
    let mut in_bin = 0;
    for pair in runs.windows(2) {
        in_bin += pair[0].len();
        if !heavy(pair[0]) {
            rows_left -= pair[0].len();
        }
        // The rows not yet cut off, the open bin's included, shared among the bins that are left.
        let wanted = if few { MIN_BIN_ROWS as f64 } else { (rows_left + in_bin) as f64 / bins_left.max(1) as f64 };
        let before_heavy = heavy(pair[1]) && in_bin as f64 >= wanted / 2.0;
        if heavy(pair[0]) || in_bin as f64 >= wanted || before_heavy {
            cuts.push(f64::midpoint(pair[0][0], pair[1][0]));
            bins_left -= usize::from(!heavy(pair[0]) && bins_left > 1);
            in_bin = 0;
        }
        if cuts.len() == MAX_BINS - 1 {
            break;
        }
    }
    cuts
}

/// The commonest categories get a bin each.
fn category_bins(codes: &[u32]) -> Binner {
    let mut rows_of: BTreeMap<u32, usize> = BTreeMap::new();
    for &code in codes.iter().filter(|&&c| c != MISSING) {
        *rows_of.entry(code).or_default() += 1;
    }
    let present: usize = rows_of.values().sum();
    let mut by_rows: Vec<(u32, usize)> = rows_of.into_iter().collect();
    by_rows.sort_by_key(|&(code, rows)| (std::cmp::Reverse(rows), code));

    let mut bin_of = vec![UNKNOWN; by_rows.iter().map(|&(code, _)| code as usize + 1).max().unwrap_or(0)];
    let (mut bins, mut covered) = (1, 0);
    for (code, rows) in by_rows {
        let spared = bins > MAX_BINS && covered as f64 >= CATEGORY_COVERAGE * present as f64;
        if spared || bins > MAX_CATEGORY_BINS || (rows < MIN_BIN_ROWS && bins > 2) {
            break;
        }
        bin_of[code as usize] = bins as u8;
        bins += 1;
        covered += rows;
    }
    Binner::Category { bin_of, bins }
}

/// One column of a fit, in bins.
pub struct Feature {
    pub bins: Vec<u8>,
    pub bin_count: usize,
    pub is_category: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: Vec<f64>) -> Column {
        Column::numbers(values)
    }

    #[test]
    fn a_heavy_value_has_its_bin_to_itself() {
        let values = (0..4000).map(|i| if i % 4 == 0 { 500.0 } else { f64::from(i) }).collect();
        let column = numbers(values);
        let binner = Binner::fit(&column);
        let bins = binner.apply(&column);
        let heavy = bins[0];
        assert!(bins.iter().enumerate().all(|(i, &b)| (b == heavy) == (i % 4 == 0)));
        assert!((100..=MAX_BINS + 1).contains(&binner.bins()), "{}", binner.bins());
    }

    #[test]
    fn bins_keep_the_order_of_numbers_and_missing_is_bin_zero() {
        let column = numbers(vec![5.0, 5.0, 5.0, 1.0, 1.0, 1.0, f64::NAN]);
        let binner = Binner::fit(&column);
        assert_eq!(binner.apply(&column), [2, 2, 2, 1, 1, 1, 0]);
        assert_eq!(binner.apply(&numbers(vec![-9.0, 3.0, 3.1, 99.0])), [1, 1, 2, 2]);
    }

    #[test]
    fn nothing_to_bin_is_one_bin() {
        let empty = numbers(vec![f64::NAN; 3]);
        assert_eq!((Binner::fit(&empty).bins(), Binner::fit(&empty).apply(&empty)), (2, vec![0; 3]));
        let empty = Column::Category(vec![MISSING; 3]);
        assert_eq!((Binner::fit(&empty).bins(), Binner::fit(&empty).apply(&empty)), (1, vec![0; 3]));
    }

    #[test]
    fn common_categories_come_first_and_the_rare_are_unknown() {
        let mut codes = vec![7; 10];
        codes.extend([3; 20]);
        codes.extend([5; 2]);
        let binner = Binner::fit(&Column::Category(codes));
        assert_eq!(binner.apply(&Column::Category(vec![3, 7, 5, 9, MISSING])), [1, 2, 0, 0, 0]);
        let many: Vec<u32> = (0..1000).flat_map(|c| [c; 4]).collect();
        assert_eq!(Binner::fit(&Column::Category(many)).bins(), MAX_CATEGORY_BINS + 1);
    }
}
