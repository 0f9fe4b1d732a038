//! Newton's method for unpenalised regressions, logistic and least squares (McCullagh and Nelder 1989, section 2.5).
//!
//! Standard errors are robust and by unit: the curvature at the top on either side of the spread of the units' gradients
//! (Liang and Zeger 1986, Biometrika 73:13), with the usual correction for few units. They hold where the rows of a unit
//! hang together, and where the model is not quite that of the rows.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::cholesky::Cholesky;
use super::coefficient::Coefficient;
use super::linear::Design;

/// Newton converges in fewer iterations, unless the estimates are infinite.
const MAX_ITERATIONS: usize = 25;
/// A step is halved at most so often.
const MAX_HALVINGS: usize = 10;
/// Stops when no standardised coefficient moves more.
const STEP_TOLERANCE: f64 = 1e-8;
/// Parts of the rows whose sums are taken side by side; fixed, so that rounding does not depend on threads.
const BLOCKS: usize = 16;

/// Log-likelihood, its gradient and its curvature: of a normal outcome of variance 1, or of a binary one.
struct Sums {
    value: f64,
    gradient: Vec<f64>,
    /// Lower triangle.
    curvature: Vec<f64>,
}

impl Sums {
    fn new(design: &Design, outcome: &[f64], weights: &[f64], binary: bool) -> Self {
        let rows = outcome.len();
        let size = rows.div_ceil(BLOCKS);
        let block =
            |block: usize| Self::block(design, outcome, weights, binary, block * size..rows.min((block + 1) * size));
        let blocks: Vec<Self> = (0..rows.div_ceil(size)).into_par_iter().map(block).collect();
        let mut total = Self::zero(weights.len());
        for part in blocks {
            total.value += part.value;
            total.gradient.iter_mut().zip(part.gradient).for_each(|(sum, x)| *sum += x);
            total.curvature.iter_mut().zip(part.curvature).for_each(|(sum, x)| *sum += x);
        }
        total
    }

    fn zero(width: usize) -> Self {
        Self { value: 0.0, gradient: vec![0.0; width], curvature: vec![0.0; width * width] }
    }

    fn block(design: &Design, outcome: &[f64], weights: &[f64], binary: bool, rows: std::ops::Range<usize>) -> Self {
        let width = weights.len();
        let mut sums = Self::zero(width);
        for row in rows {
            let entries = design.row(row);
            let score: f64 = entries.iter().map(|&(i, x)| weights[i as usize] * x).sum();
            let residual = residual(outcome[row], score, binary);
            let weight = if binary {
                let p = outcome[row] - residual;
                // y s - log(1 + e^s) without overflow.
                sums.value += score * outcome[row] - score.max(0.0) - (-score.abs()).exp().ln_1p();
                p * (1.0 - p)
            } else {
                sums.value -= residual.powi(2) / 2.0;
                1.0
            };
            for (last, &(i, x)) in entries.iter().enumerate() {
                sums.gradient[i as usize] += residual * x;
                for &(j, z) in &entries[..=last] {
                    sums.curvature[i as usize * width + j as usize] += weight * x * z;
                }
            }
        }
        sums
    }
}

/// What is left of an outcome.
fn residual(outcome: f64, score: f64, binary: bool) -> f64 {
    outcome - if binary { 1.0 / (1.0 + (-score).exp()) } else { score }
}

/// Standard errors of `weights`, where `curvature` is that of the likelihood there.
fn errors(
    design: &Design,
    outcome: &[f64],
    unit: &[u32],
    weights: &[f64],
    binary: bool,
    curvature: &Cholesky,
) -> Vec<f64> {
    let (rows, width) = (outcome.len(), weights.len());
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_key(|&row| unit[row]);
    let (mut spread, mut units) = (vec![0.0; width * width], 0.0);
    for own in order.chunk_by(|&a, &b| unit[a] == unit[b]) {
        let mut gradient: BTreeMap<u32, f64> = BTreeMap::new();
        for &row in own {
            let entries = design.row(row);
            let score: f64 = entries.iter().map(|&(i, x)| weights[i as usize] * x).sum();
            let left = residual(outcome[row], score, binary);
            entries.iter().for_each(|&(i, x)| *gradient.entry(i).or_default() += left * x);
        }
        for (&i, x) in &gradient {
            gradient.iter().for_each(|(&j, y)| spread[i as usize * width + j as usize] += x * y);
        }
        units += 1.0;
    }
    let correction = units / (units - 1.0) * (rows as f64 - 1.0) / (rows - width) as f64;
    // The diagonal of the sandwich: the spread in the direction of each column of the inverse curvature.
    let variance = |place: usize| {
        let unit_vector: Vec<f64> = (0..width).map(|j| f64::from(u8::from(j == place))).collect();
        let column = curvature.solve(&unit_vector);
        let row = |i: usize| (0..width).map(|j| spread[i * width + j] * column[j]).sum::<f64>();
        (0..width).map(|i| column[i] * row(i)).sum::<f64>()
    };
    (0..width).map(|place| (correction * variance(place)).max(0.0).sqrt()).collect()
}

/// The weights of largest likelihood, and their standard errors, of a design whose rows begin with the intercept and go on
/// by ascending place; `unit` says whose each row is.
///
/// # Errors
/// Why there are none: covariates that determine each other, or estimates that are not finite.
///
/// # Privacy
/// Touches sensitive data; the weights are an unprotected function of it and must not be released.
pub fn newton(
    design: &Design,
    outcome: &[f64],
    unit: &[u32],
    width: usize,
    binary: bool,
) -> Result<Vec<Coefficient>, String> {
    const INFINITE: &str = "some covariate tells the outcomes apart without error, so that no estimate is finite";
    let mut weights = vec![0.0; width];
    let mut now = Sums::new(design, outcome, &weights, binary);
    for iteration in 0..MAX_ITERATIONS {
        let Some(factor) = Cholesky::new(&now.curvature, width) else {
            let why = if iteration == 0 { "some covariates determine each other" } else { INFINITE };
            return Err(why.into());
        };
        let step = factor.solve(&now.gradient);
        if step.iter().all(|s| s.abs() <= STEP_TOLERANCE) {
            let errors = errors(design, outcome, unit, &weights, binary, &factor);
            return Ok(weights.iter().zip(errors).map(|(&value, error)| Coefficient { value, error }).collect());
        }
        let better = (0..MAX_HALVINGS).find_map(|halvings| {
            let length = 0.5_f64.powi(halvings as i32);
            let tried: Vec<f64> = weights.iter().zip(&step).map(|(w, s)| w + length * s).collect();
            let sums = Sums::new(design, outcome, &tried, binary);
            // At the top, rounding may take a little away.
            (sums.value >= now.value - 1e-9 * now.value.abs()).then_some((tried, sums))
        });
        let Some(better) = better else { break };
        (weights, now) = better;
    }
    Err(INFINITE.into())
}
