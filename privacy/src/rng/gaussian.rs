//! Integer Gaussians for DP-SGD, thousands at a time.
//!
//! OpenDP's exact sampler costs microseconds a number; a fit with DP-SGD draws
//! 10^10. This sampler costs nanoseconds and is not exact. What follows says
//! how far from exact it is.
//!
//! # Construction
//! A pair takes 256 bits of the key stream. By Box-Muller (Box and Muller 1958)
//! in double precision, 128 bits `U` in (0, 1] make the radius
//! `R = sqrt(-2 ln U)`, which ends at 13.3; 61 bits an angle in [0, pi/4),
//! 3 bits which of the 8 octants. For the standard deviation `s` in grid steps,
//! each `X` of the two is rounded to the grid and gets a dither `D`:
//!
//! `K = round(s X) + D`, `D` uniform on the integers `-w/2 .. w/2`,
//! `w` the largest power of two up to `s / 16`, at most 2^32.
//!
//! `D` is exact and independent of the rest. It raises the variance by less than
//! 0.04 %; its mean is half a grid step below 0.
//!
//! # Privacy
//! Were `X` a true Gaussian, an integer sum plus `K` would be post-processing of
//! the sum plus `s X`: the Gaussian mechanism, as accounted. Call that law of a
//! pair of `K` ideal, `q`, and the one computed here `q'`. ChaCha20 is taken for
//! random bits throughout.
//!
//! 1. A computed `X` lies within `2^-49 |X| + 2^-52 |X| / R^2 + 2^-61 R` of a
//!    true Gaussian that has the computed bits of `U` and of the angle as its
//!    leading bits: logarithm 5e-16, root 1.1e-16, sine and cosine 3e-16, angle
//!    2.8e-16, two products 2.2e-16, relative; rounding `U` to a double, the
//!    second term; its bits behind the 128th matter less up to R = 10.
//! 2. `q(k)` is `w^-2` times the probability that `s (X, Y)` is in a square of
//!    side `w` around `k`, and so is `q'(k)` for the computed pair. They differ
//!    only by what the errors of step 1 carry over the four edges. Where the
//!    square reaches into R <= 10, the Gaussian density varies by a factor of at
//!    most 2.5 in it, and with `16 <= s / w < 32` the bounds of step 1 along the
//!    edges give `|q'(k) / q(k) - 1| < h = 2^-37`. R is above 10 with
//!    probability 2^-72.
//! 3. Over `m` pairs, adaptively, the logarithm of the likelihood ratio of the
//!    two laws is a sum of terms within `±h` with mean at most `h^2`; by Azuma's
//!    inequality it exceeds `t = m h^2 + 10 h sqrt(m)` with probability at most
//!    e^-50.
//!
//! So if DP-SGD with ideal noise is (epsilon, delta)-private, with this noise it
//! is (epsilon + 2t, e^t delta + (1 + e^(epsilon + t)) (m + 1) 2^-71)-private.
//! For 10^10 numbers 2t is 1.1e-5, and the addition to delta 8e-12 at epsilon 1.
//! **The accountant does not add them.** The bound needs `s >= 16`; above
//! `s = 2^37`, a noise multiplier of some 8,000, `w` stays and `h` grows with `s`.
//!
//! Total variation would not do: without the dither a rounding differs from the
//! ideal one with probability up to 2^-24, and 10^10 of those add up to hundreds.
//! The dither spreads each such difference over `w` integers, which leaves
//! ratios near one everywhere.
//!
//! # Same bits everywhere
//! Integer arithmetic and single IEEE 754 operations, no fused ones: neither the
//! instruction set nor the number of threads changes a bit.

use super::keystream::{Keystream, LANES};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_4, LN_2};

/// Numbers made of sixteen blocks: two pairs a block.
pub(super) const GROUP: usize = 4 * LANES;

/// The law of noise on a grid.
#[derive(Clone, Copy)]
pub(crate) struct GridGaussian {
    standard_deviation: f64,
    /// One less than the dither's width, a power of two.
    dither: u32,
}

impl GridGaussian {
    /// Up to here every draw, at most 13.4 standard deviations, is below 2^51.
    const LARGEST: f64 = (1u64 << 47) as f64;

    /// Noise of a standard deviation, in grid steps.
    ///
    /// # Panics
    /// Unless it is between 0 and 2^47.
    pub(crate) fn new(standard_deviation: f64) -> Self {
        assert!((0.0..=Self::LARGEST).contains(&standard_deviation), "noise of {standard_deviation} grid steps");
        let largest = (standard_deviation / 16.0) as u64;
        let width = 1 << largest.max(1).ilog2().min(32);
        Self { standard_deviation, dither: (width - 1u64) as u32 }
    }

    /// The two numbers of eight words.
    #[inline(always)]
    fn pair(self, words: [u32; 8]) -> [i64; 2] {
        let [r0, r1, r2, r3, a0, a1, d0, d1] = words;
        let radius = (-2.0 * ln(uniform([r0, r1, r2, r3]))).sqrt() * self.standard_deviation;
        let angle = (u64::from(a0) << 32) | u64::from(a1);
        let (sine, cosine) = sin_cos((angle >> 3) as f64 * (FRAC_PI_4 * 2f64.powi(-61)));
        let (x, y) = if angle & 1 == 0 { (cosine, sine) } else { (sine, cosine) };
        // A value of one sign, and the sign from a bit.
        let signed = |x: f64, bit: u64| f64::from_bits(x.to_bits() | (bit << 63));
        [
            nearest(radius * signed(x, angle >> 1)) + self.centred(d0),
            nearest(radius * signed(y, angle >> 2)) + self.centred(d1),
        ]
    }

    #[inline(always)]
    fn centred(self, bits: u32) -> i64 {
        i64::from(bits & self.dither) - i64::from(self.dither.div_ceil(2))
    }
}

/// 128 random bits as a number in (0, 1], rounded to a double: steps of 2^-128
/// near 0, where the tail is decided.
#[inline(always)]
fn uniform([a, b, c, d]: [u32; 4]) -> f64 {
    let high = (u64::from(a) << 32) | u64::from(b);
    let low = (u64::from(c) << 32) | u64::from(d);
    (high as f64 + (low as f64 + 1.0) * 2f64.powi(-64)) * 2f64.powi(-64)
}

/// The natural logarithm of a normal number, relative error below 5e-16.
///
/// Splits `x = 2^n m` with `m` within a factor sqrt(2) of 1 and adds `n ln 2` to
/// `ln m = 2 artanh(v)`, `v = (m - 1) / (m + 1)`: its Taylor series to `v^19`
/// leaves out less than 3e-17 of it.
#[inline(always)]
fn ln(x: f64) -> f64 {
    const LOWEST: u64 = FRAC_1_SQRT_2.to_bits();
    const MANTISSA: u64 = (1 << 52) - 1;
    const INTEGERS: f64 = (1u64 << 52) as f64; // the low bits of a number from here on are an integer
    let shifted = x.to_bits() + (1f64.to_bits() - LOWEST);
    let n = f64::from_bits(INTEGERS.to_bits() | (shifted >> 52)) - (INTEGERS + 1023.0);
    let m = f64::from_bits((shifted & MANTISSA) + LOWEST);
    let v = (m - 1.0) / (m + 1.0);
    let z = v * v;
    let p = 1.0 / 19.0;
    let p = p * z + 1.0 / 17.0;
    let p = p * z + 1.0 / 15.0;
    let p = p * z + 1.0 / 13.0;
    let p = p * z + 1.0 / 11.0;
    let p = p * z + 1.0 / 9.0;
    let p = p * z + 1.0 / 7.0;
    let p = p * z + 1.0 / 5.0;
    let p = p * z + 1.0 / 3.0;
    let p = p * z + 1.0;
    n * LN_2 + 2.0 * v * p
}

/// Sine and cosine for `0 <= x <= pi/4`, relative errors below 3e-16: the Taylor
/// polynomials to `x^15` and `x^16`, which leave out less than 6e-17.
#[inline(always)]
fn sin_cos(x: f64) -> (f64, f64) {
    let z = x * x;
    let s = -1.0 / 1_307_674_368_000.0;
    let s = s * z + 1.0 / 6_227_020_800.0;
    let s = s * z - 1.0 / 39_916_800.0;
    let s = s * z + 1.0 / 362_880.0;
    let s = s * z - 1.0 / 5_040.0;
    let s = s * z + 1.0 / 120.0;
    let s = s * z - 1.0 / 6.0;
    let c = 1.0 / 20_922_789_888_000.0;
    let c = c * z - 1.0 / 87_178_291_200.0;
    let c = c * z + 1.0 / 479_001_600.0;
    let c = c * z - 1.0 / 3_628_800.0;
    let c = c * z + 1.0 / 40_320.0;
    let c = c * z - 1.0 / 720.0;
    let c = c * z + 1.0 / 24.0;
    let c = c * z - 0.5;
    (x + x * z * s, 1.0 + z * c)
}

/// The nearest integer, for `|x| <= 2^51`; halves go to the even one.
#[inline(always)]
pub(crate) fn nearest(x: f64) -> i64 {
    const SHIFT: f64 = 1.5 * (1u64 << 52) as f64; // doubles around it are the integers
    (x + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i64
}

/// Fills `out` from the key stream, [`GROUP`] numbers from every sixteen blocks.
pub(super) struct Fill<'a> {
    pub(super) keystream: Keystream,
    /// Number of the first block.
    pub(super) first: u64,
    pub(super) law: GridGaussian,
    pub(super) out: &'a mut [i64],
}

impl pulp::NullaryFnOnce for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        for (group, out) in self.out.chunks_mut(GROUP).enumerate() {
            let blocks = self.keystream.blocks(self.first + (group * LANES) as u64);
            let mut numbers = [[0; LANES]; 4];
            for half in 0..2 {
                for lane in 0..LANES {
                    let [x, y] = self.law.pair(std::array::from_fn(|i| blocks[8 * half + i][lane]));
                    numbers[2 * half][lane] = x;
                    numbers[2 * half + 1][lane] = y;
                }
            }
            out.copy_from_slice(&numbers.as_flattened()[..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pulp::NullaryFnOnce;

    /// Words whose dither is 0 at a standard deviation of 2^24.
    const CENTRE: u32 = 1 << 19;

    fn radius_words(bits: u128) -> [u32; 4] {
        std::array::from_fn(|i| (bits >> (96 - 32 * i)) as u32)
    }

    /// 2^20 places evenly spaced in the exponent over all that a uniform can be,
    /// and as many that close in on 1, where the logarithm vanishes.
    #[test]
    fn ln_is_close_to_the_library_over_its_range() {
        let lowest = 2f64.powi(-128).to_bits();
        let step = (1f64.to_bits() - lowest) >> 20;
        let spread = (0..1 << 20).map(|i| f64::from_bits(lowest + i * step));
        let near_one = (1..1 << 20).map(|i| 1.0 - f64::from(i) * 2f64.powi(-53 + i % 32));
        for x in spread.chain(near_one) {
            assert!((ln(x) / libm::log(x) - 1.0).abs() < 5e-16, "{x:e}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn sine_and_cosine_are_close_to_the_library_over_their_range() {
        for i in 1..=1 << 20 {
            for x in [FRAC_PI_4 * f64::from(i) / f64::from(1 << 20), FRAC_PI_4 / f64::from(i) * 2f64.powi(-40)] {
                let (sine, cosine) = sin_cos(x);
                assert!((sine / libm::sin(x) - 1.0).abs() < 3e-16, "sin {x:e}");
                assert!((cosine / libm::cos(x) - 1.0).abs() < 3e-16, "cos {x:e}");
            }
        }
        assert_eq!(sin_cos(0.0), (0.0, 1.0));
    }

    #[test]
    fn uniforms_have_steps_of_two_to_the_minus_128_near_zero_and_never_are_zero() {
        for bits in [0, 1, 2, 3, 1000, (1 << 53) - 1] {
            assert_eq!(uniform(radius_words(bits)), (bits + 1) as f64 * 2f64.powi(-128));
        }
        assert_eq!(uniform(radius_words(u128::MAX)), 1.0);
    }

    proptest! {
        /// Any scale of the bits: relative error of two roundings.
        #[test]
        fn uniforms_are_their_bits(bits: u128, shift in 0..128u32) {
            let bits = bits >> shift;
            let exact = bits.saturating_add(1) as f64 * 2f64.powi(-128);
            prop_assert!((uniform(radius_words(bits)) / exact - 1.0).abs() < 2f64.powi(-51));
        }

        #[test]
        fn nearest_rounds(x in -2f64.powi(51)..2f64.powi(51), near in -1000i32..1000) {
            prop_assert_eq!(nearest(x), x.round_ties_even() as i64);
            prop_assert_eq!(nearest(f64::from(near) / 2.0), (f64::from(near) / 2.0).round_ties_even() as i64);
        }

        /// The share of the standard deviation that the bound on the ratio of the two laws rests on.
        #[test]
        fn the_dither_is_a_sixteenth_of_the_noise_or_less(exponent in 4.0..37.0f64) {
            let standard_deviation = exponent.exp2();
            let law = GridGaussian::new(standard_deviation);
            let width = f64::from(law.dither) + 1.0;
            prop_assert!((16.0..32.0).contains(&(standard_deviation / width)), "{}", width);
            prop_assert_eq!(law.centred(0) as f64, -(width / 2.0).floor());
            prop_assert_eq!(law.centred(law.dither) as f64, (width / 2.0).ceil() - 1.0);
        }
    }

    /// `U = 2^-k` at angle 0 is `s sqrt(2 k ln 2)`: beyond 8.5 standard deviations
    /// from k = 53 on, to 13.3 at k = 128.
    #[test]
    fn the_tail_reaches_as_far_as_the_bits() {
        let law = GridGaussian::new(2f64.powi(24));
        for k in 1..=128u32 {
            let [r0, r1, r2, r3] = radius_words(u128::MAX.checked_shr(k).unwrap_or(0));
            let expected = 2f64.powi(24) * (2.0 * f64::from(k) * LN_2).sqrt();
            assert_eq!(law.pair([r0, r1, r2, r3, 0, 0, CENTRE, CENTRE]), [expected.round() as i64, 0], "2^-{k}");
        }
    }

    #[test]
    fn angles_cover_the_eight_octants() {
        let law = GridGaussian::new(2f64.powi(24));
        let mut octants: Vec<[bool; 3]> = (0..8)
            .map(|bits| {
                let [x, y] = law.pair([0, 0, 0, 0, 1 << 31, bits, CENTRE, CENTRE]);
                assert!(x != 0 && y != 0);
                [x > 0, y > 0, x.abs() > y.abs()]
            })
            .collect();
        octants.sort();
        octants.dedup();
        assert_eq!(octants.len(), 8);
    }

    #[test]
    fn scales_end_where_integers_do() {
        for refused in [-1.0, f64::NAN, f64::INFINITY, 2f64.powi(48)] {
            assert!(std::panic::catch_unwind(|| GridGaussian::new(refused)).is_err(), "{refused}");
        }
        let extremes = [0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(GridGaussian::new(0.0).pair(extremes), [0, 0]);
        let [x, y] = GridGaussian::new(GridGaussian::LARGEST).pair(extremes);
        assert_eq!(y, -(1 << 31));
        let expected = (GridGaussian::LARGEST * (256.0 * LN_2).sqrt()) as i64 - (1 << 31);
        assert!(x.abs_diff(expected) <= 4, "{x}: 1e-15 of it are two steps");
    }

    /// The loop compiled for the widest vectors of this machine, and for none.
    #[test]
    fn every_instruction_set_computes_the_same_bits() {
        fn draw(compile: impl FnOnce(Fill<'_>)) -> [i64; 1000] {
            let (keystream, law) = (Keystream::new(&[3; 32], 1), GridGaussian::new(1e8));
            let mut out = [0; 1000];
            compile(Fill { keystream, first: 0, law, out: &mut out });
            out
        }
        let plain = draw(|fill| fill.call());
        assert_eq!(draw(|fill| pulp::Arch::new().dispatch(fill)), plain);
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = pulp::x86::V3::try_new() {
            assert_eq!(draw(|fill| avx2.vectorize(fill)), plain);
        }
    }
}
