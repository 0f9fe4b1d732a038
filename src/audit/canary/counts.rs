//! Input canaries: what noisy counts say of who was counted.

use super::conformity::{Check, chi_squared_below, two_sided};
use synthward_privacy::Sensitive;

/// One released histogram.
#[derive(Clone, Copy)]
pub struct Noisy<'a> {
    /// In units.
    pub counts: &'a [f64],
    /// Standard deviation of the noise in each, by the plan.
    pub noise_std: f64,
}

/// What all noisy counts of a fit said.
///
/// A canary in the table adds the weight 1 to its cells of each histogram. Whoever knows all members knows the counts
/// without canaries, so what is left are the canaries' coins, added up cell by cell, under Gaussian noise: a linear
/// problem. Its best linear answer gives each canary's log likelihood ratio.
#[derive(Default)]
pub struct Counts {
    /// Each canary's weights, by cell, over the standard deviation of the noise there.
    canaries: Vec<Vec<(u32, f32)>>,
    /// What the canaries and the noise leave of each count, in standard deviations.
    rest: Vec<f64>,
}

/// Prior precision of a fair coin.
const COIN_PRECISION: f64 = 4.0;
/// Rounds of the linear solver: as many digits as a ranking needs.
const ROUNDS: usize = 200;

impl Counts {
    /// Takes in one histogram. The data have the canaries whose coin says so behind their own units, `candidates` has all
    /// canaries.
    pub fn add<T>(
        &mut self,
        (data, units): (&Sensitive<T>, fn(&T) -> usize),
        candidates: &T,
        coins: &[bool],
        Noisy { counts, noise_std }: Noisy<'_>,
        cells_of: &dyn Fn(&T, usize, &mut Vec<usize>),
    ) {
        let within = coins.iter().filter(|coin| **coin).count();
        let mut own = data
            .map_ref(|data| {
                let (mut own, mut hit) = (vec![0.0; counts.len()], Vec::new());
                for unit in 0..units(data) - within {
                    visit_weights(data, unit, cells_of, &mut hit, |cell, weight| {
                        if let Some(sum) = own.get_mut(cell) {
                            *sum += weight;
                        }
                    });
                }
                own
            })
            .for_controller();
        own.iter_mut().zip(counts).for_each(|(own, noisy)| *own = (noisy - *own) / noise_std);
        let first = self.rest.len();
        self.rest.append(&mut own);
        self.canaries.resize_with(coins.len(), Vec::new);
        let mut hit = Vec::new();
        for (canary, weights) in self.canaries.iter_mut().enumerate() {
            let own = weights.len();
            visit_weights(candidates, canary, cells_of, &mut hit, |cell, weight| {
                let (cell, weight) = ((first + cell) as u32, (weight / noise_std) as f32);
                match weights[own..].iter_mut().find(|(known, _)| *known == cell) {
                    Some((_, sum)) => *sum += weight,
                    None if (cell as usize) < self.rest.len() => weights.push((cell, weight)),
                    None => {}
                }
            });
        }
    }

    /// Log likelihood ratio of each canary, others' coins unknown; empty where nothing was counted.
    ///
    /// With the canaries' weights `V`, the counts are `V^T coin` plus noise. The best linear estimate of `coin - 1/2`
    /// solves `(V V^T + 4) x = V (rest - V^T 1/2)`; of one whose variance is `a / 4`, the log likelihood ratio is
    /// `4 x / (1 - a)`.
    pub fn scores(&self) -> Vec<f64> {
        let halves = self.spread(&vec![0.5; self.canaries.len()]);
        let rest: Vec<f64> = self.rest.iter().zip(halves).map(|(rest, half)| rest - half).collect();
        let estimates = self.solve(self.gather(&rest));
        let variance = estimates.iter().map(|x| x * x).sum::<f64>() / estimates.len().max(1) as f64;
        let unknown = (1.0 - COIN_PRECISION * variance).max(1e-3);
        estimates.iter().map(|x| COIN_PRECISION * x / unknown).collect()
    }

    /// `V^T x`.
    fn spread(&self, x: &[f64]) -> Vec<f64> {
        let mut cells = vec![0.0; self.rest.len()];
        for (weights, x) in self.canaries.iter().zip(x) {
            weights.iter().for_each(|&(cell, weight)| cells[cell as usize] += f64::from(weight) * x);
        }
        cells
    }

    /// `V cells`.
    fn gather(&self, cells: &[f64]) -> Vec<f64> {
        let one = |weights: &Vec<(u32, f32)>| weights.iter().map(|&(c, w)| f64::from(w) * cells[c as usize]).sum();
        self.canaries.iter().map(one).collect()
    }

    /// Solves `(V V^T + 4) x = b` by conjugate gradients.
    fn solve(&self, b: Vec<f64>) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (mut x, mut residual) = (vec![0.0; b.len()], b);
        let (mut direction, mut square) = (residual.clone(), dot(&residual, &residual));
        let enough = 1e-16 * square;
        for _ in 0..ROUNDS {
            if square <= enough {
                break;
            }
            let mut image = self.gather(&self.spread(&direction));
            image.iter_mut().zip(&direction).for_each(|(i, d)| *i += COIN_PRECISION * d);
            let length = square / dot(&direction, &image);
            x.iter_mut().zip(&direction).for_each(|(x, d)| *x += length * d);
            residual.iter_mut().zip(&image).for_each(|(r, i)| *r -= length * i);
            let next = dot(&residual, &residual);
            direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + next / square * *d);
            square = next;
        }
        x
    }

    /// Whether the counts are what the plan says.
    pub fn checks(&self, coins: &[bool]) -> Vec<Check> {
        if self.rest.is_empty() {
            return Vec::new();
        }
        let coins: Vec<f64> = coins.iter().map(|&coin| f64::from(u8::from(coin))).collect();
        let within = self.spread(&coins);
        let squares = self.rest.iter().zip(&within).map(|(rest, within)| (rest - within).powi(2)).sum();
        let noise = chi_squared_below(squares, self.rest.len() as f64);
        // The weight of a canary by least squares.
        let precision: f64 = within.iter().map(|within| within * within).sum();
        let weight = self.rest.iter().zip(&within).map(|(rest, within)| rest * within).sum::<f64>() / precision;
        vec![
            Check::new("counts: noise as large as claimed", noise),
            Check::new("counts: a unit weighs 1", two_sided((weight - 1.0) * precision.sqrt())),
        ]
    }
}

/// Visits the cells of a unit's rows, which share the weight 1.
fn visit_weights<T>(
    data: &T,
    unit: usize,
    cells_of: &dyn Fn(&T, usize, &mut Vec<usize>),
    hit: &mut Vec<usize>,
    mut visit: impl FnMut(usize, f64),
) {
    hit.clear();
    cells_of(data, unit, hit);
    let weight = 1.0 / hit.len().max(1) as f64;
    hit.iter().for_each(|&cell| visit(cell, weight));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::canary::conformity::corrected;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;

    type Rows = Vec<Vec<usize>>;

    /// Forty histograms of 30 cells over 500 members and those of 300 canaries that are in; every unit has three rows.
    /// The counts have noise of `noise_std`, of which 8 is claimed, and a row weighs `row_weight`.
    fn counted(noise_std: f64, row_weight: f64, seed: u64) -> (Vec<(f64, bool)>, bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let coins: Vec<bool> = (0..300).map(|_| rng.random()).collect();
        let mut counts = Counts::default();
        for _ in 0..40 {
            let mut unit = || vec![rng.random_range(0..30); 3];
            let members: Rows = (0..500).map(|_| unit()).collect();
            let candidates: Rows = (0..300).map(|_| unit()).collect();
            let joined = candidates.iter().zip(&coins).filter(|(_, coin)| **coin).map(|(rows, _)| rows.clone());
            let data: Rows = members.into_iter().chain(joined).collect();
            let mut noisy = vec![0.0; 30];
            data.iter().flatten().for_each(|&cell| noisy[cell] += row_weight);
            noisy.iter_mut().for_each(|count| *count += noise_std * rng.sample::<f64, _>(StandardNormal));
            let noisy = Noisy { counts: &noisy, noise_std: 8.0 };
            let cells_of = |data: &Rows, unit: usize, into: &mut Vec<usize>| into.extend(&data[unit]);
            counts.add((&Sensitive::new(data), Vec::len), &candidates, &coins, noisy, &cells_of);
        }
        let passes = corrected(counts.checks(&coins)).iter().all(|test| test.p_holm >= 0.01);
        (counts.scores().into_iter().zip(coins).collect(), passes)
    }

    /// With fixed seeds; for random ones each honest run would fail with probability 0.01.
    #[test]
    fn counts_that_are_not_the_claimed_ones_do_not_conform() {
        for seed in 0..5 {
            assert!(counted(8.0, 1.0 / 3.0, seed).1, "as claimed");
            assert!(!counted(0.0, 1.0 / 3.0, seed).1, "no noise");
            assert!(!counted(0.8, 1.0 / 3.0, seed).1, "a tenth of the noise");
            assert!(!counted(8.0, 1.0, seed).1, "rows are counted, not patients");
        }
    }

    /// Forty histograms at noise 8 are one observation at a distance of sqrt(40) / 8 = 0.8; other canaries make it less.
    #[test]
    fn members_score_higher_by_the_information_in_their_counts() {
        let (scores, _) = counted(8.0, 1.0 / 3.0, 1);
        let mean = |within: bool| {
            let own: Vec<f64> = scores.iter().filter(|(_, coin)| *coin == within).map(|(score, _)| *score).collect();
            own.iter().sum::<f64>() / own.len() as f64
        };
        let difference = mean(true) - mean(false);
        // Log likelihood ratios differ by the squared distance, 0.62; standard error 0.09.
        assert!((0.2..0.9).contains(&difference), "{difference}");
    }
}
