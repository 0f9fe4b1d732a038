//! The one door for randomness that protects someone.
//!
//! Keys come from the operating system and never leave this crate; no setting,
//! seed or file can choose them, unless the crate was built with the feature
//! `test-noise`, and then every plan says that it is not private. The generator is ChaCha20, a cryptographic
//! stream addressed by (step, block), so that noise can be drawn in parallel,
//! no stream is ever used twice, and the result does not depend on threads.

mod gaussian;
mod keystream;
mod unit_key;

pub(crate) use gaussian::{GridGaussian, nearest};
pub(crate) use keystream::{Blocks, LANES};
pub use unit_key::{UnitHasher, UnitKey};

use crate::Error;
use gaussian::{Fill, GROUP};
use keystream::Keystream;
use rand_core::{OsRng, TryRngCore};

/// Values drawn per block; a block consumes a fixed stretch of the key stream.
pub(crate) const BLOCK: usize = 4096;
/// Blocks of the cipher behind it, 64 bytes each.
const CIPHER_BLOCKS: u64 = (BLOCK / GROUP * LANES) as u64;

/// A secret key from the operating system.
pub(crate) struct NoiseKey([u8; 32]);

impl NoiseKey {
    pub(crate) fn from_system() -> Result<Self, Error> {
        #[cfg(feature = "test-noise")]
        if let Some(key) = test_noise::next_key() {
            return Ok(Self(key));
        }
        let mut key = [0; 32];
        OsRng.try_fill_bytes(&mut key).map_err(|_| Error::NoRandomness)?;
        Ok(Self(key))
    }

    /// The same key once more.
    #[cfg(any(test, feature = "test-noise"))]
    pub(crate) fn again(&self) -> Self {
        Self(self.0)
    }

    /// A stream at its start, as a library has it.
    #[cfg(test)]
    pub(crate) fn stream(&self, stream: u64) -> rand_chacha::ChaCha20Rng {
        let mut rng: rand_chacha::ChaCha20Rng = rand_core::SeedableRng::from_seed(self.0);
        rng.set_stream(stream);
        rng
    }

    /// Of sixteen streams, as many blocks in a row as `out` is long, from a number on that each lane has its own of.
    pub(crate) fn blocks_of(&self, streams: [u64; LANES], first: [u64; LANES], out: &mut [Blocks]) {
        pulp::Arch::new().dispatch(Words { keystream: Keystream::of_streams(&self.0, streams), first, out });
    }

    /// Fills `out` (at most [`BLOCK`] values) with the noise of (step, block).
    ///
    /// A value depends on the key, its address and its place in the block, not
    /// on how many are drawn.
    ///
    /// # Panics
    /// When `out` is longer and would run into the next block's noise.
    pub(crate) fn integers(&self, step: u64, block: u64, law: GridGaussian, out: &mut [i64]) {
        assert!(out.len() <= BLOCK, "one block at a time");
        let keystream = Keystream::new(&self.0, step);
        pulp::Arch::new().dispatch(Fill { keystream, first: block * CIPHER_BLOCKS, law, out });
    }
}

/// Fills `out` from sixteen streams at once.
struct Words<'a> {
    keystream: Keystream,
    first: [u64; LANES],
    out: &'a mut [Blocks],
}

impl pulp::NullaryFnOnce for Words<'_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        for (blocks, number) in self.out.iter_mut().zip(0..) {
            *blocks = self.keystream.blocks_at(self.first.map(|first| first + number));
        }
    }
}

/// Whether noise comes from the operating system, as it does in every build
/// but a test's.
pub(crate) fn noise_is_private() -> bool {
    #[cfg(feature = "test-noise")]
    let seeded = test_noise::is_seeded() || crate::tape::is_on();
    #[cfg(not(feature = "test-noise"))]
    let seeded = false;
    !seeded
}

/// Noise that a test can repeat.
#[cfg(feature = "test-noise")]
pub(crate) mod test_noise {
    use sha2::{Digest, Sha256};
    use std::sync::Mutex;

    /// The seed, and how many keys were made of it.
    static SEED: Mutex<Option<(u64, u64)>> = Mutex::new(None);

    /// Makes all noise of this process a function of `seed`.
    ///
    /// # Privacy
    /// Voids every guarantee; plans made afterwards say so.
    pub fn seed_noise(seed: u64) {
        *SEED.lock().unwrap_or_else(|e| e.into_inner()) = Some((seed, 0));
    }

    pub(super) fn is_seeded() -> bool {
        SEED.lock().unwrap_or_else(|e| e.into_inner()).is_some()
    }

    pub(super) fn next_key() -> Option<[u8; 32]> {
        let mut state = SEED.lock().unwrap_or_else(|e| e.into_inner());
        let (seed, count) = state.as_mut()?;
        *count += 1;
        Some(Sha256::digest([seed.to_le_bytes(), count.to_le_bytes()].concat()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::RngCore;

    const SCALE: f64 = (1u64 << 24) as f64;

    fn draw(key: &NoiseKey, step: u64, block: u64, count: usize) -> Vec<i64> {
        let mut out = vec![0; count];
        key.integers(step, block, GridGaussian::new(SCALE), &mut out);
        out
    }

    /// The draws of one fixed key in units of the standard deviation, dither included.
    fn normals(blocks: u64) -> Vec<f64> {
        let key = NoiseKey([7; 32]);
        let draws = (0..blocks).flat_map(|block| draw(&key, 0, block, BLOCK));
        let dithered = (1.0 + (1.0 / 16.0f64).powi(2) / 12.0).sqrt();
        draws.map(|k| k as f64 / (SCALE * dithered)).collect()
    }

    #[test]
    fn keys_steps_and_blocks_differ() {
        let (a, b) = (NoiseKey::from_system().unwrap(), NoiseKey::from_system().unwrap());
        assert_ne!(a.0, b.0);
        assert_eq!(draw(&a, 3, 5, 8), draw(&a, 3, 5, 8), "an address is a pure function of the key");
        assert_ne!(draw(&a, 3, 5, 8), draw(&a, 3, 6, 8));
        assert_ne!(draw(&a, 3, 5, 8), draw(&a, 4, 5, 8));
        assert_ne!(draw(&a, 3, 5, 8), draw(&b, 3, 5, 8));
    }

    #[test]
    fn a_value_does_not_depend_on_how_many_are_drawn() {
        let key = NoiseKey::from_system().unwrap();
        let whole = draw(&key, 2, 9, BLOCK);
        for count in [0, 1, 2, 31, 63, 64, 65, 1000, BLOCK - 1] {
            assert_eq!(draw(&key, 2, 9, count), whole[..count], "{count}");
        }
    }

    /// The plain form of the same law: `rand_chacha`'s words and the standard
    /// library's functions. Fixes which words a value is made of, and so that
    /// steps and blocks share none: a block is 16,384 words from its own place on.
    #[test]
    fn integers_follow_their_definition() {
        let key = NoiseKey([9; 32]);
        for (step, block) in [(0, 0), (0, 1), (1, 0), (u64::MAX, 1 << 30)] {
            let fast = draw(&key, step, block, BLOCK);
            let mut rng = key.stream(step);
            rng.set_word_pos(u128::from(block) * 16_384);
            for group in fast.chunks(GROUP) {
                for lane in 0..LANES {
                    for half in 0..2 {
                        let words: [u32; 8] = std::array::from_fn(|_| rng.next_u32());
                        let [x, y] = plain_pair(words);
                        let found = [group[2 * half * LANES + lane], group[(2 * half + 1) * LANES + lane]];
                        // A value half-way between two grid steps could round either way; under this key none does.
                        assert_eq!(found, [x, y], "{words:x?}");
                    }
                }
            }
            assert_eq!(rng.get_word_pos(), (u128::from(block) + 1) * 16_384);
        }
    }

    fn plain_pair([r0, r1, r2, r3, a0, a1, d0, d1]: [u32; 8]) -> [i64; 2] {
        let bits = [r0, r1, r2, r3].into_iter().fold(0, |bits, word| (bits << 32) | u128::from(word));
        let radius = SCALE * (-2.0 * ((bits as f64 + 1.0) * 2f64.powi(-128)).ln()).sqrt();
        let angle = (u64::from(a0) << 32) | u64::from(a1);
        let (mut y, mut x) = (std::f64::consts::FRAC_PI_4 * (angle >> 3) as f64 * 2f64.powi(-61)).sin_cos();
        if angle & 1 == 1 {
            (x, y) = (y, x);
        }
        let sign = |bit: u64| if angle & bit == 0 { 1.0 } else { -1.0 };
        let dither = |bits: u32| i64::from(bits % (1 << 20)) - (1 << 19);
        [
            (radius * x * sign(2)).round_ties_even() as i64 + dither(d0),
            (radius * y * sign(4)).round_ties_even() as i64 + dither(d1),
        ]
    }

    /// Kolmogorov-Smirnov against the standard normal law, 40,960 draws under a
    /// fixed key: the statistic of a true normal sample exceeds 2.0 / sqrt(n)
    /// with probability 7e-4; the key is fixed, so the test is deterministic.
    #[test]
    fn integers_are_gaussian() {
        let mut draws = normals(10);
        draws.sort_by(f64::total_cmp);
        let n = draws.len() as f64;
        let cdf = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let worst = draws
            .iter()
            .enumerate()
            .map(|(i, &x)| (cdf(x) - i as f64 / n).abs().max((cdf(x) - (i + 1) as f64 / n).abs()))
            .fold(0.0, f64::max);
        assert!(worst < 2.0 / n.sqrt(), "{worst}");
    }

    /// 2^20 draws under a fixed key: the first four moments within four standard
    /// errors of the normal law's, and the counts beyond 1, 2, 3 and 4 standard
    /// deviations on either side within four of the binomial's (false-alarm rate
    /// over keys 8e-4).
    #[test]
    fn moments_and_tails_are_those_of_the_normal_law() {
        let draws = normals(256);
        let n = draws.len() as f64;
        for (power, moment, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let found = draws.iter().map(|x| x.powi(power)).sum::<f64>() / n;
            assert!((found - moment).abs() < 4.0 * f64::sqrt(variance / n), "moment {power}: {found}");
        }
        for sign in [1.0, -1.0] {
            for beyond in 1..=4 {
                let expected = 0.5 * libm::erfc(f64::from(beyond) / std::f64::consts::SQRT_2);
                let found = draws.iter().filter(|&x| sign * x > f64::from(beyond)).count() as f64;
                let error = (n * expected * (1.0 - expected)).sqrt();
                assert!((found - n * expected).abs() < 4.0 * error, "{found} beyond {beyond}, of {}", n * expected);
            }
        }
    }

    /// The two values of a pair, neighbours, and neighbouring blocks and steps are
    /// uncorrelated, and so are their squares: 65,536 pairs of each kind under a
    /// fixed key, each correlation within four standard errors (false-alarm rate
    /// over keys 5e-4).
    #[test]
    fn values_are_uncorrelated() {
        let key = NoiseKey([8; 32]);
        let value = |step, block| draw(&key, step, block, BLOCK).into_iter().map(|k| k as f64 / SCALE);
        let here: Vec<f64> = (0..16).flat_map(|block| value(1, block)).collect();
        let next_block: Vec<f64> = (1..17).flat_map(|block| value(1, block)).collect();
        let next_step: Vec<f64> = (0..16).flat_map(|block| value(2, block)).collect();
        let n = here.len() as f64;
        let shifted = |by: usize| here.iter().cycle().skip(by).take(here.len()).copied().collect::<Vec<f64>>();
        for (name, there) in
            [("pair", shifted(LANES)), ("lane", shifted(1)), ("block", next_block), ("step", next_step)]
        {
            let mean = |f: fn(f64) -> f64| here.iter().zip(&there).map(|(&x, &y)| f(x) * f(y)).sum::<f64>() / n;
            let (plain, squares) = (mean(|x| x), mean(|x| x * x - 1.0) / 2.0);
            assert!(plain.abs() < 4.0 / n.sqrt() && squares.abs() < 4.0 / n.sqrt(), "{name}: {plain} {squares}");
        }
    }

    /// By Python 3 and mpmath 1.3.0 with 60 digits, from RFC 8439's block function:
    /// the key 0, 1, .. 31, step 1, block 2, standard deviation 2^24.
    #[test]
    fn every_platform_draws_what_long_arithmetic_does() {
        let found = draw(&NoiseKey(std::array::from_fn(|i| i as u8)), 1, 2, GROUP);
        let expected = [11_370_636, -13_335_701, -9_169_965, -20_446_343, 9_791_271, -5_814_698];
        assert_eq!(found[..6], expected);
        assert_eq!([found[16], found[32], found[63]], [-14_687_861, 72_231, -11_188_945]);
    }
}
