//! Gradient canaries: units whose gradient is one number, at a place of their own.

use super::conformity::{Check, chi_squared_below, two_sided};
use crate::encode::CodeStore;
use crate::error::{Error, Result};
use crate::model::Trainable;
use crate::nn::{Network, Trace, Workspace, add_parts, clipped_sum};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use synthward_privacy::Clip;

/// A row of a canary has a gradient so many times the clipping norm, so that a clip that is missing shows.
const EXCESS: f32 = 10.0;
/// A weight's gradient is an input times an output's gradient, and its bias gets the latter alone: with so large an input
/// hardly anything.
const INPUT: f32 = 65_536.0;
/// Units that say which coordinates are quiet, and their number in a batch.
const LISTENED: usize = 2048;
const LISTENED_BATCH: usize = 256;
/// They are asked at the first parameters and at ones this far away, as training may get to.
const WANDER: f32 = 0.05;
/// There are at least so many coordinates to choose from for each canary.
const COORDINATES: usize = 10;

/// What a plan says of its steps: what canaries are scored by.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub sampling_rate: f64,
    pub noise_multiplier: f64,
    pub steps: usize,
    pub clipping_norm: f64,
}

/// Gradient canaries of one training, and what came out at their coordinates.
pub struct Dirac {
    claim: Claim,
    expected_batch_size: f64,
    /// One coordinate a canary.
    coordinates: Vec<usize>,
    /// The canaries by their coordinate.
    order: Vec<usize>,
    /// Canaries in the table: behind its own units, in this order.
    members: Vec<usize>,
    seen: Mutex<Seen>,
}

/// Per canary and step.
struct Seen {
    /// The noisy sum at the canary's coordinate, over the clipping norm.
    sums: Vec<f32>,
    /// Whether it was drawn.
    drawn: Vec<bool>,
}

impl Dirac {
    /// One canary a coordinate, in a table of which `units` units are public or were released.
    pub fn new(claim: Claim, units: f64, coordinates: Vec<usize>, coins: &[bool]) -> Self {
        let mut order: Vec<usize> = (0..coordinates.len()).collect();
        order.sort_by_key(|&canary| coordinates[canary]);
        let members = coins.iter().enumerate().filter(|(_, coin)| **coin).map(|(canary, _)| canary).collect();
        let cells = coordinates.len() * claim.steps;
        let seen = Mutex::new(Seen { sums: vec![f32::NAN; cells], drawn: vec![false; cells] });
        Self { claim, expected_batch_size: claim.sampling_rate * units, coordinates, order, members, seen }
    }

    /// Looks at the gradient that was released for the parameters from `start` on.
    pub fn stepped(&self, step: u64, start: usize, gradient: &[f32]) {
        let from = self.order.partition_point(|&canary| self.coordinates[canary] < start);
        let inside = self.order[from..].iter().take_while(|&&c| self.coordinates[c] < start + gradient.len());
        let scale = self.expected_batch_size / self.claim.clipping_norm;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for &canary in inside {
            let sum = f64::from(gradient[self.coordinates[canary] - start]) * scale;
            seen.sums[canary * self.claim.steps + step as usize] = sum as f32;
        }
    }

    /// Log likelihood ratio of each canary: the sum over steps of `log(1 - q + q exp((2x - 1) / (2 s^2)))`. Where real
    /// gradients make the sums wider than the noise does, they count as noise.
    pub fn scores(&self) -> Vec<f64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Claim { sampling_rate: q, noise_multiplier, steps, .. } = self.claim;
        let squares: f64 = seen.sums.iter().map(|&x| f64::from(x).powi(2)).sum();
        let variance = noise_multiplier.powi(2).max(squares / seen.sums.len().max(1) as f64);
        let one = |&x: &f32| {
            let exponent = (2.0 * f64::from(x) - 1.0) / (2.0 * variance);
            // Beyond this the sum is its second term.
            if exponent > 500.0 { exponent + q.ln() } else { (1.0 - q + q * exponent.exp()).ln() }
        };
        seen.sums.chunks(steps.max(1)).map(|sums| sums.iter().map(one).sum()).collect()
    }

    /// Whether the steps are what the plan says.
    pub fn checks(&self) -> Vec<Check> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Claim { sampling_rate: q, noise_multiplier, steps, .. } = self.claim;
        let canaries = || seen.sums.chunks(steps.max(1)).zip(seen.drawn.chunks(steps.max(1)));
        let idle = || seen.sums.iter().zip(&seen.drawn).filter(|(_, drawn)| !**drawn).map(|(&x, _)| f64::from(x));
        let squares: f64 = idle().map(|x| (x / noise_multiplier).powi(2)).sum();
        // Real gradients can only add to it.
        let noise = Check::new("steps: noise as large as claimed", chi_squared_below(squares, idle().count() as f64));

        let draws = seen.drawn.iter().filter(|drawn| **drawn).count() as f64;
        let trials = (self.members.len() * steps) as f64;
        let spread = (trials * q * (1.0 - q)).sqrt();
        let sampling = (spread > 0.0).then(|| {
            // Half a count of continuity.
            let distance = ((draws - trials * q).abs() - 0.5).max(0.0);
            Check::new("steps: units are drawn at the claimed rate", two_sided(distance / spread))
        });

        // What a draw adds at the canary's coordinate: by least squares within each canary's steps, or, where canaries
        // are in all steps, between canaries. Whatever real gradients add is the same in law with and without a draw.
        let (mut covered, mut power, mut residual, mut freedom) = (0.0, 0.0, 0.0, 0.0);
        for (sums, drawn) in canaries() {
            let share = drawn.iter().filter(|d| **d).count() as f64 / steps as f64;
            let mean = sums.iter().map(|&x| f64::from(x)).sum::<f64>() / steps as f64;
            let (mut own_covered, mut own_power, mut own_squares) = (0.0, 0.0, 0.0);
            for (&x, &drawn) in sums.iter().zip(drawn) {
                let (x, d) = (f64::from(x) - mean, f64::from(u8::from(drawn)) - share);
                own_covered += d * x;
                own_power += d * d;
                own_squares += x * x;
            }
            covered += own_covered;
            power += own_power;
            if own_power == 0.0 && steps > 1 {
                residual += own_squares;
                freedom += (steps - 1) as f64;
            }
        }
        if power == 0.0 || freedom == 0.0 {
            let points: Vec<(f64, f64)> = canaries()
                .map(|(sums, drawn)| {
                    let draws = drawn.iter().filter(|d| **d).count() as f64;
                    (draws, sums.iter().map(|&x| f64::from(x)).sum())
                })
                .collect();
            (covered, power, residual, freedom) = between(&points);
        }
        let z = (covered / power - 1.0) * (power * freedom / residual).sqrt();
        let norm =
            (power > 0.0 && freedom > 0.0).then(|| Check::new("steps: a unit adds the clipping norm", two_sided(z)));
        [Some(noise), sampling, norm].into_iter().flatten().collect()
    }
}

/// Least squares over `(x, y)`: sums of `x y` and of `x^2` about the means, the residual at a slope of 1, its degrees of
/// freedom.
fn between(points: &[(f64, f64)]) -> (f64, f64, f64, f64) {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / count, b + y / count));
    let covered: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let power: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = if power > 0.0 { covered / power } else { 0.0 };
    let residual = points.iter().map(|p| (p.1 - y - slope * (p.0 - x)).powi(2)).sum();
    (covered, power, residual, count - 2.0)
}

/// A loss in which the last units are canaries: they go forward and backward like all others, and then what they leave
/// behind at each layer is replaced. Norms, clipping, sums, noise: all that follows is the real thing.
pub struct Planted<'a, N> {
    pub loss: N,
    /// None where no canary has a gradient.
    pub dirac: Option<&'a Dirac>,
    /// The first canary's unit.
    pub first: usize,
    pub step: usize,
}

impl<N: Network> Network for Planted<'_, N> {
    type Buffers = N::Buffers;

    fn rows(&self, unit: u32) -> usize {
        self.loss.rows(unit)
    }

    fn backpropagate(&self, parameters: &[f32], units: &[u32], buffers: &mut Self::Buffers) {
        self.loss.backpropagate(parameters, units, buffers);
        let Some(dirac) = self.dirac else { return };
        let mut canaries: Vec<(usize, Range<usize>)> = Vec::new();
        let mut row = 0;
        for &unit in units {
            let rows = row..row + self.rows(unit);
            row = rows.end;
            if let Some(place) = (unit as usize).checked_sub(self.first) {
                canaries.push((dirac.members[place], rows));
            }
        }
        if canaries.is_empty() {
            return;
        }
        self.loss.traces(buffers, &mut |trace| dirac.replace(trace, &canaries));
        let mut seen = dirac.seen.lock().unwrap_or_else(PoisonError::into_inner);
        canaries.iter().for_each(|(canary, _)| seen.drawn[canary * dirac.claim.steps + self.step] = true);
    }

    fn traces(&self, buffers: &mut Self::Buffers, visit: &mut dyn FnMut(Trace<'_>)) {
        self.loss.traces(buffers, visit);
    }
}

impl Dirac {
    /// Puts each canary's gradient in the place of what its rows left behind.
    fn replace(&self, trace: Trace<'_>, canaries: &[(usize, Range<usize>)]) {
        let height = EXCESS * self.claim.clipping_norm as f32;
        match trace {
            Trace::Embedding { gradient, .. } => {
                canaries.iter().for_each(|(_, rows)| gradient.rows_of_mut(rows.clone()).fill(0.0));
            }
            Trace::Dense { layer, input, gradient, .. } => {
                let (weight, bias) = (layer.weight.range(), layer.bias.range());
                for (canary, rows) in canaries {
                    let coordinate = self.coordinates[*canary];
                    for row in rows.clone() {
                        let (input, gradient) = (input.row_mut(row), gradient.row_mut(row));
                        input.fill(0.0);
                        gradient.fill(0.0);
                        if weight.contains(&coordinate) {
                            let place = coordinate - weight.start;
                            input[place / layer.outputs()] = INPUT;
                            gradient[place % layer.outputs()] = height / INPUT;
                        } else if bias.contains(&coordinate) {
                            gradient[coordinate - bias.start] = height;
                        }
                    }
                }
            }
        }
    }
}

/// So many different coordinates of dense layers where the first `members` units have the least gradient.
///
/// # Errors
/// Bad input when there are fewer than ten coordinates a canary.
///
/// # Privacy
/// Touches sensitive data for the controller's own audit, outside the guarantee.
pub fn quiet<T: Trainable>(
    network: &T,
    parameters: &[f32],
    codes: &CodeStore,
    members: usize,
    count: usize,
    clip: Clip,
    rng: &mut ChaCha20Rng,
) -> Result<Vec<usize>> {
    let (mut buffers, mut dense) = (T::Buffers::default(), Vec::new());
    let loss = network.loss(codes, [0; 32], 0);
    loss.backpropagate(parameters, &[0], &mut buffers);
    loss.traces(&mut buffers, &mut |trace| {
        if let Trace::Dense { layer, .. } = trace {
            dense.extend(layer.weight.range().chain(layer.bias.range()));
        }
    });
    if dense.len() < COORDINATES * count {
        return Err(Error::bad_input(format!("{count} canaries are too many for this network"))
            .expected(format!("at most {}: one for every {COORDINATES} weights", dense.len() / COORDINATES))
            .remedy("ask for fewer canaries"));
    }
    let mut loud = vec![0.0f64; network.parameters()];
    let mut units: Vec<u32> = (0..members as u32).collect();
    units.shuffle(rng);
    units.truncate(LISTENED);
    let mut wandered = parameters.to_vec();
    let mut wander = ChaCha8Rng::from_rng(rng);
    wandered.iter_mut().for_each(|p| *p += wander.random_range(-WANDER..WANDER));
    network.mask(&mut wandered);
    let (mut workspace, mut sum) = (Workspace::default(), vec![0.0; network.parameters()]);
    for batch in units.chunks_mut(LISTENED_BATCH) {
        batch.sort_unstable();
        for parameters in [parameters, &wandered] {
            let coefficient = |squared_norm: f64| clip.coefficient(squared_norm);
            add_parts(clipped_sum(&loss, parameters, batch, &coefficient, &mut workspace), 0, &mut sum);
            loud.iter_mut().zip(&sum).for_each(|(loud, &sum)| *loud += f64::from(sum).powi(2));
        }
    }
    // Equally quiet ones in random order.
    dense.shuffle(rng);
    dense.sort_by(|&a, &b| loud[a].total_cmp(&loud[b]));
    dense.truncate(count);
    // Which canary gets which says nothing of its coin.
    dense.shuffle(rng);
    Ok(dense)
}
