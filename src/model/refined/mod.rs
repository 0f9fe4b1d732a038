//! A network's rows, brought to what the released marginals say.
//!
//! # The idea
//! A network trained by DP-SGD knows what marginals cannot say, but its own marginals carry the noise of its
//! gradients. So rows are drawn in excess and selected: each candidate has a weight, a product of one factor a cell of
//! each released one- and two-way marginal ([`Projection`]), fitted once on many rows of the network, and a block of
//! candidates is thinned to the rows that are wanted, none taken twice. (Lines of work: raking; private
//! post-processing to marginals, arXiv:2305.15538.)
//!
//! Evidence works the same way backward: candidates come from the mixture that the network was pretrained on, which can
//! be conditioned exactly, and their weights carry the ratio of the network's probability to the mixture's
//! (sampling-importance-resampling, Rubin 1988). However rare the evidence, the work is the same.
//!
//! All of it is post-processing.

mod projection;

use std::sync::Arc;

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Evidence, Generator, Mixture};
use crate::encode::Layout;
use crate::error::Result;
use crate::nn::Tensor;

pub use projection::Projection;

/// A network that draws rows, and says how likely rows are, but knows no evidence.
pub trait Sampler: Send + Sync {
    /// As [`Generator::generate`], without evidence.
    fn sample(
        &self,
        units: usize,
        rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    );

    /// As [`Generator::nats`].
    fn nats(&self, codes: &[u16], rng: &mut ChaCha8Rng, nats: &mut [f64]);

    /// As [`Generator::tensors`].
    fn tensors(&self) -> Vec<Tensor>;
}

/// Candidates of the network for each unit that is wanted.
const CANDIDATES: usize = 2;
/// Candidates of the mixture for each unit, where there is evidence.
const CANDIDATES_GIVEN_EVIDENCE: usize = 8;
/// Candidates that correct the probability of evidence ...
const CANDIDATES_OF_PROBABILITY: usize = 2048;
/// ... none of which counts more than so many times what it should on average.
const LARGEST_RATIO: f64 = 20.0;

/// A network with the mixture it started from and the projection of its rows.
pub struct Refined {
    network: Box<dyn Sampler>,
    mixture: Arc<Mixture>,
    projection: Projection,
}

impl Refined {
    /// Fits the projection of a network's rows. The same `seed` gives the same projection, at any number of threads.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn fit(
        network: Box<dyn Sampler>,
        mixture: Arc<Mixture>,
        rows_column: Option<usize>,
        units: f64,
        seed: u64,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let projection = Projection::fit(&*network, &mixture, rows_column, units, &mut rng);
        Self { network, mixture, projection }
    }

    /// Reads what [`Generator::tensors`] wrote.
    ///
    /// # Errors
    /// Bad input when a tensor is missing, has the wrong size, or holds what it cannot.
    pub fn from_tensors(
        layout: &Layout,
        network: Box<dyn Sampler>,
        mixture: Arc<Mixture>,
        tensors: &[Tensor],
    ) -> Result<Self> {
        Ok(Self { network, mixture, projection: Projection::from_tensors(layout, tensors)? })
    }

    /// Draws units that agree with the evidence from the mixture, with the logarithms of what makes them units of this
    /// generator.
    fn candidates(
        &self,
        units: usize,
        rows_column: Option<usize>,
        evidence: Option<&Evidence>,
        rng: &mut ChaCha8Rng,
    ) -> Drawn {
        let mut drawn = Drawn::default();
        let Drawn { codes, offsets, log_weights } = &mut drawn;
        self.mixture.generate(units, rows_column, evidence, rng, codes, offsets);
        let (mut by_mixture, mut by_network) = (vec![0.0; codes.len()], vec![0.0; codes.len()]);
        self.mixture.nats(codes, rng, &mut by_mixture);
        self.network.nats(codes, rng, &mut by_network);
        self.projection.log_weights(codes, offsets, log_weights);
        let width = self.mixture.width();
        for (weight, unit) in log_weights.iter_mut().zip(offsets.windows(2)) {
            let cells = unit[0] as usize * width..unit[1] as usize * width;
            *weight += by_mixture[cells.clone()].iter().sum::<f64>() - by_network[cells].iter().sum::<f64>();
        }
        drawn
    }

    /// How much likelier rows that agree with the evidence are to this generator than to the mixture, up to a factor
    /// that does not depend on it.
    fn ratio(&self, evidence: Option<&Evidence>, rng: &mut ChaCha8Rng) -> f64 {
        let drawn = self.candidates(CANDIDATES_OF_PROBABILITY, None, evidence, rng);
        let ratio = |log: &f64| if log.is_nan() { 0.0 } else { log.exp().min(LARGEST_RATIO) };
        drawn.log_weights.iter().map(ratio).sum::<f64>() / CANDIDATES_OF_PROBABILITY as f64
    }
}

/// Units and the logarithms of their weights.
#[derive(Default)]
struct Drawn {
    codes: Vec<u16>,
    offsets: Vec<u32>,
    log_weights: Vec<f64>,
}

impl Drawn {
    /// Takes `units` of the candidates, each in proportion to its weight but none twice, in their order.
    fn select(&self, units: usize, rng: &mut ChaCha8Rng, codes: &mut Vec<u16>, offsets: &mut Vec<u32>) {
        let shares = inclusion(&self.log_weights, units);
        let width = self.codes.len() / (self.offsets.last().copied().unwrap_or(0) as usize).max(1);
        codes.clear();
        offsets.clear();
        offsets.push(0);
        let mut passed = rng.random::<f64>();
        for (share, unit) in shares.iter().zip(self.offsets.windows(2)) {
            passed += share;
            if passed >= 1.0 && offsets.len() <= units {
                passed -= 1.0;
                codes.extend_from_slice(&self.codes[unit[0] as usize * width..unit[1] as usize * width]);
                offsets.push((codes.len() / width.max(1)) as u32);
            }
        }
        // Rounding can leave the last one out: the likeliest candidate stands in for it.
        while offsets.len() <= units {
            let best = (0..shares.len()).max_by(|&a, &b| shares[a].total_cmp(&shares[b])).unwrap_or(0);
            let unit = self.offsets[best] as usize * width..self.offsets[best + 1] as usize * width;
            codes.extend_from_slice(&self.codes[unit]);
            offsets.push((codes.len() / width.max(1)) as u32);
        }
    }
}

/// Probabilities of being taken, in proportion to the weights, at most 1 each, `units` together.
fn inclusion(log_weights: &[f64], units: usize) -> Vec<f64> {
    let largest = log_weights.iter().copied().filter(|w| w.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    let weight = |&log: &f64| if log.is_finite() { (log - largest).exp() } else { 0.0 };
    let weights: Vec<f64> = log_weights.iter().map(weight).collect();
    // Weights above the scale are cut to it: find the scale at which the cut weights add up to `units` scales.
    let mut order: Vec<f64> = weights.clone();
    order.sort_by(|a, b| b.total_cmp(a));
    let mut rest: f64 = order.iter().sum();
    let mut scale = rest / units.max(1) as f64;
    for (cut, &weight) in order.iter().enumerate().take(units) {
        scale = rest / (units - cut) as f64;
        if weight <= scale {
            break;
        }
        rest -= weight;
    }
    weights
        .iter()
        .map(|w| if scale > 0.0 { (w / scale).min(1.0) } else { units as f64 / weights.len() as f64 })
        .collect()
}

impl Generator for Refined {
    fn generate(
        &self,
        units: usize,
        rows_column: Option<usize>,
        evidence: Option<&Evidence>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    ) {
        let drawn = match evidence {
            None => {
                let mut drawn = Drawn::default();
                let Drawn { codes, offsets, log_weights } = &mut drawn;
                self.network.sample(CANDIDATES * units, rows_column, rng, codes, offsets);
                self.projection.log_weights(codes, offsets, log_weights);
                drawn
            }
            Some(_) => self.candidates(CANDIDATES_GIVEN_EVIDENCE * units, rows_column, evidence, rng),
        };
        drawn.select(units, rng, codes, offsets);
    }

    /// The mixture's opinions, corrected by one factor for all.
    fn probabilities(&self, evidence: &Evidence, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let ratio = self.ratio(Some(evidence), rng) / self.ratio(None, rng).max(f64::MIN_POSITIVE);
        self.mixture.probabilities(evidence, rng).iter().map(|p| (p * ratio).min(1.0)).collect()
    }

    /// The mixture's: rows are projected onto them.
    fn released_pair(&self, a: usize, b: usize) -> Array2<f32> {
        self.mixture.pair(a, b)
    }

    /// The network's, with the projection's part spread evenly over the columns.
    fn nats(&self, codes: &[u16], rng: &mut ChaCha8Rng, nats: &mut [f64]) {
        self.network.nats(codes, rng, nats);
        let width = self.mixture.width();
        let offsets: Vec<u32> = (0..=(codes.len() / width) as u32).collect();
        let mut log_weights = Vec::new();
        self.projection.log_weights(codes, &offsets, &mut log_weights);
        for (row, weight) in nats.chunks_exact_mut(width).zip(log_weights) {
            row.iter_mut().for_each(|nats| *nats -= weight / width as f64);
        }
    }

    fn tensors(&self) -> Vec<Tensor> {
        [self.network.tensors(), self.mixture.tensors(), self.projection.tensors()].concat()
    }
}

#[cfg(test)]
mod tests;
