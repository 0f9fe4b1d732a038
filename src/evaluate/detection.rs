//! Can boosted trees tell synthetic rows from real ones that the generator never saw?

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::boosting::{self, Objective};
use super::metrics;
use super::numpy_choice::NumpyRng;
use super::table::{Table, numbered};

/// Rows of each side at most.
const ROWS: usize = 20_000;
/// Rows of each side at least.
const MIN_ROWS: usize = 20;
const FOLDS: usize = 3;
const ROUNDS: usize = 120;

/// The outcome of one detection test.
pub struct Detection {
    /// Area under the ROC curve, each row scored by a model that was not trained on any row of its unit.
    pub auc: f64,
    /// 95 % interval of it, by unit.
    pub interval: (f64, f64),
    /// Share of the loss that each column's splits removed.
    pub gain_shares: Vec<f64>,
}

/// Three-fold cross-validated detection, equal numbers of rows of each side. A unit's rows are in one fold: a model that has
/// seen some of them would know the others for whose they are. `None` with too few rows.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim.
pub fn detect(real: &Table, synthetic: &Table, seed: u64) -> Option<Detection> {
    let rows = real.rows.min(synthetic.rows).min(ROWS);
    if rows < MIN_ROWS {
        return None;
    }
    let mut rng = NumpyRng::new(&[seed, 4]);
    let real = real.take(&rng.choose(real.rows, rows));
    let synthetic = synthetic.take(&rng.choose(synthetic.rows, rows));
    let fold_of = folds([&real.unit, &synthetic.unit], seed);
    let both = real.concat(&synthetic);
    let is_synthetic: Vec<bool> = (0..both.rows).map(|row| row >= rows).collect();
    let mut scores = vec![0.0; both.rows];
    let mut gains = vec![0.0; both.columns.len()];
    for fold in 0..FOLDS {
        let (held, fitted): (Vec<usize>, Vec<usize>) = (0..both.rows).partition(|&row| fold_of[row] == fold);
        let (train, test) = (both.take(&fitted), both.take(&held));
        let labels: Vec<f64> = fitted.iter().map(|&row| f64::from(u8::from(is_synthetic[row]))).collect();
        let [train_columns, test_columns] = [&train, &test].map(|table| table.columns.iter().collect::<Vec<_>>());
        let model = boosting::fit(&train_columns, &labels, Objective::Logistic, ROUNDS, seed);
        let predicted = model.predict(&test_columns, test.rows);
        held.iter().zip(predicted).for_each(|(&row, p)| scores[row] = p[0]);
        gains.iter_mut().zip(&model.gains).for_each(|(sum, gain)| *sum += gain);
    }
    let all_gains: f64 = gains.iter().sum();
    let share = |gain| if all_gains > 0.0 { gain / all_gains } else { 0.0 };
    let gain_shares = gains.into_iter().map(share).collect();
    let (auc, interval) = metrics::roc_auc_by_unit(&is_synthetic, &scores, &both.unit)?;
    Some(Detection { auc, interval, gain_shares })
}

/// The fold of each real and each synthetic row, by their units: equally many units of either side in each.
fn folds(sides: [&[u32]; 2], seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let one_side = |unit: &[u32]| -> Vec<usize> {
        let (unit, units) = numbered(unit);
        let mut folds: Vec<usize> = (0..units).map(|unit| unit % FOLDS).collect();
        folds.shuffle(&mut rng);
        unit.iter().map(|&unit| folds[unit as usize]).collect()
    };
    sides.map(one_side).concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::Lcg;
    use crate::evaluate::table::Column;

    fn table(values: Vec<f64>) -> Table {
        Table::of_rows(values.len(), vec![Column::numbers(values)])
    }

    #[test]
    fn equal_rows_are_not_told_apart_and_shifted_ones_are() {
        let mut lcg = Lcg(5);
        let mut draw = |shift: f64| table((0..1200).map(|_| lcg.uniform() + shift).collect());
        let (real, equal, shifted) = (draw(0.0), draw(0.0), draw(0.5));
        let fair = detect(&real, &equal, 0).unwrap();
        // The AUC of 1,200 fair rows a side has standard deviation 0.012: a false alarm at 6 of them.
        assert!((fair.auc - 0.5).abs() < 0.072, "{}", fair.auc);
        let told = detect(&real, &shifted, 0).unwrap();
        // Half of either side lies where the other has none: 1 - 0.5 * 0.5 * 0.5.
        assert!((told.auc - 0.875).abs() < 0.03, "{}", told.auc);
        assert_eq!(told.gain_shares, [1.0]);
    }

    /// Forty people of thirty rows each side, who differ from each other and not by side. With a person's rows in several
    /// folds the trees know them again; without, the two sides are alike.
    #[test]
    fn a_persons_rows_are_in_one_fold() {
        let mut lcg = Lcg(9);
        let mut draw = || {
            let people: Vec<f64> = (0..40).map(|_| lcg.uniform()).collect();
            let rows = people.iter().flat_map(|&person| vec![person; 30]).collect();
            Table { unit: (0..1200).map(|row| row / 30).collect(), ..table(rows) }
        };
        let (real, other) = (draw(), draw());
        let by_person = detect(&real, &other, 0).unwrap();
        let by_row = detect(&table_of_rows(&real), &table_of_rows(&other), 0).unwrap();
        assert!(by_row.auc > 0.95, "{}", by_row.auc);
        // Eighty people: a standard deviation of 0.065, and the interval knows it.
        assert!((by_person.auc - 0.5).abs() < 0.2, "{}", by_person.auc);
        assert!(by_person.interval.0 < 0.5 && 0.5 < by_person.interval.1, "{:?}", by_person.interval);
        let folds = folds([&real.unit, &other.unit], 0);
        assert!(folds.chunks(30).all(|person| person.iter().all(|&fold| fold == person[0])));
    }

    fn table_of_rows(of: &Table) -> Table {
        Table::of_rows(of.rows, of.columns.clone())
    }

    #[test]
    fn too_few_rows_have_no_figure() {
        assert!(detect(&table(vec![0.0; 19]), &table(vec![1.0; 500]), 0).is_none());
    }
}
