//! Activations: the value goes on, the slope stays behind for the backward pass.

use serde::{Deserialize, Serialize};

use super::simd::{exp, vectorised};

/// An element-wise activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + e^-x)`.
    Silu,
}

impl Activation {
    /// Replaces `x` by its activation.
    pub fn apply(self, x: &mut [f32]) {
        match self {
            Self::Relu => vectorised(|| x.iter_mut().for_each(|v| *v = relu(*v).0)),
            Self::Silu => vectorised(|| x.iter_mut().for_each(|v| *v = silu(*v).0)),
        }
    }

    /// Replaces `x` by its activation and stores the derivative in `slope`.
    pub fn apply_with_slope(self, x: &mut [f32], slope: &mut [f32]) {
        match self {
            Self::Relu => vectorised(|| x.iter_mut().zip(slope).for_each(|(v, s)| (*v, *s) = relu(*v))),
            Self::Silu => vectorised(|| x.iter_mut().zip(slope).for_each(|(v, s)| (*v, *s) = silu(*v))),
        }
    }
}

/// Value and slope. NaN passes through as a value.
#[inline(always)]
fn relu(x: f32) -> (f32, f32) {
    if x <= 0.0 { (0.0, 0.0) } else { (x, 1.0) }
}

#[inline(always)]
fn silu(x: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp((-x).clamp(-80.0, 80.0)));
    (x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_derivatives() {
        for activation in [Activation::Relu, Activation::Silu] {
            for x in [-100.0f32, -30.0, -2.5, -0.3, 0.4, 1.7, 25.0, 90.0] {
                let (mut value, mut slope) = ([x], [0.0]);
                activation.apply_with_slope(&mut value, &mut slope);
                let step = 1e-2f32;
                let (mut left, mut right) = ([x - step], [x + step]);
                activation.apply(&mut left);
                activation.apply(&mut right);
                let difference = (right[0] - left[0]) / (2.0 * step);
                assert!((slope[0] - difference).abs() < 2e-3, "{activation:?} at {x}: {} and {difference}", slope[0]);
            }
        }
    }

    #[test]
    fn values_by_hand() {
        let mut x = [-1.0f32, 0.0, 2.0];
        Activation::Relu.apply(&mut x);
        assert_eq!(x, [0.0, 0.0, 2.0]);
        let mut x = [-1.0f32, 0.0, 2.0, f32::NAN];
        Activation::Silu.apply(&mut x);
        assert!(
            (x[0] + 0.268_941_43).abs() < 1e-6 && x[1] == 0.0 && (x[2] - 1.761_594_2).abs() < 1e-6 && x[3].is_nan()
        );
    }
}
