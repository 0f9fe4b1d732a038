//! Poisson subsampling of units: each joins a step on its own coin, and gets a
//! secret place in its batch.

use crate::rng::NoiseKey;
use rand_core::RngCore;

/// A unit that joins a step. Units are in the order of their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Drawn {
    /// Uniform and independent of all other units: see [`leaves`](crate::leaves).
    pub(crate) place: u32,
    pub(crate) unit: u32,
}

/// Draws the units of one step: unit `u` is in with probability `sampling_rate`,
/// independently of every other unit and step. A batch may be empty.
///
/// The coin compares 64 random bits with `sampling_rate * 2^64`, so the
/// probability is right to 2^-53 relative. Never a shuffle, never a fixed size:
/// the accountant's amplification holds for this sampler and no other.
///
/// A coin that fell for its unit is uniform below that threshold: how far below
/// is the unit's place.
pub(crate) fn poisson_subsample(key: &NoiseKey, step: u64, units: usize, sampling_rate: f64, batch: &mut Vec<Drawn>) {
    batch.clear();
    let all = sampling_rate >= 1.0;
    let threshold = if all { u64::MAX } else { (sampling_rate * 2f64.powi(64)) as u64 };
    let per_place = 2f64.powi(32) / threshold as f64;
    let mut rng = key.stream(step);
    batch.extend((0..units as u32).filter_map(|unit| {
        let coin = rng.next_u64();
        (all || coin < threshold).then_some(Drawn { place: (coin as f64 * per_place) as u32, unit })
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batch sizes over 400 steps of 1,000 units at rate 0.05: mean 50 and
    /// variance 47.5 (binomial); both within four standard errors (false-alarm
    /// rate 1.3e-4 for random keys). A fixed batch size would have variance 0.
    #[test]
    fn sizes_are_binomial() {
        let key = NoiseKey::from_system().unwrap();
        let mut batch = Vec::new();
        let sizes: Vec<f64> = (0..400)
            .map(|step| {
                poisson_subsample(&key, step, 1000, 0.05, &mut batch);
                batch.len() as f64
            })
            .collect();
        let mean = sizes.iter().sum::<f64>() / 400.0;
        let variance = sizes.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 399.0;
        assert!((mean - 50.0).abs() < 4.0 * (47.5f64 / 400.0).sqrt(), "{mean}");
        assert!((variance - 47.5).abs() < 4.0 * 47.5 * (2.0f64 / 399.0).sqrt(), "{variance}");
    }

    #[test]
    fn steps_draw_different_units_and_may_be_empty() {
        let key = NoiseKey::from_system().unwrap();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        poisson_subsample(&key, 1, 1000, 0.5, &mut a);
        poisson_subsample(&key, 2, 1000, 0.5, &mut b);
        assert_ne!(a, b);
        let empty = (0..200)
            .filter(|&step| {
                poisson_subsample(&key, step, 10, 0.05, &mut a);
                a.is_empty()
            })
            .count();
        assert!(empty > 60 && empty < 180, "about 60 % of such batches are empty, found {empty} of 200");
        poisson_subsample(&key, 1, 7, 1.0, &mut a);
        assert_eq!(a.iter().map(|drawn| drawn.unit).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    }

    /// 20,000 places of units drawn at each rate, in sixteen cells: chi-square of
    /// 15 degrees of freedom, above 56 with probability 1.2e-6.
    #[test]
    fn places_are_uniform_at_any_rate() {
        let key = NoiseKey::from_system().unwrap();
        for rate in [0.01, 0.3, 1.0] {
            let (mut batch, mut cells, mut count) = (Vec::new(), [0.0f64; 16], 0.0);
            for step in 0.. {
                poisson_subsample(&key, step, 20_000, rate, &mut batch);
                batch.iter().for_each(|drawn| cells[(drawn.place >> 28) as usize] += 1.0);
                count += batch.len() as f64;
                if count >= 20_000.0 {
                    break;
                }
            }
            let chi_square: f64 = cells.iter().map(|cell| (cell - count / 16.0).powi(2) / (count / 16.0)).sum();
            assert!(chi_square < 56.0, "{rate}: {chi_square}");
        }
    }
}
