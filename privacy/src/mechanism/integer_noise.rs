//! Exact noise for integer vectors, by OpenDP.

use crate::Error;
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::L2Distance;
use rayon::prelude::*;

/// Numbers that get their noise in one go; a bound on the memory of a thread, without influence on the law.
const CELLS_PER_TASK: usize = 4096;

/// Adds exact discrete Gaussian noise of standard deviation `sigma` to each
/// number (Canonne, Kamath and Steinke 2020, arXiv:2004.00010). The sampler is
/// OpenDP's: arbitrary precision, seeded by the operating system. With `sigma`
/// 0, which only a plan of infinite epsilon has, the numbers are those themselves.
pub(crate) fn add_discrete_gaussian(values: &[i64], sigma: f64) -> Result<Vec<i64>, Error> {
    if sigma == 0.0 {
        return Ok(values.to_vec());
    }
    #[cfg(feature = "test-noise")]
    if !crate::rng::noise_is_private() {
        return add_seeded(values, sigma);
    }
    let measurement = make_gaussian::<_, _, ZeroConcentratedDivergence>(
        VectorDomain::new(AtomDomain::<i64>::default()),
        L2Distance::<i64>::default(),
        sigma,
        None,
    )
    .map_err(|_| Error::Sampler)?;
    measurement.invoke(&values.to_vec()).map_err(|_| Error::Sampler)
}

/// As [`add_discrete_gaussian`], in place and in parts that all threads share.
pub(crate) fn add_discrete_gaussians(values: &mut [i64], sigma: f64) -> Result<(), Error> {
    let add = |part: &mut [i64]| add_discrete_gaussian(part, sigma).map(|noisy| part.copy_from_slice(&noisy));
    // The seeded door numbers its keys as they are drawn.
    #[cfg(feature = "test-noise")]
    if !crate::rng::noise_is_private() {
        return values.chunks_mut(CELLS_PER_TASK).try_for_each(add);
    }
    values.par_chunks_mut(CELLS_PER_TASK).try_for_each(add)
}

/// Integer Gaussians from the seeded door: OpenDP's sampler cannot be seeded.
#[cfg(feature = "test-noise")]
fn add_seeded(values: &[i64], sigma: f64) -> Result<Vec<i64>, Error> {
    use crate::rng::{BLOCK, GridGaussian, NoiseKey};
    let (key, law) = (NoiseKey::from_system()?, GridGaussian::new(sigma));
    let mut noisy = values.to_vec();
    for (block, out) in noisy.chunks_mut(BLOCK).enumerate() {
        let mut noise = vec![0; out.len()];
        key.integers(0, block as u64, law, &mut noise);
        out.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
    }
    Ok(noisy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_noise_the_numbers_are_exact() {
        assert_eq!(add_discrete_gaussian(&[3, -7, 0], 0.0).unwrap(), [3, -7, 0]);
        assert!(add_discrete_gaussian(&[3], -1.0).is_err() && add_discrete_gaussian(&[3], f64::NAN).is_err());
    }

    /// 4,000 draws at sigma 50: mean within 4 and variance within 4 standard
    /// errors (false-alarm rate 1.3e-4).
    #[test]
    fn noise_has_the_stated_scale() {
        let noisy = add_discrete_gaussian(&[1000; 4000], 50.0).unwrap();
        let mean = noisy.iter().map(|&x| x as f64 - 1000.0).sum::<f64>() / 4000.0;
        let variance = noisy.iter().map(|&x| (x as f64 - 1000.0).powi(2)).sum::<f64>() / 4000.0;
        assert!(mean.abs() < 4.0 * 50.0 / 4000f64.sqrt(), "{mean}");
        assert!((variance / 2500.0 - 1.0).abs() < 4.0 * (2.0f64 / 4000.0).sqrt(), "{variance}");
    }
}
