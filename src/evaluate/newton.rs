//! Newton's method for unpenalised regressions, logistic and least squares (McCullagh and Nelder 1989, section 2.5).
//!
//! Standard errors come from the curvature at the top, scaled by the residual variance in least squares.

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
            let (residual, weight) = if binary {
                let p = 1.0 / (1.0 + (-score).exp());
                // y s - log(1 + e^s) without overflow.
                sums.value += score * outcome[row] - score.max(0.0) - (-score.abs()).exp().ln_1p();
                (outcome[row] - p, p * (1.0 - p))
            } else {
                sums.value -= (outcome[row] - score).powi(2) / 2.0;
                (outcome[row] - score, 1.0)
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

/// The weights of largest likelihood, and their standard errors, of a design whose rows begin with the intercept and go on
/// by ascending place.
///
/// # Errors
/// Why there are none: covariates that determine each other, or estimates that are not finite.
///
/// # Privacy
/// Touches sensitive data; the weights are an unprotected function of it and must not be released.
pub fn newton(design: &Design, outcome: &[f64], width: usize, binary: bool) -> Result<Vec<Coefficient>, String> {
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
            let freedom = (outcome.len() - width) as f64;
            let variance = if binary { 1.0 } else { -2.0 * now.value / freedom };
            let errors = factor.inverse_diagonal().into_iter().map(|v| (v * variance).sqrt());
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
