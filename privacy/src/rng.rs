//! The one door for randomness that protects someone.
//!
//! Keys come from the operating system and never leave this crate; no setting,
//! seed or file can choose them, unless the crate was built with the feature
//! `test-noise`, and then every plan says that it is not private. The generator is ChaCha20, a cryptographic
//! stream addressed by (step, block), so that noise can be drawn in parallel,
//! no stream is ever used twice, and the result does not depend on threads.

use crate::Error;
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng, TryRngCore};

/// Values drawn per block; a block consumes a fixed stretch of the key stream.
pub(crate) const BLOCK: usize = 4096;
/// Two 64-bit words make two Gaussians, so a value takes two 32-bit words.
const WORDS_PER_BLOCK: u128 = 2 * BLOCK as u128;

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

    /// The stream of one step, at the start.
    pub(crate) fn stream(&self, step: u64) -> ChaCha20Rng {
        let mut rng = ChaCha20Rng::from_seed(self.0);
        rng.set_stream(step);
        rng
    }

    /// Fills `out` (at most [`BLOCK`] values) with standard Gaussians of (step, block).
    ///
    /// Box-Muller (Box and Muller 1958) in double precision from 64-bit
    /// uniforms in (0, 1]: the tail reaches 9.4 standard deviations, and a value
    /// always consumes the same stretch of the stream.
    pub(crate) fn gaussians(&self, step: u64, block: u64, out: &mut [f64]) {
        debug_assert!(out.len() <= BLOCK);
        let mut rng = self.stream(step);
        rng.set_word_pos(u128::from(block) * WORDS_PER_BLOCK);
        for pair in out.chunks_mut(2) {
            let radius = (-2.0 * unit_interval(rng.next_u64()).ln()).sqrt();
            let (sine, cosine) = (std::f64::consts::TAU * unit_interval(rng.next_u64())).sin_cos();
            pair[0] = radius * cosine;
            if let Some(second) = pair.get_mut(1) {
                *second = radius * sine;
            }
        }
    }
}

/// Whether noise comes from the operating system, as it does in every build
/// but a test's.
pub(crate) fn noise_is_private() -> bool {
    #[cfg(feature = "test-noise")]
    let seeded = test_noise::is_seeded();
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

/// A secret key for the randomness *inside* a unit's contribution: which of its
/// rows are kept, the latent numbers drawn for them.
///
/// Such draws are addressed by a unit's place in the table, and one patient
/// more or less moves the places of all later ones. Were the key known, one
/// patient could so change everybody's contribution. With a fresh secret key
/// the draws of all units are alike in law, and neighbouring tables differ by
/// one unit's contribution alone. It is therefore drawn anew for each purpose
/// of each fit, never comes from a seed, and is never stored.
///
/// # Privacy
/// Touches no data. The guarantee needs it to stay secret: it has no `Debug`
/// and no `Serialize`.
pub struct UnitKey([u8; 32]);

impl UnitKey {
    /// A fresh key from the operating system.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    ///
    /// # Privacy
    /// Touches no data.
    pub fn from_system() -> Result<Self, Error> {
        NoiseKey::from_system().map(|key| Self(key.0))
    }

    /// The key, to seed a generator with.
    ///
    /// # Privacy
    /// Touches no data; must not be released.
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

/// 64 random bits as a number in (0, 1]: fine steps near 0, where the tail is decided.
fn unit_interval(bits: u64) -> f64 {
    (bits as f64 + 1.0) * 2f64.powi(-64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_differ_and_streams_do_not_repeat() {
        let (a, b) = (NoiseKey::from_system().unwrap(), NoiseKey::from_system().unwrap());
        assert_ne!(a.0, b.0);
        let draw = |key: &NoiseKey, step, block| {
            let mut out = [0.0; 8];
            key.gaussians(step, block, &mut out);
            out
        };
        assert_eq!(draw(&a, 3, 5), draw(&a, 3, 5), "an address is a pure function of the key");
        assert_ne!(draw(&a, 3, 5), draw(&a, 3, 6));
        assert_ne!(draw(&a, 3, 5), draw(&a, 4, 5));
        assert_ne!(draw(&a, 3, 5), draw(&b, 3, 5));
    }

    #[test]
    fn blocks_do_not_overlap() {
        let key = NoiseKey::from_system().unwrap();
        let mut rng = key.stream(1);
        for _ in 0..BLOCK {
            rng.next_u64();
        }
        assert_eq!(rng.get_word_pos(), WORDS_PER_BLOCK, "one block uses exactly its stretch");
    }

    /// Kolmogorov-Smirnov against the standard normal law, 40,960 draws under a
    /// fixed key: the statistic of a true normal sample exceeds 2.0 / sqrt(n)
    /// with probability 7e-4; the key is fixed, so the test is deterministic.
    #[test]
    fn gaussians_are_gaussian() {
        let key = NoiseKey([7; 32]);
        let mut draws = vec![0.0; 10 * BLOCK];
        for (block, out) in draws.chunks_mut(BLOCK).enumerate() {
            key.gaussians(0, block as u64, out);
        }
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
}
