//! A noisy sum of one clipped vector per unit.

use super::integer_noise::add_discrete_gaussian;
use crate::{Clip, Error, Event, Released, Sensitive};
use rayon::prelude::*;

/// The clipping norm in grid steps: vectors are rounded towards zero to this grid.
const GRID: i64 = 1 << 20;

/// Units that a thread takes at once; without influence on the sum.
const UNITS_PER_TASK: usize = 1024;

/// The Gaussian mechanism on a sum of vectors, each unit's vector clipped to
/// the norm and rounded towards zero to a fixed grid, so that the integer sum
/// is exact and its L2 sensitivity is at most the norm, rounding included: a
/// norm in `f64` and a product are off by far less than the 2^-12 that the clip
/// takes off, and rounding towards zero only shortens. 2^32 units of 2^20 grid
/// steps stay below 2^63. `contribution` may depend on its unit alone.
///
/// # Privacy
/// One release is one planned discrete Gaussian event, sensitivity C, add/remove adjacency.
pub struct GaussianSum {
    clip: Clip,
    noise_multiplier: f64,
}

impl GaussianSum {
    pub(crate) fn new(clip: Clip, noise_multiplier: f64) -> Self {
        Self { clip, noise_multiplier }
    }

    pub(crate) fn event(noise_multiplier: f64) -> Event {
        Event::DiscreteGaussian { sigma: noise_multiplier * GRID as f64, sensitivity: GRID as u64 }
    }

    /// Standard deviation of the noise on each component of the sum.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn noise_std(&self) -> f64 {
        self.noise_multiplier * self.clip.norm()
    }

    /// Sums `contribution(room, data, unit, vector)` over all units, each clipped, and
    /// releases the noisy sum. `vector` arrives as `dimension` zeros, and `room` is made once for many units. The sum is one
    /// of integers, so threads change nothing.
    ///
    /// # Privacy
    /// Releases one planned discrete Gaussian event, sensitivity C, add/remove adjacency.
    pub fn release<T: Sync, R: Send>(
        self,
        data: &Sensitive<T>,
        units: impl FnOnce(&T) -> usize,
        dimension: usize,
        room: impl Fn() -> R + Sync,
        contribution: impl Fn(&mut R, &T, usize, &mut [f64]) + Sync,
    ) -> Result<Released<Vec<f64>>, Error> {
        let data = data.expose();
        let start = || (vec![0i64; dimension], vec![0.0; dimension], room());
        let add = |(mut sum, mut vector, mut room): (Vec<i64>, Vec<f64>, R), unit: usize| {
            vector.fill(0.0);
            contribution(&mut room, data, unit, &mut vector);
            for (total, steps) in sum.iter_mut().zip(clipped_to_grid(&vector, &self.clip)) {
                *total += steps;
            }
            (sum, vector, room)
        };
        let sums = (0..units(data)).into_par_iter().with_min_len(UNITS_PER_TASK).fold(start, add).map(|(sum, ..)| sum);
        let sum = sums.reduce(
            || vec![0; dimension],
            |mut sum, other| {
                sum.iter_mut().zip(other).for_each(|(total, steps)| *total += steps);
                sum
            },
        );
        #[cfg(feature = "test-noise")]
        let sum = crate::tape::play("gaussian sum", sum, GRID as f64);
        let noisy = add_discrete_gaussian(&sum, self.noise_multiplier * GRID as f64)?;
        let step = self.clip.norm() / GRID as f64;
        Ok(Released::by_mechanism(noisy.into_iter().map(|x| x as f64 * step).collect()))
    }
}

/// The clipped vector in grid steps, rounded towards zero.
fn clipped_to_grid<'a>(vector: &'a [f64], clip: &Clip) -> impl Iterator<Item = i64> + 'a {
    let factor = f64::from(clip.coefficient(vector.iter().map(|x| x * x).sum()));
    let steps = factor * GRID as f64 / clip.norm();
    // A non-finite vector has factor 0, and 0 * infinity is NaN, which casts to 0.
    vector.iter().map(move |x| (x * steps) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_clipped_vectors() {
        let data = Sensitive::new(vec![[3.0, 4.0], [0.3, 0.4], [f64::INFINITY, 1.0]]);
        let sum = GaussianSum::new(Clip::new(1.0).unwrap(), 1e-4)
            .release(&data, Vec::len, 2, || (), |_, d, u, v| v.copy_from_slice(&d[u]))
            .unwrap()
            .into_inner();
        assert!((sum[0] - 0.9).abs() < 2e-3 && (sum[1] - 1.2).abs() < 2e-3, "{sum:?}");
    }

    /// 2,000 empty sums at noise multiplier 5 and norm 2: the variance is 100
    /// within four standard errors (false-alarm rate 6e-5).
    #[test]
    fn noise_has_the_stated_scale() {
        let data = Sensitive::new(Vec::<usize>::new());
        let sum = GaussianSum::new(Clip::new(2.0).unwrap(), 5.0);
        assert_eq!(sum.noise_std(), 10.0);
        let sums = sum.release(&data, Vec::len, 2000, || (), |_, _, _, _| ()).unwrap().into_inner();
        let variance = sums.iter().map(|c| c * c).sum::<f64>() / 2000.0;
        assert!((variance / 100.0 - 1.0).abs() < 4.0 * (2.0f64 / 2000.0).sqrt(), "{variance}");
    }

    /// Many tasks: each unit is summed once.
    #[test]
    fn all_units_are_summed() {
        let units = 5 * UNITS_PER_TASK + 3;
        let data = Sensitive::new(vec![0.5; units]);
        let clip = Clip::new(1.0).unwrap();
        let one: i64 = clipped_to_grid(&[0.5], &clip).sum();
        let sum = GaussianSum::new(clip, 1e-4)
            .release(
                &data,
                Vec::len,
                1,
                || 0,
                |seen, d, u, v| {
                    *seen += 1;
                    v[0] = d[u];
                },
            )
            .unwrap()
            .into_inner();
        let expected = units as f64 * one as f64 / GRID as f64;
        assert!((sum[0] - expected).abs() < 0.01, "{sum:?} {expected}");
    }

    proptest! {
        #[test]
        fn a_unit_never_exceeds_the_norm_on_the_grid(
            vector in prop::collection::vec(prop_oneof![-1e6f64..1e6, -1e-9f64..1e-9, Just(f64::NAN), Just(f64::INFINITY)], 1..60),
            norm in 1e-3f64..1e3,
        ) {
            let clip = Clip::new(norm).unwrap();
            let squared: i128 = clipped_to_grid(&vector, &clip).map(|s| i128::from(s).pow(2)).sum();
            prop_assert!(squared <= i128::from(GRID).pow(2));
        }
    }
}
