//! Clipping: the bound on what one unit can move.

use crate::Error;
use serde::{Deserialize, Serialize};

/// Relative safety margin of a clip coefficient: covers the error of the norm
/// that it is made of, its own rounding, and that of the single-precision
/// products that it is applied to, which are below 2^-17 together; the rest pays
/// for what [`SubsampledGaussian`](crate::mechanism::SubsampledGaussian) calls small.
const ROUNDING_MARGIN: f64 = 1.0 / 4096.0;

/// Clipping norms at which single precision is far from its smallest and its largest number.
const NORMS: std::ops::RangeInclusive<f64> = 1e-12..=1e12;

/// Flat clipping of a unit's whole contribution to an L2 norm C
/// (Abadi et al. 2016, arXiv:1607.00133, section 3.1).
///
/// # Privacy
/// Touches sensitive data, releases nothing: it bounds what one unit moves inside a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    clipping_norm: f64,
}

impl Clip {
    /// A clip to `clipping_norm`.
    ///
    /// # Errors
    /// Refuses a norm that is not between 1e-12 and 1e12.
    ///
    /// # Privacy
    /// Public parameter; touches no data.
    pub fn new(clipping_norm: f64) -> Result<Self, Error> {
        if !NORMS.contains(&clipping_norm) {
            return Err(Error::Parameter {
                name: "clipping_norm",
                found: clipping_norm.to_string(),
                expected: "a number between 1e-12 and 1e12",
            });
        }
        Ok(Self { clipping_norm })
    }

    /// The L2 bound C.
    ///
    /// # Privacy
    /// Public parameter.
    pub fn norm(&self) -> f64 {
        self.clipping_norm
    }

    /// The factor for a unit whose contribution has this squared L2 norm:
    /// `min(1, C / norm)`, less a margin for rounding. A norm that is not a
    /// finite number gives 0: the unit is dropped and the bound still holds.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing: the factor is used inside the
    /// mechanism that adds the noise.
    pub fn coefficient(&self, squared_norm: f64) -> f32 {
        if !squared_norm.is_finite() || squared_norm < 0.0 {
            return 0.0;
        }
        let norm = squared_norm.sqrt();
        let factor = if norm <= self.clipping_norm { 1.0 } else { self.clipping_norm / norm };
        let factor = (factor * (1.0 - ROUNDING_MARGIN)) as f32;
        // Below this single precision loses its relative accuracy, and with it the bound.
        if factor < f32::MIN_POSITIVE { 0.0 } else { factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_norms_drop_the_unit() {
        let clip = Clip::new(1.0).unwrap();
        for odd in [f64::NAN, f64::INFINITY, -1.0, 1e88] {
            assert_eq!(clip.coefficient(odd), 0.0);
        }
        assert!(clip.coefficient(0.0) > 0.99);
        for odd in [0.0, -1.0, 1e-13, 1e13, f64::NAN] {
            assert!(Clip::new(odd).is_err());
        }
    }

    proptest! {
        /// The clipped vector, scaled in single precision, never exceeds C.
        #[test]
        fn clipped_norm_never_exceeds_the_bound(
            vector in prop::collection::vec(prop_oneof![-1e3f32..1e3, -1e-30f32..1e-30, -1e18f32..1e18], 1..200),
            norm in 1e-3f64..1e3,
        ) {
            let clip = Clip::new(norm).unwrap();
            let squared: f64 = vector.iter().map(|&x| f64::from(x).powi(2)).sum();
            let factor = clip.coefficient(squared);
            let clipped: f64 = vector.iter().map(|&x| f64::from(x * factor).powi(2)).sum::<f64>().sqrt();
            prop_assert!(clipped <= norm);
        }
    }
}
