//! Counting queries: does an analyst who counts rows get the same share from the synthetic table?
//!
//! A query asks for the share of rows that satisfy a condition on each of up to three columns: a number between two
//! bounds, a category equal to one (arXiv 2504.14061). Columns, bounds and categories are the judge's for the seed.

use rayon::prelude::*;

use super::evaluation::{Figure, Queries};
use super::metrics;
use super::numpy_choice::NumpyRng;
use super::table::{Column, Table, Tables};

/// Queries asked.
const QUERIES: usize = 1000;
/// Columns of a query.
const COLUMNS: usize = 3;

/// A condition on the cells of one column.
enum Condition {
    Between(f64, f64),
    /// Number of the category; missing is one, too.
    Is(u32),
}

/// The values of one column that conditions are drawn from: those of the holdout.
enum Domain {
    Range(f64, f64),
    Categories(Vec<u32>),
}

impl Domain {
    /// Ends of the range, or the categories by their spelling and then missing.
    fn new(column: &Column, labels: &[String]) -> Self {
        match column {
            Column::Number { values, .. } => {
                // The comparisons skip NaN.
                let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if low <= high { Self::Range(low, high) } else { Self::Range(0.0, 1.0) }
            }
            Column::Category(codes) => {
                let mut present = codes.clone();
                // Missing has no spelling and comes last.
                present.sort_unstable_by_key(|&code| (labels.get(code as usize).is_none(), labels.get(code as usize)));
                present.dedup();
                Self::Categories(present)
            }
        }
    }

    fn draw(&self, rng: &mut NumpyRng) -> Condition {
        match self {
            Self::Range(low, high) => {
                let (a, b) = (rng.uniform(*low, *high), rng.uniform(*low, *high));
                Condition::Between(a.min(b), a.max(b))
            }
            Self::Categories(codes) => Condition::Is(codes[rng.up_to(codes.len() as u64 - 1) as usize]),
        }
    }
}

/// Mean absolute differences of the answers from the holdout's.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim.
pub fn queries(tables: &Tables, seed: u64) -> Queries {
    let columns = tables.names.len();
    let domains: Vec<Domain> =
        (0..columns).map(|c| Domain::new(&tables.holdout.columns[c], &tables.labels[c])).collect();
    let mut rng = NumpyRng::new(&[seed, 2]);
    let mut draw = |_| -> Vec<(usize, Condition)> {
        let chosen = rng.choose(columns, COLUMNS);
        chosen.into_iter().map(|column| (column, domains[column].draw(&mut rng))).collect()
    };
    let asked: Vec<Vec<(usize, Condition)>> = (0..QUERIES).map(&mut draw).collect();
    let gaps: Vec<Figure> = asked
        .par_iter()
        .flat_map_iter(|query| {
            let [holdout, synthetic, real] =
                [&tables.holdout, &tables.synthetic, &tables.train].map(|table| answers(table, query));
            let gap = move |i: usize| Figure {
                synthetic: (synthetic[i] - holdout[i]).abs(),
                floor: (real[i] - holdout[i]).abs(),
            };
            (0..query.len()).map(gap)
        })
        .collect();
    let whole = || gaps.chunks(COLUMNS.min(columns)).filter_map(<[Figure]>::last);
    Queries {
        three_way: Figure {
            synthetic: metrics::mean(whole().map(|gap| gap.synthetic)),
            floor: metrics::mean(whole().map(|gap| gap.floor)),
        },
        prefixes: Figure {
            synthetic: metrics::mean(gaps.iter().map(|gap| gap.synthetic)),
            floor: metrics::mean(gaps.iter().map(|gap| gap.floor)),
        },
    }
}

/// The shares of rows that satisfy the first condition, the first two, and so on.
fn answers(table: &Table, query: &[(usize, Condition)]) -> Vec<f64> {
    let mut satisfied = vec![true; table.rows];
    let share = |(column, condition): &(usize, Condition)| {
        match (&table.columns[*column], condition) {
            (Column::Number { values, .. }, Condition::Between(low, high)) => {
                satisfied.iter_mut().zip(values).for_each(|(ok, v)| *ok &= low <= v && v <= high);
            }
            (Column::Category(codes), Condition::Is(wanted)) => {
                satisfied.iter_mut().zip(codes).for_each(|(ok, code)| *ok &= code == wanted);
            }
            _ => unreachable!("aligned tables agree on the kind of a column"),
        }
        satisfied.iter().filter(|&&ok| ok).count() as f64 / table.rows as f64
    };
    query.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::{frame, number, text};

    #[test]
    fn answers_known_by_hand() {
        let table = frame(vec![number("age", &[1.0, 2.0, f64::NAN, 4.0]), text("sex", &["F", "M", "F", ""])]);
        let tables = Tables::align(&table, &table, &table).unwrap();
        let query = [(0, Condition::Between(1.0, 3.0)), (1, Condition::Is(0))];
        assert_eq!(answers(&tables.holdout, &query), [0.5, 0.25]);
        assert_eq!(answers(&tables.holdout, &[(1, Condition::Is(crate::ingest::MISSING))]), [0.25]);
        let Domain::Categories(codes) = Domain::new(&tables.holdout.columns[1], &tables.labels[1]) else { panic!() };
        assert_eq!(codes, [0, 1, crate::ingest::MISSING]);
    }

    #[test]
    fn a_constant_table_is_far_and_a_copy_is_at_the_floor() {
        let real = frame(vec![number("age", &[1.0, 2.0, 3.0, 4.0]), text("sex", &["F", "M", "F", "M"])]);
        let constant = frame(vec![number("age", &[1.0; 4]), text("sex", &["F"; 4])]);
        let asked = |synthetic| queries(&Tables::align(&real, &real, synthetic).unwrap(), 0);
        assert_eq!(asked(&real).three_way, Figure { synthetic: 0.0, floor: 0.0 });
        // The bounds of a query are above 1; the ages 2 and 3 are between them in 4 of 9, and half the rows have the sex.
        let distance = asked(&constant).three_way.synthetic;
        assert!((distance - 1.0 / 9.0).abs() < 0.015, "{distance}");
    }
}
