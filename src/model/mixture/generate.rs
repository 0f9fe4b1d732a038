//! Rows from classes.

use ndarray::Array2;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::encode::Layout;
use crate::error::{Error, Result};
use crate::model::{Evidence, Generator, Marginals};
use crate::nn::{Matrix, Tensor, find_tensor};

const PROBABILITIES: &str = "mixture.probabilities";
const WEIGHTS: &str = "mixture.weights";

/// Latent classes, in each of which the columns are independent.
#[derive(Clone, Debug)]
pub struct Mixture {
    /// First cell of each column, and the total.
    pub(super) offsets: Vec<usize>,
    /// The distribution of each column in each class: classes by cells.
    pub(super) probabilities: Matrix,
    /// The same, cells by classes: what each cell says of the classes.
    pub(super) by_cell: Matrix,
    /// Weight of each class; they add up to 1.
    pub(super) weights: Vec<f32>,
}

impl Mixture {
    pub(super) fn new(offsets: Vec<usize>, probabilities: Matrix, weights: Vec<f32>) -> Self {
        let mut by_cell = Matrix::default();
        by_cell.reshape(probabilities.columns(), probabilities.rows());
        by_cell.view_mut().assign(&probabilities.view().t());
        Self { offsets, probabilities, by_cell, weights }
    }

    /// One class, with these marginals: columns that know nothing of each other, the control that everyone must beat.
    pub fn independent(marginals: &Marginals) -> Self {
        let mut probabilities = Matrix::default();
        probabilities.reshape(1, marginals.probabilities().len());
        probabilities.values_mut().copy_from_slice(marginals.probabilities());
        Self::new(marginals.offsets().to_vec(), probabilities, vec![1.0])
    }

    /// All classes of mixtures over the same columns, the mixtures alike in weight.
    ///
    /// # Panics
    /// When there is no mixture.
    pub(super) fn pooled(mixtures: &[Self]) -> Self {
        let classes = mixtures.iter().map(|m| m.weights.len()).sum();
        let mut probabilities = Matrix::default();
        probabilities.reshape(classes, mixtures[0].probabilities.columns());
        let mut rows = probabilities.values_mut();
        for mixture in mixtures {
            let (own, others) = rows.split_at_mut(mixture.probabilities.values().len());
            own.copy_from_slice(mixture.probabilities.values());
            rows = others;
        }
        let part = 1.0 / mixtures.len() as f32;
        let weights = mixtures.iter().flat_map(|m| m.weights.iter().map(|w| w * part)).collect();
        Self::new(mixtures[0].offsets.clone(), probabilities, weights)
    }

    /// First cell of each column, and the total.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.weights.len()
    }

    /// Reads what [`Generator::tensors`] wrote.
    ///
    /// # Errors
    /// Bad input when a tensor is missing, has the wrong size, or holds no distributions.
    pub fn from_tensors(layout: &Layout, tensors: &[Tensor]) -> Result<Self> {
        let classes = tensors.iter().find(|(name, ..)| name == WEIGHTS).map_or(0, |(_, _, values)| values.len());
        let weights = find_tensor(tensors, WEIGHTS, &[1, classes])?.to_vec();
        let values = find_tensor(tensors, PROBABILITIES, &[classes, layout.total()])?;
        let offsets = layout.offsets();
        let is_distribution = |block: &[f32]| {
            let sum = block.iter().map(|&p| f64::from(p)).sum::<f64>();
            block.iter().all(|&p| p >= 0.0) && (sum - 1.0).abs() < 1e-3
        };
        let mut probabilities = Matrix::default();
        probabilities.reshape(classes, layout.total());
        probabilities.values_mut().copy_from_slice(values);
        let mixture = Self::new(offsets, probabilities, weights);
        let columns = |k: usize| mixture.offsets.windows(2).map(move |b| (k, b[0]..b[1]));
        let proper = (0..classes).flat_map(columns).all(|(k, b)| is_distribution(&mixture.probabilities.row(k)[b]));
        if is_distribution(&mixture.weights) && proper {
            Ok(mixture)
        } else {
            Err(Error::bad_input("the tensors of the mixture hold rows that are no distributions"))
        }
    }

    /// The distribution of column `j` in class `k`.
    pub(super) fn column(&self, k: usize, j: usize) -> &[f32] {
        &self.probabilities.row(k)[self.offsets[j]..self.offsets[j + 1]]
    }

    /// Draws a code of column `j` in class `k`, given the evidence.
    fn draw(&self, k: usize, j: usize, evidence: Option<&Evidence>, rng: &mut ChaCha8Rng) -> u16 {
        let own = self.column(k, j);
        match evidence.filter(|evidence| evidence.columns().binary_search(&j).is_ok()) {
            None => pick(own.iter().copied(), rng.random()) as u16,
            Some(evidence) => pick(own.iter().zip(evidence.column(j)).map(|(p, a)| p * a), rng.random()) as u16,
        }
    }
}

/// The classes of `units` units in random order. One class in `1 / units` of the weights is taken for each, so that a
/// block of units has each class as often as it should, up to one.
fn draw_classes(weights: &[f64], units: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let start: f64 = rng.random();
    let mut classes = Vec::with_capacity(units);
    let mut cumulative = 0.0;
    for (k, &weight) in weights.iter().enumerate() {
        cumulative += weight * units as f64;
        while classes.len() < units && (classes.len() as f64 + start) < cumulative {
            classes.push(k);
        }
    }
    let last = weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
    classes.resize(units, last);
    classes.shuffle(rng);
    classes
}

/// The place where the cumulative weight passes the part `uniform`, of `[0, 1)`, of their sum.
pub(super) fn pick(weights: impl Iterator<Item = f32> + Clone, uniform: f32) -> usize {
    let mut rest = uniform * weights.clone().sum::<f32>();
    let mut last = 0;
    for (place, weight) in weights.enumerate() {
        if weight > 0.0 {
            last = place;
            rest -= weight;
            if rest < 0.0 {
                break;
            }
        }
    }
    last
}

impl Generator for Mixture {
    /// All rows of a unit come from one class: what the class says of the number of rows and of the other columns
    /// then holds for every row, and a patient's rows are alike.
    fn generate(
        &self,
        units: usize,
        rows_column: Option<usize>,
        evidence: Option<&Evidence>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    ) {
        let width = self.offsets.len() - 1;
        codes.clear();
        offsets.clear();
        offsets.push(0);
        let weights = self.posterior(rows_column, evidence);
        for k in draw_classes(&weights, units, rng) {
            let fixed = rows_column.map(|column| (column, self.draw_rows(k, column, evidence, rng)));
            for _ in 0..fixed.map_or(1, |(_, code)| usize::from(code) + 1) {
                let start = codes.len();
                codes.extend((0..width).map(|j| self.draw(k, j, evidence, rng)));
                if let Some((column, code)) = fixed {
                    codes[start + column] = code;
                }
            }
            offsets.push((codes.len() / width.max(1)) as u32);
        }
    }

    /// One opinion a member of the committee.
    fn probabilities(&self, evidence: &Evidence, _rng: &mut ChaCha8Rng) -> Vec<f64> {
        self.opinions(evidence)
    }

    fn released_pair(&self, a: usize, b: usize) -> Array2<f32> {
        self.pair(a, b)
    }

    /// Exact.
    fn nats(&self, codes: &[u16], _rng: &mut ChaCha8Rng, nats: &mut [f64]) {
        self.exact_nats(codes, nats);
    }

    fn tensors(&self) -> Vec<Tensor> {
        let (classes, cells) = (self.probabilities.rows(), self.probabilities.columns());
        vec![
            (PROBABILITIES.to_owned(), vec![classes, cells], self.probabilities.values().to_vec()),
            (WEIGHTS.to_owned(), vec![1, classes], self.weights.clone()),
        ]
    }
}

impl Mixture {
    /// Draws the code of the number of rows of a unit of class `k`: rows all of which agree with the evidence are the
    /// less likely the more there are.
    fn draw_rows(&self, k: usize, column: usize, evidence: Option<&Evidence>, rng: &mut ChaCha8Rng) -> u16 {
        let Some(evidence) = evidence else { return self.draw(k, column, None, rng) };
        let agreement = self.agreement(k, evidence, Some(column)) as f32;
        let all_agree = self.column(k, column).iter().zip(evidence.column(column)).scan(agreement, |power, (p, a)| {
            let weight = p * a * *power;
            *power *= agreement;
            Some(weight)
        });
        pick(all_agree, rng.random()) as u16
    }
}
