//! Poisson subsampling of units: each joins a step on its own coin.

use crate::rng::NoiseKey;
use rand_core::RngCore;

/// Draws the units of one step: unit `u` is in with probability `sampling_rate`,
/// independently of every other unit and step. A batch may be empty.
///
/// The coin compares 64 random bits with `sampling_rate * 2^64`, so the
/// probability is right to 2^-53 relative. Never a shuffle, never a fixed size:
/// the accountant's amplification holds for this sampler and no other.
pub(crate) fn poisson_subsample(key: &NoiseKey, step: u64, units: usize, sampling_rate: f64, batch: &mut Vec<u32>) {
    batch.clear();
    if sampling_rate >= 1.0 {
        batch.extend(0..units as u32);
        return;
    }
    let threshold = (sampling_rate * 2f64.powi(64)) as u64;
    let mut rng = key.stream(step);
    batch.extend((0..units as u32).filter(|_| rng.next_u64() < threshold));
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
        assert_eq!(a, [0, 1, 2, 3, 4, 5, 6]);
    }
}
