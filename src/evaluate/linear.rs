//! Penalised linear models: ridge, logistic and multinomial logistic regression.
//!
//! Numbers are imputed by the median, standardised, cut at ten standard deviations and given
//! a flag for missing; the 40 commonest categories get an indicator each, the others share one
//! and missing has one. The penalty is half the squared norm of the coefficients against the
//! summed loss, the intercept free. All three losses are convex; L-BFGS minimises them
//! (Nocedal and Wright 2006, algorithms 7.4 and 7.5).

use std::collections::{BTreeMap, VecDeque};

use rayon::prelude::*;

use super::boosting::{Objective, softmax};
use super::table::Column;
use crate::ingest::MISSING;

const CATEGORIES: usize = 40;
const LARGEST: f64 = 10.0;
const MAX_ITERATIONS: usize = 150;
/// Stops when no component of the gradient of the mean loss is larger.
const GRADIENT_TOLERANCE: f64 = 1e-5;
/// Pairs of step and gradient change that L-BFGS remembers.
const MEMORY: usize = 10;
/// Rows whose gradient is summed by one thread; fixed, so that rounding does not depend on threads.
const BLOCK_ROWS: usize = 2048;

/// How one column becomes coefficients' inputs.
enum Encoder {
    Number { median: f64, mean: f64, deviation: f64 },
    Category { place_of: BTreeMap<u32, usize> },
}

impl Encoder {
    fn fit(column: &Column) -> Self {
        match column {
            Column::Number { values, .. } => {
                let mut present: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
                let median = if present.is_empty() { 0.0 } else { super::metrics::quantile(&present, 0.5) };
                present.resize(values.len(), median);
                let mean = super::metrics::mean(present.iter().copied());
                let variance = super::metrics::mean(present.iter().map(|v| (v - mean).powi(2)));
                let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
                Self::Number { median, mean, deviation }
            }
            Column::Category(codes) => {
                let mut rows_of: BTreeMap<u32, usize> = BTreeMap::new();
                for &code in codes.iter().filter(|&&c| c != MISSING) {
                    *rows_of.entry(code).or_default() += 1;
                }
                let mut by_rows: Vec<(u32, usize)> = rows_of.into_iter().collect();
                by_rows.sort_by_key(|&(code, rows)| (std::cmp::Reverse(rows), code));
                let places = by_rows.iter().take(CATEGORIES).enumerate().map(|(place, &(code, _))| (code, place));
                Self::Category { place_of: places.collect() }
            }
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Number { .. } => 2,
            Self::Category { place_of } => place_of.len() + 2,
        }
    }
}

/// A sparse matrix by rows.
#[derive(Default)]
pub struct Design {
    entries: Vec<(u32, f64)>,
    /// Where each row ends in `entries`.
    ends: Vec<usize>,
}

impl Design {
    fn new(encoders: &[Encoder], columns: &[&Column], rows: usize) -> Self {
        let mut design = Self { ends: Vec::with_capacity(rows), entries: Vec::with_capacity(rows * columns.len()) };
        for row in 0..rows {
            let mut first = 0;
            for (encoder, column) in encoders.iter().zip(columns) {
                match (encoder, column) {
                    (Encoder::Number { median, mean, deviation }, Column::Number { values, .. }) => {
                        let value = if values[row].is_nan() { *median } else { values[row] };
                        let scaled = ((value - mean) / deviation).clamp(-LARGEST, LARGEST);
                        design.entries.push((first as u32, scaled));
                        if values[row].is_nan() {
                            design.entries.push((first as u32 + 1, 1.0));
                        }
                    }
                    (Encoder::Category { place_of }, Column::Category(codes)) => {
                        let other = place_of.len() + usize::from(codes[row] == MISSING);
                        let place = place_of.get(&codes[row]).copied().unwrap_or(other);
                        design.entries.push(((first + place) as u32, 1.0));
                    }
                    _ => unreachable!("a column keeps its kind"),
                }
                first += encoder.width();
            }
            design.ends.push(design.entries.len());
        }
        design
    }

    /// Adds a row: places and values.
    pub fn push(&mut self, entries: impl Iterator<Item = (u32, f64)>) {
        self.entries.extend(entries);
        self.ends.push(self.entries.len());
    }

    fn rows(&self) -> usize {
        self.ends.len()
    }

    pub fn row(&self, row: usize) -> &[(u32, f64)] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.entries[start..self.ends[row]]
    }
}

/// A fitted linear model.
pub struct LinearModel {
    objective: Objective,
    encoders: Vec<Encoder>,
    /// `outputs x (width + 1)`, the intercept last.
    weights: Vec<f64>,
    width: usize,
    /// Mean and scale of a regression's labels.
    center: f64,
    scale: f64,
}

/// Fits `labels`, one per row of `columns`.
///
/// # Privacy
/// Touches sensitive data; the weights are an unprotected function of it and must not be released.
pub fn fit(columns: &[&Column], labels: &[f64], objective: Objective) -> LinearModel {
    let encoders: Vec<Encoder> = columns.iter().map(|c| Encoder::fit(c)).collect();
    let design = Design::new(&encoders, columns, labels.len());
    let width = encoders.iter().map(Encoder::width).sum();
    let (mut center, mut scale) = (0.0, 1.0);
    let outputs = match objective {
        Objective::Squared => {
            center = super::metrics::mean(labels.iter().copied());
            let variance = super::metrics::mean(labels.iter().map(|l| (l - center).powi(2)));
            scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
            1
        }
        Objective::Logistic => 1,
        Objective::Softmax { classes } => classes,
    };
    let labels: Vec<f64> = labels.iter().map(|l| (l - center) / scale).collect();
    let problem = Problem { design: &design, labels: &labels, objective, width, outputs };
    let weights = minimise(&problem, vec![0.0; outputs * (width + 1)]);
    LinearModel { objective, encoders, weights, width, center, scale }
}

impl LinearModel {
    /// A number, or the probability of label 1, or those of all labels, for each of `rows` rows.
    pub fn predict(&self, columns: &[&Column], rows: usize) -> Vec<Vec<f64>> {
        let design = Design::new(&self.encoders, columns, rows);
        let predict = |row| {
            let of_output = |weights: &[f64]| score(weights, design.row(row));
            let mut scores: Vec<f64> = self.weights.chunks(self.width + 1).map(of_output).collect();
            match self.objective {
                Objective::Squared => scores[0] = self.center + self.scale * scores[0],
                Objective::Logistic => scores[0] = 1.0 / (1.0 + (-scores[0]).exp()),
                Objective::Softmax { .. } => softmax(&mut scores),
            }
            scores
        };
        (0..rows).map(predict).collect()
    }
}

/// Inner product with one output's weights, intercept added.
fn score(weights: &[f64], row: &[(u32, f64)]) -> f64 {
    weights[weights.len() - 1] + row.iter().map(|&(i, x)| weights[i as usize] * x).sum::<f64>()
}

/// Mean loss plus penalty, as a function of the weights.
struct Problem<'a> {
    design: &'a Design,
    labels: &'a [f64],
    objective: Objective,
    width: usize,
    outputs: usize,
}

impl Problem<'_> {
    /// The value and its gradient.
    fn evaluate(&self, weights: &[f64]) -> (f64, Vec<f64>) {
        let blocks: Vec<(f64, Vec<f64>)> = (0..self.design.rows().div_ceil(BLOCK_ROWS))
            .into_par_iter()
            .map(|block| self.block(weights, block * BLOCK_ROWS))
            .collect();
        let mut value = 0.0;
        let mut gradient = vec![0.0; weights.len()];
        for (part, slope) in blocks {
            value += part;
            gradient.iter_mut().zip(slope).for_each(|(g, s)| *g += s);
        }
        for (weights, gradient) in weights.chunks(self.width + 1).zip(gradient.chunks_mut(self.width + 1)) {
            for (w, g) in weights.iter().zip(gradient).take(self.width) {
                value += w * w / 2.0;
                *g += w;
            }
        }
        let rows = self.design.rows() as f64;
        gradient.iter_mut().for_each(|g| *g /= rows);
        (value / rows, gradient)
    }

    /// Summed loss and gradient of the block of rows that begins at `first`.
    fn block(&self, weights: &[f64], first: usize) -> (f64, Vec<f64>) {
        let mut value = 0.0;
        let mut gradient = vec![0.0; weights.len()];
        let mut slopes = vec![0.0; self.outputs];
        for row in first..(first + BLOCK_ROWS).min(self.design.rows()) {
            let (entries, label) = (self.design.row(row), self.labels[row]);
            slopes.iter_mut().zip(weights.chunks(self.width + 1)).for_each(|(s, w)| *s = score(w, entries));
            value += loss(self.objective, &mut slopes, label);
            for (slope, gradient) in slopes.iter().zip(gradient.chunks_mut(self.width + 1)) {
                entries.iter().for_each(|&(i, x)| gradient[i as usize] += slope * x);
                gradient[self.width] += slope;
            }
        }
        (value, gradient)
    }
}

/// The loss of one row; its scores become the derivatives by them.
fn loss(objective: Objective, scores: &mut [f64], label: f64) -> f64 {
    match objective {
        Objective::Squared => {
            scores[0] -= label;
            scores[0] * scores[0] / 2.0
        }
        Objective::Logistic => {
            let score = scores[0];
            scores[0] = 1.0 / (1.0 + (-score).exp()) - label;
            // log(1 + e^s) - s y without overflow.
            score.max(0.0) - score * label + (-score.abs()).exp().ln_1p()
        }
        Objective::Softmax { .. } => {
            softmax(scores);
            let likelihood = scores[label as usize];
            scores[label as usize] -= 1.0;
            -likelihood.max(f64::MIN_POSITIVE).ln()
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// L-BFGS with backtracking from `weights`.
fn minimise(problem: &Problem, mut weights: Vec<f64>) -> Vec<f64> {
    let (mut value, mut gradient) = problem.evaluate(&weights);
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    for _ in 0..MAX_ITERATIONS {
        if gradient.iter().all(|g| g.abs() <= GRADIENT_TOLERANCE) {
            break;
        }
        let direction = descent_direction(&gradient, &memory);
        let slope = dot(&gradient, &direction);
        let mut length = if memory.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let step = loop {
            let tried: Vec<f64> = weights.iter().zip(&direction).map(|(w, d)| w + length * d).collect();
            let (tried_value, tried_gradient) = problem.evaluate(&tried);
            if tried_value <= value + 1e-4 * length * slope {
                break Some((tried, tried_value, tried_gradient));
            }
            length /= 2.0;
            if length < 1e-10 {
                break None;
            }
        };
        let Some((tried, tried_value, tried_gradient)) = step else { break };
        let moved: Vec<f64> = tried.iter().zip(&weights).map(|(a, b)| a - b).collect();
        let turned: Vec<f64> = tried_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        if dot(&moved, &turned) > 0.0 {
            memory.push_back((moved, turned));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        (weights, value, gradient) = (tried, tried_value, tried_gradient);
    }
    weights
}

/// Minus the gradient times the remembered inverse curvature: the two-loop recursion.
fn descent_direction(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut weights = Vec::with_capacity(memory.len());
    for (moved, turned) in memory.iter().rev() {
        let weight = dot(moved, &direction) / dot(moved, turned);
        direction.iter_mut().zip(turned).for_each(|(d, t)| *d -= weight * t);
        weights.push(weight);
    }
    if let Some((moved, turned)) = memory.back() {
        let curvature = dot(moved, turned) / dot(turned, turned);
        direction.iter_mut().for_each(|d| *d *= curvature);
    }
    for ((moved, turned), weight) in memory.iter().zip(weights.iter().rev()) {
        let correction = weight - dot(turned, &direction) / dot(moved, turned);
        direction.iter_mut().zip(moved).for_each(|(d, m)| *d += correction * m);
    }
    direction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(values: &[f64]) -> Column {
        Column::numbers(values.to_vec())
    }

    #[test]
    fn ridge_of_one_standardised_column_is_known_by_hand() {
        // x = -1, 1 repeated: standardised x has sum of squares 8, so the slope of y = 3x is 3 * 8 / (8 + 1).
        let x = number(&[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0]);
        let y: Vec<f64> = (0..8).map(|i| if i % 2 == 0 { -3.0 } else { 3.0 } + 10.0).collect();
        let predicted = fit(&[&x], &y, Objective::Squared).predict(&[&x], 2);
        assert!((predicted[1][0] - (10.0 + 24.0 / 9.0)).abs() < 1e-4, "{predicted:?}");
    }

    /// The intercept is free, so at the minimum the mean probability of a class is its share of the rows.
    #[test]
    fn classification_meets_its_first_order_condition() {
        let x = number(&[0.0, 1.0, 2.0, 3.0, 4.0, f64::NAN, 6.0, 7.0]);
        let mean =
            |model: &LinearModel, output: usize| model.predict(&[&x], 8).iter().map(|p| p[output]).sum::<f64>() / 8.0;
        let two = fit(&[&x], &[0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0], Objective::Logistic);
        assert!((mean(&two, 0) - 3.0 / 8.0).abs() < 1e-4);
        let three = fit(&[&x], &[0.0, 2.0, 2.0, 0.0, 1.0, 1.0, 2.0, 2.0], Objective::Softmax { classes: 3 });
        for (class, share) in [0.25, 0.25, 0.5].into_iter().enumerate() {
            assert!((mean(&three, class) - share).abs() < 1e-4);
        }
        // The last class sits at the larger numbers.
        let last = |row: usize| three.predict(&[&x], 8)[row][2];
        assert!(last(7) > last(0) + 0.05, "{} {}", last(0), last(7));
    }

    #[test]
    fn a_category_beyond_the_commonest_shares_the_place_of_others() {
        let codes: Vec<u32> = (0..50).flat_map(|c| vec![c; 60 - c as usize]).collect();
        let encoder = Encoder::fit(&Column::Category(codes));
        assert_eq!(encoder.width(), CATEGORIES + 2);
        let column = Column::Category(vec![0, 45, 99, MISSING]);
        let design = Design::new(&[encoder], &[&column], 4);
        assert_eq!(design.entries, [(0, 1.0), (40, 1.0), (40, 1.0), (41, 1.0)]);
    }

    #[test]
    fn no_columns_leave_the_intercept() {
        let model = fit(&[], &[1.0, 0.0, 0.0, 0.0], Objective::Logistic);
        assert!((model.predict(&[], 1)[0][0] - 0.25).abs() < 1e-4);
    }
}
