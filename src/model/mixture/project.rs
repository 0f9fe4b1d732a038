//! The last step of the fit: towards the released marginals, as far as their noise allows.

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::fit::softmax_backward;
use super::generate::Mixture;
use super::measured::{Measured, MeasuredTable};
use super::objective::{Objective, Workspace};
use crate::model::Marginals;
use crate::nn::{Adam, AdamSettings, Matrix, gemm, softmax};

/// Steps of the optimiser.
const STEPS: usize = 200;
const LEARNING_RATE: f32 = 0.02;
const AVERAGE_DECAY: f32 = 0.9;
/// Probabilities below this start at it: a free logit that starts lower would never come back.
const LEAST_PROBABILITY: f32 = 1e-8;

/// Moves the classes of a mixture towards the released one- and two-way marginals, each shrunk towards the mixture's
/// own by what its noise alone would make of the distance (James and Stein 1961).
///
/// # Privacy
/// Post-processing.
pub(super) fn project(mixture: Mixture, measured: &Measured) -> Mixture {
    let shrunk = shrunk(&mixture, measured);
    let objective = Objective::new(&shrunk);
    let Mixture { offsets, mut probabilities, mut weights, .. } = mixture;
    let log = |p: &f32| p.max(LEAST_PROBABILITY).ln();
    let cells = probabilities.values().len();
    let mut parameters: Vec<f32> = probabilities.values().iter().chain(&weights).map(log).collect();
    let settings = AdamSettings { learning_rate: LEARNING_RATE, average_decay: AVERAGE_DECAY };
    let mut optimiser = Adam::new(settings, &parameters);
    let mut gradient = vec![0.0; parameters.len()];
    let mut workspace = Workspace::default();
    let classes = [0, weights.len()];
    let unfold = |parameters: &[f32], probabilities: &mut Matrix, weights: &mut [f32]| {
        probabilities.values_mut().copy_from_slice(&parameters[..cells]);
        softmax::probabilities(probabilities.values_mut(), &offsets);
        weights.copy_from_slice(&parameters[cells..]);
        softmax::probabilities(weights, &classes);
    };
    for _ in 0..STEPS {
        unfold(&parameters, &mut probabilities, &mut weights);
        objective.gradient(&probabilities, &weights, &mut workspace);
        softmax_backward(probabilities.values(), workspace.by_probability.values_mut(), &offsets);
        softmax_backward(&weights, &mut workspace.by_weight, &classes);
        gradient[..cells].copy_from_slice(workspace.by_probability.values());
        gradient[cells..].copy_from_slice(&workspace.by_weight);
        optimiser.step(&mut parameters, &gradient);
    }
    unfold(optimiser.average(), &mut probabilities, &mut weights);
    Mixture::new(offsets, probabilities, weights)
}

/// The one- and two-way marginals, each moved towards the mixture's.
fn shrunk(mixture: &Mixture, measured: &Measured) -> Measured {
    let tables = measured.tables.par_iter().filter(|table| table.columns.len() == 2).map(|table| {
        let own = mixture.pair(table.columns[0], table.columns[1]);
        let noise = vec![table.noise_std; table.shares.len()];
        let shares = toward(own.as_slice().expect("row-major"), &table.shares, &noise);
        MeasuredTable { shares, columns: table.columns.clone(), noise_std: table.noise_std }
    });
    let one_way = mixture.one_way();
    let mut shares = Vec::with_capacity(one_way.len());
    for block in mixture.offsets.windows(2) {
        let block = block[0]..block[1];
        shares.extend(toward(
            &one_way[block.clone()],
            &measured.marginals.probabilities()[block.clone()],
            &measured.marginals_noise_std[block],
        ));
    }
    let counts: Vec<f64> = shares.iter().map(|&s| f64::from(s)).collect();
    let marginals = Marginals::from_shares(&measured.layout, counts);
    Measured { tables: tables.collect(), marginals, ..measured.clone() }
}

/// `own` moved towards `released` by the part of their squared distance that noise does not explain.
pub(super) fn toward(own: &[f32], released: &[f32], noise_std: &[f32]) -> Vec<f32> {
    let distance: f64 = own.iter().zip(released).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let expected: f64 = noise_std.iter().map(|std| f64::from(*std).powi(2)).sum();
    let kept = (1.0 - expected / distance.max(f64::MIN_POSITIVE)).max(0.0) as f32;
    own.iter().zip(released).map(|(a, b)| a + kept * (b - a)).collect()
}

impl Mixture {
    /// The shares of each cell.
    fn one_way(&self) -> Vec<f32> {
        let mut shares = vec![0.0; self.probabilities.columns()];
        for (k, w) in self.weights.iter().enumerate() {
            shares.iter_mut().zip(self.probabilities.row(k)).for_each(|(s, p)| *s += w * p);
        }
        shares
    }

    /// The distributions of a column: classes by cells.
    pub(in crate::model) fn block(&self, j: usize) -> ArrayView2<'_, f32> {
        self.probabilities.view().slice_move(s![.., self.offsets[j]..self.offsets[j + 1]])
    }

    /// The same, each times the weight of its class.
    pub(in crate::model) fn weighed(&self, j: usize) -> Array2<f32> {
        let mut weighed = self.block(j).to_owned();
        weighed.outer_iter_mut().zip(&self.weights).for_each(|(mut row, w)| row *= *w);
        weighed
    }

    /// The shares of each pair of cells of two columns.
    pub(in crate::model) fn pair(&self, a: usize, b: usize) -> Array2<f32> {
        let weighed = self.weighed(b);
        let mut shares = Array2::zeros((self.block(a).ncols(), weighed.ncols()));
        gemm(self.block(a).reversed_axes(), weighed.view(), 0.0, shares.view_mut());
        shares
    }
}
