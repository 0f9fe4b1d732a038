//! Means, standard deviations and zeros of numbers.

use super::evaluation::{NumberFigures, OfTables};
use super::table::{Column, Table, Tables};

/// Of a column of amounts; `None` of others, and where a table has no number in it. `share` is what one person of the holdout
/// has of its rows, at most.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim.
pub fn number_figures(tables: &Tables, column: usize, share: f64) -> Option<NumberFigures> {
    let present = |table: &Table| match &table.columns[column] {
        Column::Number { values, .. } => Some(values.iter().copied().filter(|x| !x.is_nan()).collect::<Vec<f64>>()),
        Column::Category(_) => None,
    };
    let [real, holdout, synthetic] = [&tables.train, &tables.holdout, &tables.synthetic].map(present);
    let cells = [real?, holdout?, synthetic?];
    if cells.iter().any(Vec::is_empty) {
        return None;
    }
    let of = |figure: fn(&[f64]) -> f64| {
        let [real, holdout, synthetic] = [0, 1, 2].map(|table| figure(&cells[table]));
        OfTables { real, holdout, synthetic }
    };
    let (low, high) = tables.ranges[column].unwrap_or_default();
    let found = NumberFigures {
        mean: of(mean),
        deviation: of(|cells| {
            let mean = mean(cells);
            (cells.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / cells.len() as f64).sqrt()
        }),
        zeros: of(|cells| cells.iter().filter(|x| **x == 0.0).count() as f64 / cells.len() as f64),
        one_person: (high - low) * share,
    };
    let OfTables { real, holdout, synthetic } = found.deviation;
    // Sums of numbers beyond all measure have no bound.
    [real, holdout, synthetic, found.one_person].iter().all(|x| x.is_finite()).then_some(found)
}

fn mean(cells: &[f64]) -> f64 {
    cells.iter().sum::<f64>() / cells.len() as f64
}

/// What is near enough: this part of the holdout's own, or so often what a second real sample is off by, whichever is more.
const NEAR: f64 = 0.05;
const NEAR_FLOORS: f64 = 3.0;
/// The same of shares of zeros.
const NEAR_ZEROS: f64 = 0.02;

impl NumberFigures {
    /// Whether mean, standard deviation and zeros are as near to the holdout's as a second real sample lets one ask.
    pub fn is_near(&self) -> [bool; 3] {
        let near = |of: &OfTables, least: f64| {
            let floor = NEAR_FLOORS * (of.real - of.holdout).abs();
            (of.synthetic - of.holdout).abs() <= floor.max(least)
        };
        [
            near(&self.mean, NEAR * self.mean.holdout.abs()),
            near(&self.deviation, NEAR * self.deviation.holdout),
            near(&self.zeros, NEAR_ZEROS),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::{frame, number, text};

    /// By hand: of 0, 0, 3 and 5 the mean is 2, the variance 4.5, and half are zero.
    #[test]
    fn figures_are_those_of_present_cells() {
        let real = frame(vec![number("cost", &[0.0, 0.0, 3.0, 5.0, f64::NAN]), text("sex", &["F"; 5])]);
        let cheap = frame(vec![number("cost", &[0.0, 0.0, 0.0, 0.0]), text("sex", &["F"; 4])]);
        let mut tables = Tables::align(&real, &real, &cheap).unwrap();
        tables.clamp(|_, column| (column == 0).then_some((0.0, 10.0)));
        let found = number_figures(&tables, 0, 0.2).unwrap();
        assert_eq!(found.mean, OfTables { real: 2.0, holdout: 2.0, synthetic: 0.0 });
        assert_eq!(found.zeros, OfTables { real: 0.5, holdout: 0.5, synthetic: 1.0 });
        assert!((found.deviation.real - 4.5_f64.sqrt()).abs() < 1e-12 && found.one_person == 2.0);
        assert_eq!(found.is_near(), [false; 3]);
        assert_eq!(number_figures(&Tables::align(&real, &real, &real).unwrap(), 0, 0.2).unwrap().is_near(), [true; 3]);
        assert_eq!(number_figures(&tables, 1, 0.2), None);
        let empty = frame(vec![number("cost", &[f64::NAN; 2]), text("sex", &["F"; 2])]);
        assert_eq!(number_figures(&Tables::align(&real, &real, &empty).unwrap(), 0, 0.2), None);
    }
}
