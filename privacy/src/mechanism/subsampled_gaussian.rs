//! One noisy gradient step after another: the release behind DP-SGD.

use crate::rng::{BLOCK, NoiseKey};
use crate::subsample::poisson_subsample;
use crate::{Clip, Error, Event, Sensitive};
use rayon::prelude::*;

/// Grid steps per clipping norm: sums and noise are integers on this grid.
const GRID: f64 = (1u64 << 24) as f64;

/// How much larger than accounted the noise is, which pays for what rounding
/// adds to the sensitivity. One unit more shifts the tiles of a batch, and with
/// them the single-precision rounding of the whole sum: measured at most
/// 1.2e-7 C a unit of the batch, where all gradients point the same way;
/// taken twice. The grid adds 2^-24 sqrt(parameters) C.
fn sensitivity_margin(expected_batch_size: f64, parameters: usize) -> f64 {
    let summation = expected_batch_size * 2f64.powi(-22);
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
    pub(crate) fn new(
        name: String,
        clip: Clip,
        sampling_rate: f64,
        noise_multiplier: f64,
        expected_batch_size: f64,
        steps: u64,
    ) -> Result<Self, Error> {
        Ok(Self {
            name,
            clip,
            sampling_rate,
            noise_multiplier,
            expected_batch_size,
            steps,
            done: 0,
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

    /// Steps taken so far.
    ///
    /// # Privacy
    /// Public: the number of steps does not depend on the data.
    pub fn steps_done(&self) -> u64 {
        self.done
    }

    /// One step: `gradient` becomes the noisy mean of the clipped sum that
    /// `clipped_sum(data, units drawn, clip, sum)` adds up in `sum` (zeros at
    /// the start; the unit's whole contribution times [`Clip::coefficient`] of
    /// its squared norm).
    ///
    /// # Privacy
    /// Releases `gradient` under one planned Poisson-subsampled Gaussian event,
    /// sensitivity C, add/remove adjacency.
    ///
    /// # Errors
    /// [`Error::StepsSpent`] when all planned steps were taken.
    pub fn step<T>(
        &mut self,
        data: &Sensitive<T>,
        units: impl FnOnce(&T) -> usize,
        gradient: &mut [f32],
        clipped_sum: impl FnOnce(&T, &[u32], &Clip, &mut [f32]),
    ) -> Result<(), Error> {
        if self.done >= self.steps {
            return Err(Error::StepsSpent { name: self.name.clone(), planned: self.steps });
        }
        let data = data.expose();
        poisson_subsample(&self.coins, self.done, units(data), self.sampling_rate, &mut self.batch);
        gradient.fill(0.0);
        if !self.batch.is_empty() {
            clipped_sum(data, &self.batch, &self.clip, gradient);
        }
        let (key, step) = (&self.noise, self.done);
        let per_norm = GRID / self.clip.norm();
        let margin = sensitivity_margin(self.expected_batch_size, gradient.len());
        let noise_steps = self.noise_multiplier * margin * GRID;
        let scale = self.clip.norm() / GRID / self.expected_batch_size;
        gradient.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
            let mut normals = [0.0; BLOCK];
            let normals = &mut normals[..out.len()];
            key.gaussians(step, block as u64, normals);
            for (value, &normal) in out.iter_mut().zip(normals.iter()) {
                let sum = (f64::from(*value) * per_norm).round() as i64;
                let noisy = sum.saturating_add((normal * noise_steps).round() as i64);
                *value = (noisy as f64 * scale) as f32;
            }
        });
        self.done += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mechanism(noise_multiplier: f64, sampling_rate: f64, steps: u64) -> SubsampledGaussian {
        let clip = Clip::new(2.0).unwrap();
        SubsampledGaussian::new("t".into(), clip, sampling_rate, noise_multiplier, 10.0, steps).unwrap()
    }

    #[test]
    fn divides_by_the_expected_batch_size_not_the_realised_one() {
        let data = Sensitive::new(vec![(); 40]);
        let mut gradient = [0.0f32; 3];
        let mut m = mechanism(0.0, 1.0, 1);
        m.step(&data, Vec::len, &mut gradient, |_, units, _, sum| sum.fill(units.len() as f32)).unwrap();
        assert_eq!(gradient, [4.0; 3], "40 units over an expected batch of 10");
    }

    #[test]
    fn an_empty_batch_adds_noise_and_counts() {
        let data = Sensitive::new(Vec::<()>::new());
        let mut gradient = [0.0f32; 64];
        let mut m = mechanism(1.0, 0.5, 2);
        m.step(&data, Vec::len, &mut gradient, |_, _, _, _| panic!("no unit was drawn")).unwrap();
        assert!(gradient.iter().all(|&g| g != 0.0));
        assert_eq!(m.steps_done(), 1);
    }

    #[test]
    fn noise_is_fresh_each_step_and_of_the_stated_scale() {
        let data = Sensitive::new(vec![(); 4]);
        let mut m = mechanism(5.0, 1.0, 2);
        let (mut first, mut second) = (vec![0.0f32; 20_000], vec![0.0f32; 20_000]);
        m.step(&data, Vec::len, &mut first, |_, _, _, _| ()).unwrap();
        m.step(&data, Vec::len, &mut second, |_, _, _, _| ()).unwrap();
        let variance = |x: &[f32]| x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
        // Standard deviation 5 * C / expected batch = 1, times the margin of 0.1 %;
        // four standard errors of the variance are 0.04 (false-alarm rate 1.3e-4).
        for noise in [&first, &second] {
            assert!((variance(noise) - 1.002).abs() < 0.04, "{}", variance(noise));
        }
        let correlation = first.iter().zip(&second).map(|(a, b)| f64::from(a * b)).sum::<f64>() / 20_000.0;
        assert!(correlation.abs() < 0.03, "{correlation}");
        assert!(m.step(&data, Vec::len, &mut first, |_, _, _, _| ()).is_err(), "no step beyond the plan");
    }

    #[test]
    fn outputs_lie_on_the_grid() {
        let data = Sensitive::new(vec![(); 4]);
        let mut m = mechanism(1.0, 1.0, 1);
        let mut gradient = [0.0f32; 128];
        m.step(&data, Vec::len, &mut gradient, |_, _, _, sum| sum.fill(0.123_456_7)).unwrap();
        for value in gradient {
            let steps = f64::from(value) * 10.0 * GRID / 2.0;
            // Single precision keeps 24 bits, the grid value may have a few more.
            assert!((steps - steps.round()).abs() < 1e-6 * steps.abs().max(1.0), "{steps}");
        }
    }
}
