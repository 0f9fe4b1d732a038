//! Missing cells, impossible cells and lost variety.

use std::collections::HashSet;
use std::ops::{Bound, RangeBounds};

use super::codes::ColumnCodes;
use super::evaluation::{Figure, MissingRate, Missingness, RareCategories, RareShare, Violations};
use super::metrics;
use super::table::{Column, Flaw, Table, Tables};
use crate::ingest::MISSING;

/// Relative slack of a range, for numbers that went through text.
const RANGE_SLACK: f64 = 1e-9;
/// A number so near a whole one is whole.
const WHOLE_SLACK: f64 = 1e-9;
/// The missing rate of a column whose cells may be missing together with others'. Constants have no correlation.
const SOMETIMES_MISSING: (Bound<f64>, Bound<f64>) = (Bound::Excluded(0.001), Bound::Excluded(0.999));
/// A cell that holds a smaller share of the real rows is rare.
const RARE: f64 = 0.01;

/// Missing rates of one column.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn missing_rate(tables: &Tables, column: usize) -> MissingRate {
    let [real, holdout, synthetic] =
        [&tables.train, &tables.holdout, &tables.synthetic].map(|table| table.missing_rate(column));
    MissingRate { real, holdout, synthetic }
}

/// Differences of the missing rates, and of their correlations, from the holdout's.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn missingness(tables: &Tables, rates: &[MissingRate]) -> Missingness {
    let synthetic = || rates.iter().map(|r| (r.synthetic - r.holdout).abs());
    let floor = || rates.iter().map(|r| (r.real - r.holdout).abs());
    Missingness {
        mean_difference: Figure { synthetic: metrics::mean(synthetic()), floor: metrics::mean(floor()) },
        largest_difference: Figure { synthetic: synthetic().fold(0.0, f64::max), floor: floor().fold(0.0, f64::max) },
        correlation_difference: missing_correlation(tables, rates),
    }
}

/// Whether cells are missing together as they are in the holdout.
fn missing_correlation(tables: &Tables, rates: &[MissingRate]) -> Option<Figure> {
    let columns: Vec<usize> = (0..rates.len()).filter(|&c| SOMETIMES_MISSING.contains(&rates[c].real)).collect();
    if columns.len() < 2 {
        return None;
    }
    let correlations = |table: &Table| -> Vec<f64> {
        let missing: Vec<Vec<f64>> = columns
            .iter()
            .map(|&c| (0..table.rows).map(|row| f64::from(u8::from(table.columns[c].is_missing(row)))).collect())
            .collect();
        let pair = |a: usize, b: usize| metrics::correlation(&missing[a], &missing[b]);
        (0..columns.len()).flat_map(|a| (a + 1..columns.len()).map(move |b| (a, b))).map(|(a, b)| pair(a, b)).collect()
    };
    let holdout = correlations(&tables.holdout);
    let difference = |table| metrics::mean(correlations(table).iter().zip(&holdout).map(|(x, h)| (x - h).abs()));
    Some(Figure { synthetic: difference(&tables.synthetic), floor: difference(&tables.train) })
}

/// Violations of `judged`, one of the tables, against what the training table holds.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn violations(tables: &Tables, judged: &Table) -> Violations {
    let mut bad_rows = vec![false; judged.rows];
    let mut counts = Violations::default();
    for (i, (column, train)) in judged.columns.iter().zip(&tables.train.columns).enumerate() {
        let never_missing = !(0..tables.train.rows).any(|row| train.is_missing(row));
        let has = |row: usize, flaw: Flaw| matches!(column, Column::Number { flaws, .. } if flaws[row] == flaw);
        let infinite = |row: usize| has(row, Flaw::Infinite);
        let mut mark = |count: &mut f64, is_bad: &dyn Fn(usize) -> bool| {
            let mut found = 0_usize;
            for row in (0..judged.rows).filter(|&row| is_bad(row)) {
                bad_rows[row] = true;
                found += 1;
            }
            *count += found as f64 / judged.rows as f64;
        };
        if never_missing {
            mark(&mut counts.missing_where_never, &|row| column.is_missing(row) && !infinite(row));
        }
        match (column, train) {
            (Column::Number { values, .. }, Column::Number { values: real, .. }) => {
                mark(&mut counts.not_a_number, &infinite);
                let (low, high) = range(real);
                // What lay beyond the schema's range stands at an end of it now.
                let outside = |row: usize| values[row] < low || values[row] > high || has(row, Flaw::Outside);
                mark(&mut counts.outside_range, &outside);
                if real.iter().all(|&v| is_whole(v)) {
                    mark(&mut counts.not_whole, &|row| !is_whole(values[row]));
                }
            }
            (Column::Category(codes), _) => {
                let known = tables.known_labels[i] as u32;
                mark(&mut counts.unknown_category, &|row| codes[row] != MISSING && codes[row] >= known);
            }
            _ => unreachable!("aligned tables agree on the kind of a column"),
        }
    }
    counts.rows = bad_rows.iter().filter(|&&bad| bad).count() as f64 / judged.rows as f64;
    counts
}

/// Smallest and largest allowed number; everything when there is none to go by.
fn range(real: &[f64]) -> (f64, f64) {
    // The comparisons skip NaN.
    let low = real.iter().copied().fold(f64::INFINITY, f64::min);
    let high = real.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return (f64::NEG_INFINITY, f64::INFINITY);
    }
    let slack = RANGE_SLACK * low.abs().max(high.abs()).max(1.0);
    (low - slack, high + slack)
}

/// A missing number is as whole as any.
fn is_whole(value: f64) -> bool {
    value.is_nan() || (value - value.round()).abs() <= WHOLE_SLACK
}

/// Different values present.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn distinct(column: &Column) -> usize {
    match column {
        Column::Number { values, .. } => {
            // Zero and minus zero are one value.
            values.iter().filter(|v| !v.is_nan()).map(|v| (v + 0.0).to_bits()).collect::<HashSet<_>>().len()
        }
        Column::Category(codes) => codes.iter().filter(|&&c| c != MISSING).collect::<HashSet<_>>().len(),
    }
}

/// Shares of the rows in cells that are rare in the real table.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn rare_share(codes: &ColumnCodes) -> RareShare {
    let of_cells = shares(&codes.train, codes.cells);
    let rare = |codes: &[u32]| {
        let rows = codes.iter().filter(|&&code| of_cells[code as usize] < RARE).count();
        rows as f64 / codes.len() as f64
    };
    RareShare { real: rare(&codes.train), holdout: rare(&codes.holdout), synthetic: rare(&codes.synthetic) }
}

/// Which of the real table's rare categories the others have; `None` for a number.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn rare_categories(tables: &Tables, codes: &ColumnCodes, column: usize) -> Option<RareCategories> {
    if let Column::Number { .. } = tables.train.columns[column] {
        return None;
    }
    let present = |codes_of: &[u32]| shares(codes_of, codes.cells);
    let [real, holdout, synthetic] = [&codes.train, &codes.holdout, &codes.synthetic].map(|of| present(of));
    // The last cell is missing, which is no category.
    let rare = || (0..codes.cells - 1).filter(|&c| 0.0 < real[c] && real[c] < RARE);
    let lacking = |of: &[f64]| rare().filter(|&c| of[c] == 0.0).count();
    let lost = lacking(&synthetic);
    Some(RareCategories {
        kept: Some(rare().count() - lost),
        lost: Some(lost),
        lost_in_holdout: Some(lacking(&holdout)),
    })
}

/// Entropy of the synthetic cells, and of the holdout's, over that of the real ones; `None` when the real column is
/// constant.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub fn entropy_ratio(codes: &ColumnCodes) -> Option<Figure> {
    let real = entropy(&codes.train, codes.cells);
    let ratio = |codes_of: &[u32]| entropy(codes_of, codes.cells) / real;
    (real > 0.0).then(|| Figure { synthetic: ratio(&codes.synthetic), floor: ratio(&codes.holdout) })
}

/// Shannon entropy of the cells' frequencies, in nats.
fn entropy(codes: &[u32], cells: usize) -> f64 {
    // Subtracted from zero: a constant column must not have the entropy -0.
    0.0 - shares(codes, cells).into_iter().filter(|&share| share > 0.0).map(|share| share * share.ln()).sum::<f64>()
}

/// Share of the rows in each cell.
fn shares(codes: &[u32], cells: usize) -> Vec<f64> {
    let mut rows = vec![0_usize; cells];
    codes.iter().for_each(|&code| rows[code as usize] += 1);
    rows.into_iter().map(|rows| rows as f64 / codes.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::{frame, number, text};

    const NAN: f64 = f64::NAN;

    #[test]
    fn each_kind_of_violation_is_counted_once() {
        let real = frame(vec![number("days", &[1.0, 5.0]), number("dose", &[0.5, NAN]), text("sex", &["F", "M"])]);
        let synthetic = frame(vec![
            number("days", &[1.0, 9.0, 1.5, NAN, f64::INFINITY]),
            number("dose", &[NAN, 0.5, 0.5, 0.5, 0.5]),
            text("sex", &["F", "M", "X", "F", ""]),
        ]);
        let tables = Tables::align(&real, &real, &synthetic).unwrap();
        let found = violations(&tables, &tables.synthetic);
        let expected = Violations {
            rows: 0.8,
            not_a_number: 0.2,
            not_whole: 0.2,
            outside_range: 0.2,
            unknown_category: 0.2,
            missing_where_never: 0.4,
        };
        let figures = |v: Violations| {
            [v.rows, v.not_a_number, v.not_whole, v.outside_range, v.unknown_category, v.missing_where_never]
        };
        assert!(figures(found).iter().zip(figures(expected)).all(|(f, e)| (f - e).abs() < 1e-12), "{found:?}");
        assert_eq!(violations(&tables, &tables.holdout), Violations::default());
    }

    #[test]
    fn a_collapsed_column_has_lost_values_and_entropy() {
        let real = frame(vec![text("sex", &["F", "M", "F", "M"]), text("site", &["a", "a", "a", "a"])]);
        let synthetic = frame(vec![text("sex", &["F", "F", "F", "M"]), text("site", &["a", "a", "a", "a"])]);
        let tables = Tables::align(&real, &real, &synthetic).unwrap();
        let ratio = entropy_ratio(&ColumnCodes::new(&tables, 0)).unwrap();
        let expected = -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln()) / 2.0_f64.ln();
        assert!((ratio.synthetic - expected).abs() < 1e-12);
        assert_eq!(ratio.floor, 1.0);
        assert_eq!(entropy_ratio(&ColumnCodes::new(&tables, 1)), None);
        assert!(entropy(&[1, 1], 2).is_sign_positive());
        assert_eq!(distinct(&tables.train.columns[0]), 2);
        assert_eq!(distinct(&Column::numbers(vec![0.0, -0.0, NAN, 2.0])), 2);
    }

    /// Of 200 real rows one is `b` and one missing: both are rare, and so is what no real row has. Two are `c`, which
    /// is 1 % and not rare.
    #[test]
    fn rare_cells_are_those_of_the_real_table() {
        let column = |others: &[&str]| {
            let rows: Vec<&str> = others.iter().copied().chain(std::iter::repeat("a")).take(200).collect();
            frame(vec![text("site", &rows)])
        };
        let (real, holdout) = (column(&["b", "", "c", "c"]), column(&["b", "b", "b", "b", "c"]));
        let share = |synthetic: &[&str]| {
            let tables = Tables::align(&real, &holdout, &column(synthetic)).unwrap();
            rare_share(&ColumnCodes::new(&tables, 0))
        };
        let expected = |synthetic| RareShare { real: 0.01, holdout: 0.02, synthetic };
        assert_eq!(share(&["c"]), expected(0.0), "always the likeliest value");
        assert_eq!(share(&["b", "new", "new", "", "", "c"]), expected(0.025));
        let categories = |synthetic: &[&str], holdout: &[&str]| {
            let tables = Tables::align(&real, &column(holdout), &column(synthetic)).unwrap();
            rare_categories(&tables, &ColumnCodes::new(&tables, 0), 0).unwrap()
        };
        let expected = |kept, lost, lost_in_holdout| RareCategories {
            kept: Some(kept),
            lost: Some(lost),
            lost_in_holdout: Some(lost_in_holdout),
        };
        assert_eq!(categories(&["c", "new", ""], &["b"]), expected(0, 1, 0));
        assert_eq!(categories(&["b"], &["c"]), expected(1, 0, 1));
    }

    #[test]
    fn missing_rates_are_compared_with_the_holdout() {
        let column = |missing: usize| (0..4).map(|row| if row < missing { NAN } else { 1.0 }).collect::<Vec<f64>>();
        let table = |a, b| frame(vec![number("a", &column(a)), number("b", &column(b))]);
        let tables = Tables::align(&table(2, 0), &table(2, 2), &table(1, 2)).unwrap();
        let rates: Vec<MissingRate> = (0..2).map(|c| missing_rate(&tables, c)).collect();
        let found = missingness(&tables, &rates);
        assert_eq!(found.mean_difference, Figure { synthetic: 0.125, floor: 0.25 });
        assert_eq!(found.largest_difference, Figure { synthetic: 0.25, floor: 0.5 });
        assert_eq!(found.correlation_difference, None, "one column is never missing in the real table");
        // Together in real and holdout rows; by hand, one and two of four that share one: 1 / sqrt(3).
        let tables = Tables::align(&table(2, 2), &table(2, 2), &table(1, 2)).unwrap();
        let rates: Vec<MissingRate> = (0..2).map(|c| missing_rate(&tables, c)).collect();
        let found = missingness(&tables, &rates).correlation_difference.unwrap();
        assert!(
            (found.synthetic - (1.0 - 1.0 / 3.0_f64.sqrt())).abs() < 1e-12 && found.floor.abs() < 1e-12,
            "{found:?}"
        );
    }
}
