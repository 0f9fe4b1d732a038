//! The law of the latent numbers that generation draws from.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::Vae;
use super::loss::{VaeBuffers, VaeLoss};
use crate::encode::CodeStore;
use crate::error::Result;
use crate::nn::{Network, Tensor, find_tensor};

/// Variances of the prior below this are lifted to it.
const LEAST_VARIANCE: f64 = 1e-3;

/// A normal law over the latent numbers: `mean + cholesky e` with standard normal `e`.
///
/// The factor is lower triangular and the shared numbers come first, so that several rows of a unit are drawn with
/// the same leading part of `e` and a fresh rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    mean: Vec<f32>,
    /// `latent x latent`, row-major, lower triangular.
    cholesky: Vec<f32>,
}

impl Vae {
    /// Length of [`Vae::latent_moments`].
    pub fn moments(&self) -> usize {
        let latent = self.settings.latent;
        latent + latent * (latent + 1) / 2
    }

    /// First and second moments of a unit's latent numbers, averaged over its rows, of norm at most 1:
    /// `[z / R, vec(z z^T) / R^2] / sqrt 2` for `z` cut to norm `R`. Off-diagonal products come once, times `sqrt 2`.
    ///
    /// The sum over units, released with Gaussian noise, is what [`Prior::from_moments`] reads.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn latent_moments(
        &self,
        parameters: &[f32],
        codes: &CodeStore,
        unit: usize,
        key: [u8; 32],
        buffers: &mut VaeBuffers,
        out: &mut [f64],
    ) {
        assert_eq!(out.len(), self.moments(), "one entry a moment");
        let (latent, unit) = (self.settings.latent, unit as u32);
        let loss = VaeLoss { vae: self, codes, key, step: u32::MAX };
        let rows = loss.rows(unit);
        out.fill(0.0);
        if rows == 0 {
            return;
        }
        loss.encode(parameters, &[unit], buffers);
        let radius = self.latent_radius();
        let weight = std::f64::consts::FRAC_1_SQRT_2 / rows as f64;
        let (firsts, seconds) = out.split_at_mut(latent);
        for r in 0..rows {
            let z = buffers.latent().row(r);
            let norm = z.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            if !norm.is_finite() {
                continue;
            }
            let z: Vec<f64> = z.iter().map(|&v| f64::from(v) / norm.max(radius)).collect();
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

/// Row and column of each entry of a lower triangle, row by row.
fn lower_triangle(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(|i| (0..=i).map(move |j| (i, j)))
}

impl Prior {
    /// `N(0, I)`: what training pulls the latent numbers towards.
    pub fn standard(latent: usize) -> Self {
        let cholesky = (0..latent * latent).map(|i| if i / latent == i % latent { 1.0 } else { 0.0 }).collect();
        Self { mean: vec![0.0; latent], cholesky }
    }

    /// Reads the noisy sum over `units` units of [`Vae::latent_moments`], whose entries have noise of standard deviation
    /// `noise_std`. It is shrunk towards that of the standard law by what the noise alone makes of their distance (James
    /// and Stein 1961); the covariance is moved to the nearest one with a variance of at least [`LEAST_VARIANCE`] in every
    /// direction.
    ///
    /// # Privacy
    /// Post-processing.
    ///
    /// # Panics
    /// When `sums` does not have [`Vae::moments`] numbers.
    pub fn from_moments(vae: &Vae, sums: &[f64], noise_std: f64, units: f64) -> Self {
        let (latent, radius) = (vae.settings.latent, vae.latent_radius());
        assert_eq!(sums.len(), vae.moments(), "one sum a moment");
        let scale = std::f64::consts::SQRT_2 / units.max(1.0);
        let of_standard: Vec<f64> = std::iter::repeat_n(0.0, latent)
            .chain(lower_triangle(latent).map(|(i, j)| if i == j { 1.0 / (scale * radius * radius) } else { 0.0 }))
            .collect();
        let distance: f64 = sums.iter().zip(&of_standard).map(|(s, o)| (s - o).powi(2)).sum();
        let by_noise = noise_std.powi(2) * sums.len() as f64;
        let kept = (1.0 - by_noise / distance.max(f64::MIN_POSITIVE)).max(0.0);
        let sums: Vec<f64> = sums.iter().zip(&of_standard).map(|(s, o)| o + kept * (s - o)).collect();
        let mean: Vec<f64> = sums[..latent].iter().map(|s| s * scale * radius).collect();
        let mut covariance = vec![0.0; latent * latent];
        for (s, (i, j)) in sums[latent..].iter().zip(lower_triangle(latent)) {
            let once = if i == j { 1.0 } else { std::f64::consts::FRAC_1_SQRT_2 };
            let entry = s * scale * once * radius * radius - mean[i] * mean[j];
            covariance[i * latent + j] = entry;
            covariance[j * latent + i] = entry;
        }
        let cholesky = cholesky(&lift_eigenvalues(covariance, latent, LEAST_VARIANCE), latent);
        Self { mean: mean.iter().map(|&m| m as f32).collect(), cholesky }
    }

    /// Draws latent numbers into `z`. `normal` holds the standard normal numbers of the unit's last row; the first
    /// `keep` of them are used again.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng, keep: usize, normal: &mut [f32], z: &mut [f32]) {
        normal[keep..].fill_with(|| rng.sample(StandardNormal));
        let rows = self.cholesky.chunks_exact(self.mean.len());
        for (i, ((z, mean), row)) in z.iter_mut().zip(&self.mean).zip(rows).enumerate() {
            *z = mean + row[..=i].iter().zip(&*normal).map(|(c, e)| c * e).sum::<f32>();
        }
    }

    /// The logarithm of the density at `z`, up to the constant that a standard normal law has, too.
    pub(super) fn log_density(&self, z: &[f32]) -> f64 {
        let latent = self.mean.len();
        let mut standard = Vec::with_capacity(latent);
        let mut log = 0.0;
        for (i, row) in self.cholesky.chunks_exact(latent).enumerate() {
            let diagonal = f64::from(row[i]).max(1e-12);
            let done: f64 = row.iter().zip(&standard).map(|(&c, e): (_, &f64)| f64::from(c) * e).sum();
            let e = (f64::from(z[i] - self.mean[i]) - done) / diagonal;
            standard.push(e);
            log -= 0.5 * e * e + diagonal.ln();
        }
        log
    }

    pub(super) fn tensors(&self) -> [Tensor; 2] {
        let latent = self.mean.len();
        [
            ("prior.mean".to_owned(), vec![1, latent], self.mean.clone()),
            ("prior.cholesky".to_owned(), vec![latent, latent], self.cholesky.clone()),
        ]
    }

    pub(super) fn from_tensors(latent: usize, tensors: &[Tensor]) -> Result<Self> {
        let mean = find_tensor(tensors, "prior.mean", &[1, latent])?.to_vec();
        let cholesky = find_tensor(tensors, "prior.cholesky", &[latent, latent])?.to_vec();
        Ok(Self { mean, cholesky })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn product(factor: &[f32], n: usize) -> Vec<f64> {
        let entry = |i: usize, j: usize| -> f64 {
            (0..n).map(|k| f64::from(factor[i * n + k]) * f64::from(factor[j * n + k])).sum()
        };
        (0..n * n).map(|e| entry(e / n, e % n)).collect()
    }

    /// Noise alone leaves the standard law.
    #[test]
    fn noisy_moments_are_shrunk_to_the_standard_law() {
        let layout = crate::encode::Layout { cells: vec![2] };
        let marginals = crate::model::Marginals::from_noisy(&layout, &[1.0, 1.0]).unwrap();
        let mixture = std::sync::Arc::new(crate::model::Mixture::independent(&marginals));
        let vae = Vae::new(&layout, crate::model::VaeSettings::choose(), mixture, None).unwrap();
        let noisy: Vec<f64> = (0..vae.moments()).map(|i| if i % 2 == 0 { 30.0 } else { -30.0 }).collect();
        let prior = Prior::from_moments(&vae, &noisy, 40.0, 50.0);
        assert!(prior.mean.iter().all(|&m| m == 0.0));
        let standard = Prior::standard(16);
        assert!(prior.cholesky.iter().zip(&standard.cholesky).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_ne!(Prior::from_moments(&vae, &noisy, 1.0, 50.0), prior);
    }

    #[test]
    fn factor_gives_back_the_covariance() {
        let a = vec![4.0, 1.2, -0.6, 1.2, 2.0, 0.5, -0.6, 0.5, 1.0];
        let same = lift_eigenvalues(a.clone(), 3, 1e-3);
        let back = product(&cholesky(&same, 3), 3);
        assert!(a.iter().zip(&same).zip(&back).all(|((a, s), b)| (a - s).abs() < 1e-12 && (a - b).abs() < 1e-6));
    }

    #[test]
    fn negative_directions_are_lifted_and_the_others_kept() {
        // Eigenvalues 3 and -1, along (1, 1) and (1, -1).
        let lifted = lift_eigenvalues(vec![1.0, 2.0, 2.0, 1.0], 2, 0.5);
        let wanted = [1.75, 1.25, 1.25, 1.75];
        assert!(lifted.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
