//! The committee of networks.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::generate::Mixture;
use super::measured::Measured;
use super::objective::{Objective, Workspace};
use super::project::project;
use crate::model::steps::{Fitted, most_steps};
use crate::nn::{Activation, Adam, AdamSettings, Matrix, Mlp, MlpBuffers, Slot, Table, Trace, softmax};

/// Networks in the committee.
pub(super) const MEMBERS: usize = 4;
/// Latent classes of each member, where the columns have at most [`FEW_CELLS`] cells together ...
const CLASSES: usize = 512;
const FEW_CELLS: usize = 512;
/// ... and where they have more: a step costs classes times the square of the cells.
const CLASSES_OF_MANY_CELLS: usize = 256;
/// Numbers in the fixed latent vector of a class.
const LATENT: usize = 64;
/// Width of the hidden layers.
const HIDDEN: [usize; 2] = [256, 256];
/// Steps of the optimiser, at most.
pub const STEPS: usize = 2000;
/// Units times epsilon for each step of a member: what tables of 15 to 47 columns were seen to take at epsilon 0.5 to 10,
/// within half and double (`docs/performance.md`).
const UNITS_EPSILON_PER_STEP: f64 = 90.0;
/// How far below 1, at most, a member's distance falls before it is done: see [`explained_by_noise`].
const SLACK: f64 = 0.04;
/// Each time the steps have doubled, from so many on, a member ends that is hardly nearer to where it is done: released marginals
/// that contradict each other, as those of small tables do, cannot be had nearer. (Columns that hang together are seen after 64
/// to 128 steps; before, a member hardly gets nearer either.)
const PATIENCE: usize = 512;
/// How much nearer it must have come, as a part of what was left.
const PROGRESS: f64 = 0.1;
const LEARNING_RATE: f32 = 2e-3;
const AVERAGE_DECAY: f32 = 0.99;
/// Gain of the last layer at the start: small, so that a class starts as the product of the one-way marginals.
const OUTPUT_GAIN: f32 = 0.3;
/// A cell whose released count was nothing starts here.
const LEAST_PROBABILITY: f32 = 1e-5;

/// Fits a mixture to released marginals, in at most `steps` steps, commonly [`STEPS`]. The same `seed` gives the same
/// mixture, at any number of threads. `observe` is told how far all members are.
///
/// # Privacy
/// Post-processing.
pub fn fit(measured: &Measured, seed: u64, steps: usize, observe: &(dyn Fn(Steps) + Sync)) -> Mixture {
    let objective = Objective::new(measured);
    let [done, ended, of_ended] = [(); 3].map(|()| AtomicUsize::new(0));
    let member = |member: usize| {
        let own = AtomicUsize::new(0);
        let mixture = fit_member(measured, &objective, (seed, member as u64), steps, &|| {
            own.fetch_add(1, Ordering::Relaxed);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let likely = (MEMBERS * of_ended.load(Ordering::Relaxed)).checked_div(ended.load(Ordering::Relaxed));
            observe(Steps { done, likely: likely.map(|likely| likely.max(done)) });
        });
        of_ended.fetch_add(own.into_inner(), Ordering::Relaxed);
        ended.fetch_add(1, Ordering::Relaxed);
        mixture
    };
    let members: Vec<Mixture> = (0..MEMBERS).into_par_iter().map(member).collect();
    project(Mixture::pooled(&members), measured)
}

/// How far a fit is, in steps of all members.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    pub done: usize,
    /// How many it will be, as far as the members tell that have come to their end; none before the first one has.
    pub likely: Option<usize>,
}

/// Steps that all members together are likely to take, before any has ended.
pub fn likely_steps(units: f64, epsilon: f64) -> usize {
    MEMBERS * steps_of_member(units, epsilon) as usize
}

/// Steps that a member is likely to take.
pub fn steps_of_member(units: f64, epsilon: f64) -> f64 {
    (units * epsilon / UNITS_EPSILON_PER_STEP).clamp(1.0, STEPS as f64)
}

/// A network from fixed latent vectors to the classes' distributions, and the weights of the classes.
struct Decoder {
    table: Table,
    mlp: Mlp,
    weights: Slot,
}

fn fit_member(
    measured: &Measured,
    objective: &Objective,
    (seed, member): (u64, u64),
    steps: usize,
    observe: &dyn Fn(),
) -> Mixture {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(member);
    let offsets = measured.layout.offsets();
    let mut table = Table::default();
    let total = measured.layout.total();
    let classes = if total <= FEW_CELLS { CLASSES } else { CLASSES_OF_MANY_CELLS };
    let widths: Vec<usize> = [LATENT].into_iter().chain(HIDDEN).chain([total]).collect();
    let mlp = Mlp::new(&mut table, "decoder", &widths, Activation::Silu);
    let decoder = Decoder { weights: table.add("weights", 1, classes), mlp, table };
    let mut parameters = vec![0.0; decoder.table.len()];
    decoder.mlp.initialise(&mut parameters, OUTPUT_GAIN, &mut rng);
    if let Some(last) = decoder.mlp.layers().last() {
        let biases = parameters[last.bias.range()].iter_mut().zip(measured.marginals.probabilities());
        biases.for_each(|(bias, p)| *bias = p.max(LEAST_PROBABILITY).ln());
    }
    let mut latents = Matrix::default();
    latents.reshape(classes, LATENT);
    latents.values_mut().fill_with(|| rng.sample(StandardNormal));

    let settings = AdamSettings { learning_rate: LEARNING_RATE, average_decay: AVERAGE_DECAY };
    let mut optimiser = Adam::new(settings, &parameters);
    let mut gradient = vec![0.0; parameters.len()];
    let (mut buffers, mut workspace) = (MlpBuffers::default(), Workspace::default());
    let (mut p, mut w) = (Matrix::default(), vec![0.0; classes]);
    let (mut done, mut nearest, mut left) = (None, f64::MAX, f64::MAX);
    for step in 0..most_steps(Fitted::Mixture, steps) {
        observe();
        decoder.classes(&parameters, &latents, &offsets, &mut buffers, &mut p, &mut w);
        let distance = objective.gradient(&p, &w, &mut workspace);
        let done = *done.get_or_insert(explained_by_noise(distance));
        nearest = distance.min(nearest);
        let has_doubled = step.is_power_of_two() && 2 * step >= PATIENCE;
        if distance < done || has_doubled && nearest - done > (1.0 - PROGRESS) * left {
            break;
        }
        if has_doubled {
            left = nearest - done;
        }
        softmax_backward(p.values(), workspace.by_probability.values_mut(), &offsets);
        softmax_backward(&w, &mut workspace.by_weight, &[0, classes]);
        gradient[decoder.weights.range()].copy_from_slice(&workspace.by_weight);
        buffers.output().values_mut().copy_from_slice(workspace.by_probability.values());
        decoder.mlp.backward(&parameters, &mut buffers, None);
        decoder.mlp.traces(&mut buffers, None, &mut |trace| {
            if let Trace::Dense { layer, input, gradient: by_output, .. } = trace {
                layer.accumulate(input.view(), by_output, true, &mut gradient);
            }
        });
        optimiser.step(&mut parameters, &gradient);
    }
    decoder.classes(optimiser.average(), &latents, &offsets, &mut buffers, &mut p, &mut w);
    Mixture::new(offsets, p, w)
}

/// Where a member is done that starts at this squared distance to the released marginals, over the number of cells and
/// in units of their noise variance (Morozov's discrepancy principle). Noise alone makes 1 of it; the running average
/// of the weights is behind, so a member goes [`SLACK`] further. But it starts as columns that know nothing of each
/// other: where that is hardly above 1, pairs say little beside their noise, and the slack would be filled with noise
/// alone. So it is at most that part of what there was to explain.
fn explained_by_noise(start: f64) -> f64 {
    1.0 - SLACK * (start - 1.0).clamp(0.0, 1.0)
}

impl Decoder {
    /// The distributions of all classes, and their weights.
    fn classes(
        &self,
        parameters: &[f32],
        latents: &Matrix,
        offsets: &[usize],
        buffers: &mut MlpBuffers,
        p: &mut Matrix,
        w: &mut [f32],
    ) {
        buffers.input().clone_from(latents);
        self.mlp.forward(parameters, buffers);
        p.clone_from(buffers.output());
        softmax::probabilities(p.values_mut(), offsets);
        w.copy_from_slice(&parameters[self.weights.range()]);
        softmax::probabilities(w, &[0, w.len()]);
    }
}

/// Turns the gradient with respect to rows of probabilities into that with respect to their logits, block by block:
/// `p (g - sum p g)`.
pub(super) fn softmax_backward(p: &[f32], gradient: &mut [f32], offsets: &[usize]) {
    let total = offsets.last().copied().unwrap_or(0).max(1);
    for (p, gradient) in p.chunks_exact(total).zip(gradient.chunks_exact_mut(total)) {
        for block in offsets.windows(2) {
            let (p, gradient) = (&p[block[0]..block[1]], &mut gradient[block[0]..block[1]]);
            let mean: f32 = p.iter().zip(&*gradient).map(|(p, g)| p * g).sum();
            gradient.iter_mut().zip(p).for_each(|(g, p)| *g = p * (*g - mean));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::explained_by_noise;

    #[test]
    fn the_slack_is_part_of_what_there_was_to_explain() {
        for (start, done) in [(0.98, 1.0), (1.0, 1.0), (1.01, 0.9996), (2.0, 0.96), (7.0, 0.96)] {
            assert!((explained_by_noise(start) - done).abs() < 1e-12, "{start}");
        }
    }
}
