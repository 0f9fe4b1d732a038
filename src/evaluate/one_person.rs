//! How far one person of the holdout can move the scores of a model, by changing all cells of his rows, the label among them,
//! which may be missing before or after.
//!
//! His `k` rows are taken out one by one, and put in again as others: each score moves by at most `k` times what a row that
//! goes and a row that comes can move it, with the fewest other rows that there may be meanwhile. What the model says of
//! his rows may be anything; what it says of others' rows stays, since it was trained on other tables.

use super::evaluation::{OnePerson, Scores};
use crate::schema::target::Task;

/// `labels` are the holdout's, at most `own` rows are one person's, and `range` holds the labels of a regression and what
/// models say of them. The scores are those that the bounds will stand beside.
///
/// # Privacy
/// Touches sensitive data: the bounds are for the controller, outside the epsilon claim.
pub fn bounds(task: Task, labels: &[f64], own: usize, range: Option<(f64, f64)>, scores: &[Scores]) -> OnePerson {
    let share = (own as f64 / labels.len().max(1) as f64).min(1.0);
    if task == Task::Regression {
        let width = range.map(|(low, high)| high - low);
        return OnePerson {
            // The squares of his errors add at most his rows' share of the squared width to their mean.
            rmse: width.map(|width| width * share.sqrt()),
            mae: width.map(|width| width * share),
            r2: width.and_then(|width| r2(labels, own as f64, width, scores)),
            ..OnePerson::of_share(share)
        };
    }
    let classes = Classes::new(task, labels, own);
    let positives = labels.iter().filter(|&&label| label == 1.0).count();
    OnePerson {
        roc_auc: Some(classes.times(classes.mean(|rows, rest| 1.0 / rows.min(rest)))),
        // A row's class and the class that it is taken for: each loses or gains 1 of the rows that its score is a share of.
        macro_f1: Some(classes.times(2.0 / (classes.fewest() + 1.0) / classes.firm())),
        average_precision: (task == Task::Binary).then(|| average_precision(positives.saturating_sub(own), own)),
        ..OnePerson::of_share(share)
    }
}

impl OnePerson {
    fn of_share(share: f64) -> Self {
        Self { share, roc_auc: None, macro_f1: None, average_precision: None, r2: None, rmse: None, mae: None }
    }
}

/// The classes of a holdout.
struct Classes {
    /// Rows of each class.
    rows: Vec<f64>,
    all: f64,
    own: f64,
    /// Whether one person can bring a class that the holdout has not.
    is_open: bool,
}

impl Classes {
    fn new(task: Task, labels: &[f64], own: usize) -> Self {
        let mut sorted = labels.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let rows: Vec<f64> = sorted.chunk_by(|a, b| a == b).map(|class| class.len() as f64).collect();
        let is_open = task != Task::Binary || rows.len() < 2;
        Self { rows, all: labels.len() as f64, own: own as f64, is_open }
    }

    /// Classes that stay, whatever one person does.
    fn firm(&self) -> f64 {
        self.rows.iter().filter(|&&rows| rows > self.own).count() as f64
    }

    /// Rows that each class has at least, while it has any.
    fn fewest(&self) -> f64 {
        self.rows.iter().fold(f64::INFINITY, |fewest, &rows| fewest.min(rows - self.own)).max(1.0)
    }

    /// The mean over the classes of a function of others' rows, of it and of the rest; 1 where there may be none.
    fn mean(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        let of_class = |&rows: &f64| {
            let (rows, rest) = (rows - self.own, self.all - rows - self.own);
            if rows > 0.0 && rest > 0.0 { of(rows, rest).min(1.0) } else { 1.0 }
        };
        self.rows.iter().map(of_class).sum::<f64>() / self.firm()
    }

    /// Of a mean over classes: as often as rows go and come, each moving it by `row` where the classes stay the same ones.
    fn times(&self, row: f64) -> f64 {
        let firm = self.firm();
        if firm == 0.0 {
            return 1.0;
        }
        let with_class = row + 1.0 / firm;
        let goes = if self.rows.len() as f64 > firm { with_class } else { row };
        let comes = if self.is_open || self.rows.len() as f64 > firm { with_class } else { row };
        (self.own * (goes + comes)).min(1.0)
    }
}

/// A row in or out changes the precision at the i-th positive by at most `1 / (i + 1)`, and one of the `P + 1` terms of
/// their mean: by `H(P + 1) / (P + 1)` in all, `H` the harmonic numbers.
fn average_precision(others: usize, own: usize) -> f64 {
    let terms = others + 1;
    let harmonic: f64 = (1..=terms).map(|i| 1.0 / i as f64).sum();
    (2.0 * own as f64 * harmonic / terms as f64).min(1.0)
}

/// With the squared errors `S` and the squared distances from the mean `T` of all rows, of which his are at most `a`: from
/// `1 - (S + a) / (T - a)` to `1 - S / T`, or as far the other way.
fn r2(labels: &[f64], own: f64, width: f64, scores: &[Scores]) -> Option<f64> {
    let (rows, his) = (labels.len() as f64, own * width * width);
    let mean = labels.iter().sum::<f64>() / rows;
    let total: f64 = labels.iter().map(|label| (label - mean).powi(2)).sum();
    let worst = scores.iter().filter_map(|scores| scores.r2).fold(1.0, f64::min);
    let (errors, others) = ((1.0 - worst) * total, total - his);
    (others > 0.0).then(|| (errors + his) / others - errors / (total + his))
}

#[cfg(test)]
mod tests {
    use super::super::metrics;
    use super::*;
    use proptest::prelude::*;

    /// Rows of others, then those of one person: what they are, and what a model says of them.
    type Rows = Vec<(usize, u8)>;

    fn rows(classes: usize, most: usize) -> impl Strategy<Value = Rows> {
        prop::collection::vec((0..classes, 0..=20u8), 1..most)
    }

    fn labels(rows: &Rows) -> Vec<f64> {
        rows.iter().map(|row| row.0 as f64).collect()
    }

    fn macro_f1(rows: &Rows, classes: usize) -> f64 {
        let (truth, said): (Vec<usize>, Vec<usize>) = rows.iter().map(|row| (row.0, row.1 as usize % classes)).unzip();
        let mut present = truth.clone();
        present.sort_unstable();
        present.dedup();
        metrics::macro_f1(&truth, &said, &present)
    }

    /// Of the class, or of each class against the rest.
    fn areas(rows: &Rows, classes: usize) -> Option<f64> {
        let of = |class: usize| {
            let is_class: Vec<bool> = rows.iter().map(|row| row.0 == class).collect();
            let said: Vec<f64> =
                rows.iter().map(|row| f64::from((usize::from(row.1) * (class + 3)) as u32 % 7)).collect();
            metrics::roc_auc(&is_class, &said)
        };
        let classes = if classes == 2 { 1..2 } else { 0..classes };
        let areas: Vec<f64> = classes.filter_map(of).collect();
        (!areas.is_empty()).then(|| metrics::mean(areas.into_iter()))
    }

    fn average_precision(rows: &Rows) -> Option<f64> {
        let (positive, said): (Vec<bool>, Vec<f64>) = rows.iter().map(|row| (row.0 == 1, f64::from(row.1))).unzip();
        metrics::average_precision(&positive, &said)
    }

    fn r2(rows: &Rows) -> Option<f64> {
        let mean = metrics::mean(labels(rows).into_iter());
        let total: f64 = labels(rows).iter().map(|label| (label - mean).powi(2)).sum();
        let errors: f64 = rows.iter().map(|row| (row.0 as f64 - f64::from(row.1)).powi(2)).sum();
        (total > 0.0).then(|| 1.0 - errors / total)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_person_moves_a_score_of_classes_further(
            (classes, others, his) in (2..5usize).prop_flat_map(|c| (Just(c), rows(c, 40), rows(c, 4))),
            task in prop_oneof![Just(Task::Binary), Just(Task::Multiclass)],
            other in prop::collection::vec((0..5usize, 0..=20u8), 4),
            (lacked, lacks) in (0..4usize, 0..4usize),
        ) {
            let classes = if task == Task::Binary { 2 } else { classes };
            let table = |his: &[(usize, u8)]| -> Rows {
                others.iter().chain(his).map(|row| (row.0 % classes, row.1)).collect()
            };
            // Of his rows so many have no label.
            let (before, after) = (table(&his[lacked.min(his.len())..]), table(&other[..his.len().saturating_sub(lacks)]));
            let bounds = bounds(task, &labels(&before), his.len(), None, &[]);
            let moved = |of: &dyn Fn(&Rows) -> Option<f64>| Some((of(&before)? - of(&after)?).abs());
            prop_assert!(moved(&|rows| Some(macro_f1(rows, classes))).unwrap() <= bounds.macro_f1.unwrap() + 1e-12);
            let right = |rows: &Rows| rows.iter().filter(|row| row.0 == usize::from(row.1) % classes).count() as f64;
            let accuracy = |rows: &Rows| Some(right(rows) / rows.len() as f64);
            prop_assert!(moved(&accuracy).unwrap() <= bounds.share + 1e-12);
            if let Some(moved) = moved(&|rows| areas(rows, classes)) {
                prop_assert!(moved <= bounds.roc_auc.unwrap() + 1e-12);
            }
            if let (Some(bound), Some(moved)) = (bounds.average_precision, moved(&average_precision)) {
                prop_assert!(moved <= bound + 1e-12);
            }
        }

        #[test]
        fn no_person_moves_a_score_of_numbers_further(others in rows(21, 200), his in rows(21, 3), other in rows(21, 3)) {
            let (before, after) = ([&others[..], &his].concat(), [&others[..], &other].concat());
            let own = his.len().max(other.len());
            if let (Some(is), Some(was)) = (r2(&after), r2(&before)) {
                let scores = [Scores { r2: Some(was), ..Scores::default() }];
                let bound = bounds(Task::Regression, &labels(&before), own, Some((0.0, 20.0)), &scores).r2;
                prop_assert!(bound.is_none_or(|bound| (is - was).abs() <= bound + 1e-9), "{} of {bound:?}", is - was);
            }
        }
    }

    /// Of many rows, the bounds are of use: a person of 1,000, two classes of 500, and labels spread over their range.
    #[test]
    fn bounds_of_a_thousand_rows_are_small() {
        let labels: Vec<f64> = (0..1000).map(|row| f64::from(row % 2)).collect();
        let of = bounds(Task::Binary, &labels, 1, None, &[]);
        assert!((of.roc_auc.unwrap() - 2.0 / 499.0).abs() < 1e-12);
        assert!((of.macro_f1.unwrap() - 2.0 / 500.0).abs() < 1e-12);
        assert!((of.average_precision.unwrap() - 0.0272).abs() < 1e-4);
        let scores = [Scores { r2: Some(0.5), ..Scores::default() }];
        let of = bounds(Task::Regression, &labels, 1, Some((0.0, 1.0)), &scores);
        assert!((of.r2.unwrap() - 0.0080).abs() < 1e-4, "{:?}", of.r2);
    }
}
