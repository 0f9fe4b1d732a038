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

/// What all noisy counts of a fit said so far.
///
/// A canary in the table adds the weight 1 to its cells of each histogram. Whoever knows all others knows the counts
/// without it, up to the other canaries' coins, and what is left is Gaussian: the log likelihood ratio of a canary is
/// the sum, over its cells, of what is left over the variance of the noise, half the expected canaries taken away.
#[derive(Default)]
pub struct Counts {
    /// Log likelihood ratio of each canary, were the others' coins no further noise.
    ratios: Vec<f64>,
    /// Mean of each ratio's difference between in and out, which is also its variance by noise.
    information: Vec<f64>,
    /// Residuals, coins known, in standard deviations: the sum of their squares, and their number.
    squares: f64,
    cells: f64,
    /// The weight of a canary by least squares: numerator and denominator.
    weight: f64,
    precision: f64,
}

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
        self.ratios.resize(coins.len(), 0.0);
        self.information.resize(coins.len(), 0.0);
        let within = coins.iter().filter(|coin| **coin).count();
        let members = |data: &T| weights(data, units(data) - within, counts.len(), cells_of);
        let own = data.map_ref(members).for_controller();
        let rest: Vec<f64> = counts.iter().zip(own).map(|(noisy, own)| noisy - own).collect();
        let (mut all, mut within) = (vec![0.0; counts.len()], vec![0.0; counts.len()]);
        let mut hit = Vec::new();
        let mut of_candidate = |canary: usize, visit: &mut dyn FnMut(usize, f64)| {
            hit.clear();
            cells_of(candidates, canary, &mut hit);
            let weight = 1.0 / hit.len().max(1) as f64;
            hit.iter().filter(|&&cell| cell < counts.len()).for_each(|&cell| visit(cell, weight));
        };
        for (canary, &coin) in coins.iter().enumerate() {
            of_candidate(canary, &mut |cell, weight| {
                all[cell] += weight;
                within[cell] += if coin { weight } else { 0.0 };
            });
        }
        let precision = noise_std.powi(-2);
        for canary in 0..coins.len() {
            let mut own: Vec<(usize, f64)> = Vec::new();
            of_candidate(canary, &mut |cell, weight| match own.iter_mut().find(|(known, _)| *known == cell) {
                Some((_, sum)) => *sum += weight,
                None => own.push((cell, weight)),
            });
            for (cell, weight) in own {
                self.ratios[canary] += precision * weight * (rest[cell] - 0.5 * all[cell]);
                self.information[canary] += precision * weight * weight;
            }
        }
        for (rest, within) in rest.iter().zip(&within) {
            self.squares += precision * (rest - within).powi(2);
            self.weight += precision * within * rest;
            self.precision += precision * within * within;
        }
        self.cells += counts.len() as f64;
    }

    /// Log likelihood ratio of each canary; empty where nothing was counted. The other canaries' coins count as further
    /// noise, as much as the ratios themselves show.
    pub fn scores(&self) -> Vec<f64> {
        let count = self.ratios.len().max(1) as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
        let (center, information) = (mean(&self.ratios), mean(&self.information));
        let variance = self.ratios.iter().map(|ratio| (ratio - center).powi(2)).sum::<f64>() / count;
        let by_noise = (variance - 0.25 * information.powi(2)).max(information);
        let trust = if by_noise > 0.0 { information / by_noise } else { 0.0 };
        self.ratios.iter().map(|ratio| trust * ratio).collect()
    }

    /// Whether the counts are what the plan says.
    pub fn checks(&self) -> Vec<Check> {
        if self.cells == 0.0 {
            return Vec::new();
        }
        let noise = Check::new("counts: noise as large as claimed", chi_squared_below(self.squares, self.cells));
        let z = (self.weight / self.precision - 1.0) * self.precision.sqrt();
        let weight = (self.precision > 0.0).then(|| Check::new("counts: a unit weighs 1", two_sided(z)));
        [Some(noise), weight].into_iter().flatten().collect()
    }
}

/// The weight in each cell: a unit's rows share 1.
fn weights<T>(data: &T, units: usize, cells: usize, cells_of: &dyn Fn(&T, usize, &mut Vec<usize>)) -> Vec<f64> {
    let (mut weights, mut hit) = (vec![0.0f64; cells], Vec::new());
    for unit in 0..units {
        hit.clear();
        cells_of(data, unit, &mut hit);
        let weight = 1.0 / hit.len().max(1) as f64;
        hit.iter().filter(|&&cell| cell < cells).for_each(|&cell| weights[cell] += weight);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::canary::conformity::holm;
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
        let passes = holm(counts.checks()).iter().all(|test| test.p_holm >= 0.01);
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
