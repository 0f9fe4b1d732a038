//! The law of the latent numbers that generation draws from.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::Vae;
use super::loss::{VaeBuffers, VaeLoss};
use crate::encode::Codes;
use crate::error::Result;
use crate::nn::{Matrix, Network, Tensor, find_tensor};

/// Variances of the prior below this are lifted to it.
const LEAST_VARIANCE: f64 = 1e-3;
/// A component lighter than this many standard deviations of the noise is dropped.
const HEAVY: f64 = 6.0;

/// A mixture of normal laws with one covariance: `mean_k + cholesky e` with standard normal `e`, `k` drawn by weight.
///
/// The factor is lower triangular and the shared numbers come first, so that several rows of a unit are drawn from
/// the same component with the same leading part of `e` and fresh rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    latent: usize,
    /// Cumulative weights of the components; the last one is 1.
    cumulative: Vec<f32>,
    /// `components x latent`.
    means: Vec<f32>,
    /// `latent x latent`, row-major, lower triangular.
    cholesky: Vec<f32>,
}

impl Vae {
    /// Length of [`Vae::latent_moments`] under a prior of so many components.
    pub fn moments(&self, components: usize) -> usize {
        let latent = self.settings.latent;
        components * (1 + latent) + latent * (latent + 1) / 2
    }

    /// What a unit says about the prior, with norm at most 1: which component of `prior` it belongs to, its latent
    /// numbers `z` in that component's place, and their products, averaged over its rows:
    /// `[1_k, 1_k z / R, vec(z z^T) / R^2] / sqrt 3` for `z` cut to norm `R`. Off-diagonal products come once, times
    /// `sqrt 2`.
    ///
    /// The sum over units, released with Gaussian noise, is what [`Prior::refined`] reads.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn latent_moments(
        &self,
        parameters: &[f32],
        prior: &Prior,
        codes: &Codes,
        unit: usize,
        seed: u64,
        out: &mut [f64],
    ) {
        let (latent, components) = (self.settings.latent, prior.components());
        assert_eq!(out.len(), self.moments(components), "one entry a moment");
        let mut buffers = VaeBuffers::default();
        let loss = VaeLoss { vae: self, codes, seed, step: u32::MAX };
        let unit = unit as u32;
        let rows = loss.rows(unit);
        out.fill(0.0);
        if rows == 0 {
            return;
        }
        loss.encode(parameters, &[unit], &mut buffers);
        let z = buffers.latent();
        let component = prior.most_likely(z);
        let radius = self.latent_radius();
        let weight = 1.0 / (3f64.sqrt() * rows as f64);
        out[component] = weight * rows as f64;
        let (firsts, seconds) = out[components..].split_at_mut(components * latent);
        let firsts = &mut firsts[component * latent..(component + 1) * latent];
        for r in 0..rows {
            let z = z.row(r);
            let norm = squared_norm(z).sqrt();
            let scale = if norm.is_finite() { 1.0 / norm.max(radius) } else { 0.0 };
            let z: Vec<f64> = z.iter().map(|&v| if scale > 0.0 { f64::from(v) * scale } else { 0.0 }).collect();
            firsts.iter_mut().zip(&z).for_each(|(o, v)| *o += weight * v);
            for (o, (i, j)) in seconds.iter_mut().zip(lower_triangle(latent)) {
                let twice = if i == j { 1.0 } else { std::f64::consts::SQRT_2 };
                *o += weight * twice * z[i] * z[j];
            }
        }
    }

    /// Latent vectors are cut to this norm in the moments: a standard normal vector is longer in fewer than one
    /// case in a hundred.
    fn latent_radius(&self) -> f64 {
        (self.settings.latent as f64).sqrt() + 1.7
    }
}

fn squared_norm(z: &[f32]) -> f64 {
    z.iter().map(|&v| f64::from(v).powi(2)).sum()
}

/// Row and column of each entry of a lower triangle, row by row.
fn lower_triangle(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(|i| (0..=i).map(move |j| (i, j)))
}

impl Prior {
    /// `N(0, I)`.
    pub fn standard(latent: usize) -> Self {
        let cholesky = (0..latent * latent).map(|i| if i / latent == i % latent { 1.0 } else { 0.0 }).collect();
        Self { latent, cumulative: vec![1.0], means: vec![0.0; latent], cholesky }
    }

    pub fn components(&self) -> usize {
        self.cumulative.len()
    }

    /// The same law cut in `components` pieces of equal weight, with means drawn from it: where to start looking for
    /// clusters.
    pub fn split(&self, components: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut normal, mut means) = (vec![0.0; self.latent], vec![0.0; components * self.latent]);
        means.chunks_exact_mut(self.latent).for_each(|mean| self.draw(&mut rng, 0, 0, &mut normal, mean));
        let cumulative = (1..=components).map(|k| k as f32 / components as f32).collect();
        Self { latent: self.latent, cumulative, means, cholesky: self.cholesky.clone() }
    }

    /// Reads the noisy sum over units of [`Vae::latent_moments`] taken under this prior. Components too light
    /// for the noise, of standard deviation `noise_std` in each sum, are dropped; the covariance is moved to the nearest one
    /// with a variance of at least [`LEAST_VARIANCE`] in every direction.
    ///
    /// # Privacy
    /// Post-processing.
    ///
    /// # Panics
    /// When `sums` does not have [`Vae::moments`] numbers.
    #[must_use]
    pub fn refined(&self, vae: &Vae, sums: &[f64], noise_std: f64) -> Self {
        let (latent, components, radius) = (self.latent, self.components(), vae.latent_radius());
        assert_eq!(sums.len(), vae.moments(components), "one sum a moment");
        let (counts, rest) = sums.split_at(components);
        let (firsts, seconds) = rest.split_at(components * latent);
        let total = counts.iter().sum::<f64>().max(1.0);
        let heavy = |k: &usize| components == 1 || counts[*k] > HEAVY * noise_std + 1.0;
        let kept: Vec<usize> = (0..components).filter(heavy).collect();
        if kept.is_empty() {
            return self.clone();
        }
        let kept_total: f64 = kept.iter().map(|&k| counts[k].max(1.0)).sum();
        let (mut cumulative, mut means, mut sum) = (Vec::new(), Vec::new(), 0.0);
        let mut covariance = vec![0.0; latent * latent];
        for (s, (i, j)) in seconds.iter().zip(lower_triangle(latent)) {
            let once = if i == j { 1.0 } else { std::f64::consts::FRAC_1_SQRT_2 };
            covariance[i * latent + j] = s * once * radius * radius / total;
            covariance[j * latent + i] = covariance[i * latent + j];
        }
        for &k in &kept {
            let count = counts[k].max(1.0);
            let mean: Vec<f64> =
                firsts[k * latent..(k + 1) * latent].iter().map(|s| s * radius / count).collect();
            let weight = count / kept_total;
            sum += weight;
            cumulative.push(sum as f32);
            for i in 0..latent {
                (0..latent).for_each(|j| covariance[i * latent + j] -= weight * mean[i] * mean[j]);
            }
            means.extend(mean.iter().map(|&m| m as f32));
        }
        let cholesky = cholesky(&lift_eigenvalues(covariance, latent, LEAST_VARIANCE), latent);
        Self { latent, cumulative, means, cholesky }
    }

    /// Component that gives the rows of a unit, together, the highest density.
    fn most_likely(&self, z: &Matrix) -> usize {
        let mut best = (f64::NEG_INFINITY, 0);
        for (k, mean) in self.means.chunks_exact(self.latent).enumerate() {
            let weight = self.cumulative[k] - if k == 0 { 0.0 } else { self.cumulative[k - 1] };
            let mut score = f64::from(weight).ln();
            for r in 0..z.rows() {
                score -= 0.5 * self.squared_distance(z.row(r), mean);
            }
            if score > best.0 {
                best = (score, k);
            }
        }
        best.1
    }

    /// Mahalanobis distance, by forward substitution.
    fn squared_distance(&self, z: &[f32], mean: &[f32]) -> f64 {
        let mut solved = vec![0.0f64; self.latent];
        for i in 0..self.latent {
            let row = &self.cholesky[i * self.latent..(i + 1) * self.latent];
            let done: f64 = row[..i].iter().zip(&solved).map(|(&c, s)| f64::from(c) * s).sum();
            solved[i] = (f64::from(z[i] - mean[i]) - done) / f64::from(row[i]);
        }
        solved.iter().map(|s| s * s).sum()
    }

    /// Draws a component.
    pub(super) fn component(&self, rng: &mut ChaCha8Rng) -> usize {
        let u: f32 = rng.random();
        self.cumulative.iter().position(|&c| u < c).unwrap_or(self.components() - 1)
    }

    /// Draws latent numbers into `z`. `normal` holds the standard normal numbers of the unit's last row; the first
    /// `keep` of them are used again.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng, component: usize, keep: usize, normal: &mut [f32], z: &mut [f32]) {
        normal[keep..].fill_with(|| rng.sample(StandardNormal));
        let mean = &self.means[component * self.latent..(component + 1) * self.latent];
        for (i, ((z, mean), row)) in z.iter_mut().zip(mean).zip(self.cholesky.chunks_exact(self.latent)).enumerate() {
            *z = mean + row[..=i].iter().zip(&*normal).map(|(c, e)| c * e).sum::<f32>();
        }
    }

    pub(super) fn tensors(&self) -> [Tensor; 3] {
        let (latent, components) = (self.latent, self.components());
        [
            ("prior.cumulative".to_owned(), vec![1, components], self.cumulative.clone()),
            ("prior.means".to_owned(), vec![components, latent], self.means.clone()),
            ("prior.cholesky".to_owned(), vec![latent, latent], self.cholesky.clone()),
        ]
    }

    pub(super) fn from_tensors(latent: usize, tensors: &[Tensor]) -> Result<Self> {
        let components = tensors.iter().find(|(name, ..)| name == "prior.cumulative").map_or(1, |(_, _, v)| v.len());
        let components = components.max(1);
        let cumulative = find_tensor(tensors, "prior.cumulative", &[1, components])?.to_vec();
        let means = find_tensor(tensors, "prior.means", &[components, latent])?.to_vec();
        let cholesky = find_tensor(tensors, "prior.cholesky", &[latent, latent])?.to_vec();
        Ok(Self { latent, cumulative, means, cholesky })
    }
}

/// The nearest symmetric matrix (Frobenius) whose eigenvalues are at least `least`, by cyclic Jacobi rotations.
fn lift_eigenvalues(mut a: Vec<f64>, n: usize, least: f64) -> Vec<f64> {
    const SWEEPS: usize = 30;
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    for _ in 0..SWEEPS {
        for p in 0..n {
            for q in p + 1..n {
                let off = a[p * n + q];
                if off.abs() < 1e-300 {
                    continue;
                }
                let ratio = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
                let tangent = ratio.signum() / (ratio.abs() + (ratio * ratio + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    (a[k * n + p], a[k * n + q]) = (cosine * x - sine * y, sine * x + cosine * y);
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    (a[p * n + k], a[q * n + k]) = (cosine * x - sine * y, sine * x + cosine * y);
                    let (x, y) = (vectors[k * n + p], vectors[k * n + q]);
                    (vectors[k * n + p], vectors[k * n + q]) = (cosine * x - sine * y, sine * x + cosine * y);
                }
            }
        }
    }
    let mut lifted = vec![0.0; n * n];
    for e in 0..n {
        let value = a[e * n + e].max(least);
        for i in 0..n {
            for j in 0..n {
                lifted[i * n + j] += value * vectors[i * n + e] * vectors[j * n + e];
            }
        }
    }
    lifted
}

/// Lower triangular `L` with `L L^T = a`, for a positive definite `a`.
fn cholesky(a: &[f64], n: usize) -> Vec<f32> {
    let mut factor = vec![0.0f64; n * n];
    for (i, j) in lower_triangle(n) {
        let done: f64 = (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
        let rest = a[i * n + j] - done;
        factor[i * n + j] = if i == j { rest.max(0.0).sqrt() } else { rest / factor[j * n + j].max(1e-12) };
    }
    factor.iter().map(|&v| v as f32).collect()
}
