//! One noisy gradient step after another: the release behind DP-SGD.

use crate::rng::{BLOCK, GridGaussian, NoiseKey, nearest};
use crate::subsample::poisson_subsample;
use crate::{Clip, Error, Event, Sensitive};
use rayon::prelude::*;

/// Grid steps per clipping norm: sums and noise are integers on this grid.
const GRID: f64 = (1u64 << 24) as f64;

/// With it the noise stays within [`GridGaussian`]'s range for margins up to 8.
const LARGEST_NOISE_MULTIPLIER: f64 = (1u64 << 20) as f64;

/// How much larger than accounted the noise is, which pays for what rounding
/// adds to the sensitivity. One unit more shifts the tiles of a batch, and with
/// them the single-precision rounding of the whole sum: measured at most
/// 2.0e-6 C a unit of the batch, where all gradients point the same way, and
/// taken nearly four times, since two sums are compared. The grid adds
/// 2^-24 sqrt(parameters) C.
fn sensitivity_margin(expected_batch_size: f64, parameters: usize) -> f64 {
    let summation = expected_batch_size * 2f64.powi(-17);
    let grid = 2f64.powi(-24) * (parameters as f64).sqrt();
    1.0 + (summation + grid).max(1.0 / 1024.0)
}

/// The Poisson-subsampled Gaussian mechanism, step by step (Abadi et al. 2016,
/// arXiv:1607.00133; Mironov, Talwar and Zhang 2019, arXiv:1908.10530).
///
/// Each step draws its units by independent coins, asks for the sum of their
/// clipped contributions, rounds it to a fixed grid, adds integer noise on the
/// same grid, and divides by the *expected* batch size. An empty batch is a
/// step like any other. The grid keeps the gaps of floating-point numbers from
/// showing the sum under the noise (Mironov 2012).
///
/// # Privacy
/// Each step is one planned Poisson-subsampled Gaussian event, sensitivity C, add/remove adjacency.
pub struct SubsampledGaussian {
    name: String,
    clip: Clip,
    sampling_rate: f64,
    noise_multiplier: f64,
    expected_batch_size: f64,
    steps: u64,
    done: u64,
    batch: Vec<u32>,
    coins: NoiseKey,
    noise: NoiseKey,
}

impl SubsampledGaussian {
    /// `done` of the `steps` were taken by another process, under keys that nobody has any more.
    pub(crate) fn new(
        name: String,
        clip: Clip,
        sampling_rate: f64,
        noise_multiplier: f64,
        expected_batch_size: f64,
        steps: u64,
        done: u64,
    ) -> Result<Self, Error> {
        if !(noise_multiplier <= LARGEST_NOISE_MULTIPLIER) {
            return Err(Error::Parameter {
                name: "noise multiplier",
                found: noise_multiplier.to_string(),
                expected: "at most 2^20: a target that needs more noise leaves nothing of the data",
            });
        }
        Ok(Self {
            name,
            clip,
            sampling_rate,
            noise_multiplier,
            expected_batch_size,
            steps,
            done,
            batch: Vec::new(),
            coins: NoiseKey::from_system()?,
            noise: NoiseKey::from_system()?,
        })
    }

    pub(crate) fn event(sampling_rate: f64, noise_multiplier: f64, steps: u64) -> Event {
        Event::Repeated {
            event: Box::new(Event::PoissonSubsampled {
                sampling_rate,
                event: Box::new(Event::Gaussian { noise_multiplier }),
            }),
            count: steps,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Steps taken so far, those of an earlier process among them.
    ///
    /// # Privacy
    /// Public: the number of steps does not depend on the data.
    pub fn steps_done(&self) -> u64 {
        self.done
    }

    /// Half of a step: draws its units and has `clipped_sum(data, units drawn, clip)` add up their contributions, each
    /// the unit's whole one times [`Clip::coefficient`] of its squared norm. The sum may come in parts, to be added in
    /// their order; it comes in none when no unit was drawn.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing: what comes back only opens under noise, in [`ClippedSum::release`].
    /// The step counts as taken.
    ///
    /// # Errors
    /// [`Error::StepsSpent`] when all planned steps were taken.
    pub fn accumulate<'a, T>(
        &'a mut self,
        data: &Sensitive<T>,
        units: impl FnOnce(&T) -> usize,
        clipped_sum: impl FnOnce(&T, &[u32], &Clip) -> &'a [Vec<f32>],
    ) -> Result<ClippedSum<'a>, Error> {
        if self.done >= self.steps {
            return Err(Error::StepsSpent { name: self.name.clone(), planned: self.steps });
        }
        let data = data.expose();
        poisson_subsample(&self.coins, self.done, units(data), self.sampling_rate, &mut self.batch);
        let parts = if self.batch.is_empty() { &[] } else { clipped_sum(data, &self.batch, &self.clip) };
        self.done += 1;
        Ok(ClippedSum { mechanism: self, parts })
    }
}

/// The clipped sum of one step, on its way to the noise.
///
/// # Privacy
/// Sensitive: it has no accessor, no `Debug` and no `Clone`; dropping it releases nothing.
#[must_use = "a step that is not released was spent for nothing"]
pub struct ClippedSum<'a> {
    mechanism: &'a SubsampledGaussian,
    parts: &'a [Vec<f32>],
}

impl ClippedSum<'_> {
    /// Parameters of a block.
    ///
    /// # Privacy
    /// Public parameter.
    pub const BLOCK: usize = BLOCK;

    /// The other half of a step: the noisy mean of the clipped sum, handed out in blocks of [`Self::BLOCK`], each to
    /// `apply` with its item of `blocks`, on all threads. Parts are summed, rounded to the grid, noised and divided
    /// by the expected batch size in one pass.
    ///
    /// # Panics
    /// When `blocks` are not those of `parameters`, or a part has another length; where tens of millions of units are
    /// expected in a batch and the noise multiplier is near the largest, too.
    ///
    /// # Privacy
    /// Releases the mean under one planned Poisson-subsampled Gaussian event, sensitivity C, add/remove adjacency.
    pub fn release<B: IndexedParallelIterator>(
        self,
        parameters: usize,
        blocks: B,
        apply: impl Fn(B::Item, &[f32]) + Sync,
    ) {
        let Self { mechanism, parts } = self;
        assert_eq!(blocks.len(), parameters.div_ceil(BLOCK), "one item a block");
        assert!(parts.iter().all(|part| part.len() == parameters), "one entry a parameter in each part");
        let (key, step, norm) = (&mechanism.noise, mechanism.done - 1, mechanism.clip.norm());
        let per_norm = GRID / norm;
        let margin = sensitivity_margin(mechanism.expected_batch_size, parameters);
        let noise_steps = mechanism.noise_multiplier * margin * GRID;
        let law = GridGaussian::new(noise_steps);
        let scale = norm / GRID / mechanism.expected_batch_size;
        #[cfg(feature = "test-noise")]
        let replayed = crate::tape::is_on().then(|| {
            let mut sums = vec![0.0; parameters];
            parts.iter().for_each(|part| sums.iter_mut().zip(part).for_each(|(sum, &part)| *sum += f64::from(part)));
            let steps = sums.iter().map(|sum| nearest(sum * per_norm)).collect();
            crate::tape::play("DP-SGD step", steps, margin * GRID)
        });
        blocks.enumerate().for_each(|(block, item)| {
            let start = block * BLOCK;
            let length = BLOCK.min(parameters - start);
            let (mut sums, mut noise, mut means) = ([0.0; BLOCK], [0; BLOCK], [0.0; BLOCK]);
            let (sums, noise, means) = (&mut sums[..length], &mut noise[..length], &mut means[..length]);
            for part in parts {
                pulp::Arch::new().dispatch(AddPart { sums, part: &part[start..start + length] });
            }
            #[cfg(feature = "test-noise")]
            if let Some(replayed) = &replayed {
                sums.iter_mut().zip(&replayed[start..]).for_each(|(sum, &steps)| *sum = steps as f64 / per_norm);
            }
            key.integers(step, block as u64, law, noise);
            pulp::Arch::new().dispatch(AddNoise { sums, noise, per_norm, scale, means });
            apply(item, means);
        });
    }
}

/// Adds a part to the sums: single-precision numbers in double precision, where sixteen of them lose nothing that the
/// grid could show.
struct AddPart<'a> {
    sums: &'a mut [f64],
    part: &'a [f32],
}

impl pulp::NullaryFnOnce for AddPart<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.sums.iter_mut().zip(self.part).for_each(|(sum, &part)| *sum += f64::from(part));
    }
}

/// Rounds sums to the grid, adds integer noise and scales what comes out.
struct AddNoise<'a> {
    sums: &'a [f64],
    noise: &'a [i64],
    /// Grid steps per unit of the sums.
    per_norm: f64,
    /// Unit of the means per grid step.
    scale: f64,
    means: &'a mut [f32],
}

impl pulp::NullaryFnOnce for AddNoise<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        // Sums end at 2^27 C, so that they are exact integers; no unit moves a cut sum by more than an uncut one.
        const LARGEST: f64 = (1u64 << 51) as f64;
        for ((mean, sum), noise) in self.means.iter_mut().zip(self.sums).zip(self.noise) {
            let sum = nearest((sum * self.per_norm).clamp(-LARGEST, LARGEST));
            *mean = ((sum + noise) as f64 * self.scale) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mechanism(noise_multiplier: f64, sampling_rate: f64, steps: u64) -> SubsampledGaussian {
        let clip = Clip::new(2.0).unwrap();
        SubsampledGaussian::new("t".into(), clip, sampling_rate, noise_multiplier, 10.0, steps, 0).unwrap()
    }

    /// One whole step over `data`, whose clipped sum is `sum(units)` in every entry.
    fn step(m: &mut SubsampledGaussian, units: usize, length: usize, sum: impl Fn(usize) -> f32) -> Vec<f32> {
        let (mut parts, mut gradient) = (Vec::new(), vec![f32::NAN; length]);
        let data = Sensitive::new(vec![(); units]);
        let summed = m.accumulate(&data, Vec::len, |_, batch, _| {
            parts.push(vec![0.75 * sum(batch.len()); length]);
            parts.push(vec![0.25 * sum(batch.len()); length]);
            &parts
        });
        summed.unwrap().release(length, gradient.par_chunks_mut(BLOCK), |out, mean| out.copy_from_slice(mean));
        gradient
    }

    #[test]
    fn divides_by_the_expected_batch_size_not_the_realised_one() {
        let gradient = step(&mut mechanism(0.0, 1.0, 1), 40, 3, |units| units as f32);
        assert_eq!(gradient, [4.0; 3], "40 units over an expected batch of 10");
    }

    #[test]
    fn an_empty_batch_adds_noise_and_counts() {
        let mut m = mechanism(1.0, 0.5, 2);
        let gradient = step(&mut m, 0, 64, |_| panic!("no unit was drawn"));
        assert!(gradient.iter().all(|&g| g != 0.0));
        assert_eq!(m.steps_done(), 1);
    }

    #[test]
    fn noise_is_fresh_each_step_and_of_the_stated_scale() {
        let mut m = mechanism(5.0, 1.0, 2);
        let (first, second) = (step(&mut m, 4, 20_000, |_| 0.0), step(&mut m, 4, 20_000, |_| 0.0));
        let variance = |x: &[f32]| x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
        // Standard deviation 5 * C / expected batch = 1, times the margin of 0.1 %;
        // four standard errors of the variance are 0.04 (false-alarm rate 1.3e-4).
        for noise in [&first, &second] {
            assert!((variance(noise) - 1.002).abs() < 0.04, "{}", variance(noise));
        }
        let correlation = first.iter().zip(&second).map(|(a, b)| f64::from(a * b)).sum::<f64>() / 20_000.0;
        assert!(correlation.abs() < 0.03, "{correlation}");
        let data = Sensitive::new(vec![(); 4]);
        assert!(m.accumulate(&data, Vec::len, |_, _, _| &[]).is_err(), "no step beyond the plan");
    }

    /// The largest noise is drawn as stated: 64 values within six standard deviations of 2.1e5, and one beyond one
    /// (false-alarm rate 2e-6).
    #[test]
    fn noise_that_no_integer_holds_is_refused() {
        for noise_multiplier in [2e6, f64::NAN] {
            let clip = Clip::new(2.0).unwrap();
            let refused = SubsampledGaussian::new("t".into(), clip, 1.0, noise_multiplier, 10.0, 1, 0);
            assert!(matches!(refused, Err(Error::Parameter { .. })));
        }
        let noisy = step(&mut mechanism(LARGEST_NOISE_MULTIPLIER, 1.0, 1), 4, 64, |_| 0.0);
        assert!(noisy.iter().all(|value| value.abs() < 6.0 * 2e5) && noisy.iter().any(|value| value.abs() > 2e5));
    }

    #[test]
    fn sums_off_the_grid_are_cut_off() {
        let mut means = [0.0; 4];
        let sums = &[1e300, f64::NEG_INFINITY, 3.0, f64::NAN];
        pulp::Arch::new().dispatch(AddNoise { sums, noise: &[5; 4], per_norm: 2.0, scale: 1.0, means: &mut means });
        assert_eq!(means[..3], [2f32.powi(51), -(2f32.powi(51)), 11.0]);
        assert!(means[3].is_finite());
    }

    #[test]
    fn outputs_lie_on_the_grid() {
        for value in step(&mut mechanism(1.0, 1.0, 1), 4, 128, |_| 0.123_456_7) {
            let steps = f64::from(value) * 10.0 * GRID / 2.0;
            // Single precision keeps 24 bits, the grid value may have a few more.
            assert!((steps - steps.round()).abs() < 1e-6 * steps.abs().max(1.0), "{steps}");
        }
    }
}
