//! Element-wise loops compiled for the widest vectors of the machine, and an exponential they can hold.

/// Runs `f` compiled for the best instruction set of this processor.
///
/// Only speed depends on it: `f` uses separate multiplications and additions, so every processor computes
/// the same bits.
#[inline(always)]
pub(crate) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// `e^x` for `|x| <= 80`, relative error below 2e-7; NaN stays NaN. Branch-free, so loops of it vectorise.
///
/// Splits `x = n ln 2 + r` with `|r| <= ln 2 / 2` and multiplies the Taylor polynomial of `e^r` (degree 6, whose
/// remainder is below 1.2e-7) by `2^n`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4; // ln 2 in two parts, the first exact in nine bits
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    p * power
}

/// Sum of squares, in `f64`.
pub(crate) fn squared_norm(x: &[f32]) -> f64 {
    dot(x, x)
}

/// Inner product accumulated in `f64`, in eight lanes summed in a fixed order.
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f64 {
    vectorised(|| {
        let mut lanes = [0.0f64; 8];
        let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
        let tail: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        for (a, b) in xs.zip(ys) {
            for i in 0..8 {
                lanes[i] += f64::from(a[i]) * f64::from(b[i]);
            }
        }
        lanes.iter().sum::<f64>() + tail
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_library_over_its_range() {
        for i in -80_000..=80_000 {
            let x = i as f32 * 1e-3;
            let truth = f64::from(x).exp();
            assert!((f64::from(exp(x)) / truth - 1.0).abs() < 3e-7, "e^{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn dot_handles_tails_and_large_values() {
        let x: Vec<f32> = (0..19).map(|i| i as f32).collect();
        assert_eq!(dot(&x, &x), 2109.0);
        assert_eq!(squared_norm(&[1e30, 1e30]), 2.0 * f64::from(1e30f32).powi(2));
        assert_eq!(dot(&[], &[]), 0.0);
    }
}
