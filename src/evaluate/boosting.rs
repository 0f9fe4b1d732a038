//! Gradient-boosted trees, the stronger of the two models that judge usefulness and detectability.
//!
//! Learning rate 0.06, nine tenths of the rows and four fifths of the columns per tree, 31 leaves,
//! categories grouped by gradient: the settings of the reference judge's LightGBM, so that figures
//! of both can be compared (Friedman 2001; Ke et al. 2017).
//!
//! Our own, because it is small. Of the crates that were tried, those that stay small lack
//! regression or grouped categories, one needs a nightly compiler, and the one that scores the
//! same adds a hundred thousand lines and two minutes to a build that handles patients' rows.

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::feature::{Binner, Feature};
use super::table::Column;
use super::tree::{Grower, Pull, Tree};

const LEARNING_RATE: f64 = 0.06;
const ROW_SHARE: f32 = 0.9;
const COLUMN_SHARE: f64 = 0.8;

/// What is predicted and how error is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// A number, squared error.
    Squared,
    /// The probability of label 1 against label 0, log loss.
    Logistic,
    /// The probabilities of labels 0 to `classes - 1`, log loss.
    Softmax { classes: usize },
}

impl Objective {
    /// The best constant scores. Every class must have a row.
    fn start(self, labels: &[f64]) -> Vec<f64> {
        let n = labels.len() as f64;
        let mean = labels.iter().sum::<f64>() / n;
        match self {
            Self::Squared => vec![mean],
            Self::Logistic => vec![(mean / (1.0 - mean)).ln()],
            Self::Softmax { classes } => {
                let rows = |class: usize| labels.iter().filter(|&&l| l as usize == class).count();
                (0..classes).map(|class| (rows(class) as f64 / n).ln()).collect()
            }
        }
    }

    /// Derivatives of the loss of one row by each of its scores, which become predictions.
    fn pulls(self, scores: &mut [f64], label: f64, out: &mut [Pull]) {
        let pull = |gradient: f64, hessian: f64| Pull { gradient: gradient as f32, hessian: hessian as f32, rows: 1 };
        self.link(scores);
        let predicted = &*scores;
        match self {
            Self::Squared => out[0] = pull(predicted[0] - label, 1.0),
            Self::Logistic => out[0] = pull(predicted[0] - label, predicted[0] * (1.0 - predicted[0])),
            Self::Softmax { classes } => {
                // One score of the `classes` is redundant; the factor keeps the Newton step right (Friedman 2001).
                let factor = classes as f64 / (classes as f64 - 1.0);
                for (class, (p, out)) in predicted.iter().zip(out).enumerate() {
                    let wanted = f64::from(u8::from(label as usize == class));
                    *out = pull(p - wanted, factor * p * (1.0 - p));
                }
            }
        }
    }

    /// Turns scores into a number or into probabilities.
    fn link(self, scores: &mut [f64]) {
        match self {
            Self::Squared => {}
            Self::Logistic => scores[0] = 1.0 / (1.0 + (-scores[0]).exp()),
            Self::Softmax { .. } => softmax(scores),
        }
    }
}

/// Scores to probabilities that sum to one, safe from overflow.
pub fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|s| *s = (*s - largest).exp());
    let total: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= total);
}

/// A fitted ensemble.
pub struct Booster {
    objective: Objective,
    binners: Vec<Binner>,
    start: Vec<f64>,
    /// One tree per score in each round.
    rounds: Vec<Vec<Tree>>,
    /// Loss removed by the splits of each column.
    pub gains: Vec<f64>,
}

/// Fits `rounds` rounds to `labels`, one per row of `columns`. The same at any number of threads.
///
/// # Privacy
/// Touches sensitive data; the trees are an unprotected function of it and must not be released.
pub fn fit(columns: &[&Column], labels: &[f64], objective: Objective, rounds: usize, seed: u64) -> Booster {
    let binners: Vec<Binner> = columns.par_iter().map(|c| Binner::fit(c)).collect();
    let features = features(&binners, columns);
    let start = objective.start(labels);
    let (rows, outputs) = (labels.len(), start.len());
    let mut scores: Vec<Vec<f64>> = start.iter().map(|&s| vec![s; rows]).collect();
    let mut gains = vec![0.0; columns.len()];
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // A column with one bin can never be split.
    let usable: Vec<usize> = (0..features.len()).filter(|&f| features[f].bin_count > 1).collect();
    let per_tree = ((usable.len() as f64 * COLUMN_SHARE).round() as usize).max(usable.len().min(1));

    let grow_round = |_| {
        let sampled: Vec<bool> = (0..rows).map(|_| rng.random::<f32>() < ROW_SHARE).collect();
        let mut pulls = vec![vec![Pull::default(); rows]; outputs];
        let (mut row_scores, mut row_pulls) = (vec![0.0; outputs], vec![Pull::default(); outputs]);
        for row in (0..rows).filter(|&r| sampled[r]) {
            row_scores.iter_mut().zip(&scores).for_each(|(s, of_output)| *s = of_output[row]);
            objective.pulls(&mut row_scores, labels[row], &mut row_pulls);
            pulls.iter_mut().zip(&row_pulls).for_each(|(of_output, &pull)| of_output[row] = pull);
        }
        let grow = |(pulls, scores): (&Vec<Pull>, &mut Vec<f64>)| {
            let mut chosen: Vec<usize> =
                index::sample(&mut rng, usable.len(), per_tree).iter().map(|i| usable[i]).collect();
            chosen.sort_unstable();
            let grower = Grower { features: &features, chosen: &chosen, pulls, shrinkage: LEARNING_RATE };
            grower.grow(scores, &mut gains)
        };
        pulls.iter().zip(&mut scores).map(grow).collect()
    };
    let rounds = (0..rounds).map(grow_round).collect();
    Booster { objective, binners, start, rounds, gains }
}

fn features(binners: &[Binner], columns: &[&Column]) -> Vec<Feature> {
    let feature = |(binner, column): (&Binner, &&Column)| Feature {
        bins: binner.apply(column),
        bin_count: binner.bins(),
        is_category: binner.is_category(),
    };
    binners.par_iter().zip(columns).map(feature).collect()
}

impl Booster {
    /// A number, or the probability of label 1, or those of all labels, for each of `rows` rows.
    pub fn predict(&self, columns: &[&Column], rows: usize) -> Vec<Vec<f64>> {
        let features = features(&self.binners, columns);
        let predict = |row| {
            let bins: Vec<u8> = features.iter().map(|f| f.bins[row]).collect();
            let mut scores = self.start.clone();
            for trees in &self.rounds {
                scores.iter_mut().zip(trees).for_each(|(score, tree)| *score += tree.step(&bins));
            }
            self.objective.link(&mut scores);
            scores
        };
        (0..rows).into_par_iter().map(predict).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::Lcg;

    fn number(values: Vec<f64>) -> Column {
        Column::numbers(values)
    }

    /// Two uniform columns of 1,500 rows.
    fn square() -> (Vec<f64>, Vec<f64>) {
        let mut lcg = Lcg(11);
        (0..1500).map(|_| (lcg.uniform(), lcg.uniform())).unzip()
    }

    #[test]
    fn an_interaction_is_learned() {
        let (x, y) = square();
        let labels: Vec<f64> = x.iter().zip(&y).map(|(x, y)| f64::from(u8::from((*x > 0.5) == (*y > 0.3)))).collect();
        let (x, y) = (number(x), number(y));
        let predicted = fit(&[&x, &y], &labels, Objective::Logistic, 30, 0).predict(&[&x, &y], 1500);
        let right = predicted.iter().zip(&labels).filter(|(p, l)| (p[0] > 0.5) == (**l > 0.5)).count();
        assert!(right > 1450, "{right} of 1500");
    }

    #[test]
    fn classes_and_numbers_are_learned() {
        let (x, y) = square();
        let class: Vec<f64> = x.iter().map(|x| (x * 3.0).floor()).collect();
        let sum: Vec<f64> = x.iter().zip(&y).map(|(x, y)| 10.0 * x + y).collect();
        let (x, y) = (number(x), number(y));
        let predicted = fit(&[&x, &y], &class, Objective::Softmax { classes: 3 }, 30, 0).predict(&[&x, &y], 1500);
        let right = predicted.iter().zip(&class).filter(|(p, c)| p[**c as usize] > 0.5).count();
        assert!(right > 1470, "{right} of 1500");
        assert!(predicted.iter().all(|p| (p.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        let predicted = fit(&[&x, &y], &sum, Objective::Squared, 60, 0).predict(&[&x, &y], 1500);
        let error = predicted.iter().zip(&sum).map(|(p, s)| (p[0] - s).abs()).sum::<f64>() / 1500.0;
        assert!(error < 0.35, "mean error {error} of a spread of 10");
    }

    #[test]
    fn nothing_to_learn_from_predicts_the_share() {
        let labels = [1.0, 0.0, 0.0, 0.0];
        let empty = number(vec![f64::NAN; 4]);
        for columns in [vec![], vec![&empty]] {
            let predicted = fit(&columns, &labels, Objective::Logistic, 5, 0).predict(&columns, 1);
            assert!((predicted[0][0] - 0.25).abs() < 0.02, "{predicted:?}");
        }
    }
}
