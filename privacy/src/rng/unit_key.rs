//! Draws that belong to one unit: what hangs on its identity, and on nothing else.
//!
//! Which of a unit's rows are kept, its latent numbers and the coins by which it joins the steps are drawn by a
//! pseudo-random function of the unit's *identity* under a secret key, fresh for each fit, with a subkey for each purpose.
//! The identity is 64 bits of HMAC-SHA-256 (RFC 2104) of canonical bytes that name the unit: its key; or, where each row
//! is a person, its content and its number among equal rows.
//!
//! # Proof notes
//! Let D' be D and one unit u more, put in at any place.
//!
//! 1. Were HMAC-SHA-256 and the generator behind a subkey random functions, the draws of units of different identities
//!    would be independent and of the same law, as if each had been drawn anew: this is what Poisson sampling and the
//!    accounting of a unit's random contribution ask for. The functions are pseudo-random; what that costs is the
//!    advantage of whoever tells them from random ones, as with all noise of this crate.
//! 2. Draws are functions of (subkey, identity, step), so under the same key every unit of D has in D' the draws that it
//!    has in D, wherever u stands. So D and D' differ by one unit's contribution, key by key.
//! 3. Equal rows that are persons are numbered 0 to k - 1 in the order of the table. One more gives the numbers 0 to k, and
//!    those behind it another number each. Draws of different identities are independent and of one law, so D and D' may be
//!    compared with the draws of these rows handed on by place instead of by number: then each row of D has in D' what it
//!    has in D, and the rows of a leaf stand in the same order.
//! 4. Two units of one identity share their draws. Among the units of D alone this happens in D and D' alike. That u
//!    meets the identity of another unit has a probability of at most n 2^-64 over the key, 5.5e-13 for ten million
//!    units. Then the coins of the two are the same coin: what follows is bounded by adding that probability to delta. It
//!    is far below the smallest delta that a plan with sampling may have (1e-9), and is not accounted.

use super::NoiseKey;
use crate::Error;
use sha2::{Digest, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// A secret key for the randomness *inside* a unit's contribution: see the [module page](self).
///
/// Were it known, or were draws addressed by a unit's place in the table, one patient more could change everybody's
/// contribution. It is therefore drawn anew for each fit, never comes from a seed, and is never stored.
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

    /// The key of one purpose, from which no other purpose's can be told.
    ///
    /// # Privacy
    /// Touches no data.
    pub fn subkey(&self, purpose: &str) -> Self {
        Self(self.hasher().digest(purpose.as_bytes()))
    }

    /// The pseudo-random function under this key.
    ///
    /// # Privacy
    /// Touches no data; as secret as the key.
    pub fn hasher(&self) -> UnitHasher {
        let keyed = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(self.0).for_each(|(byte, key)| *byte ^= key);
            Sha256::new_with_prefix(block)
        };
        UnitHasher { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    /// The key, to seed a generator with.
    ///
    /// # Privacy
    /// Touches no data; must not be released.
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

/// HMAC-SHA-256 under a [`UnitKey`].
///
/// # Privacy
/// Touches no data; as secret as the key. Hashes of names without a secret key would tell the names.
#[derive(Clone)]
pub struct UnitHasher {
    inner: Sha256,
    outer: Sha256,
}

impl UnitHasher {
    /// 128 bits of a name or of a row's content. Those of two different ones are the same with a probability of 2^-128; the
    /// first 64 are the identity.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn hash(&self, content: &[u8]) -> (u64, u64) {
        let digest = self.digest(content);
        let half = |start: usize| digest[start..start + 8].iter().fold(0, |bits, &byte| (bits << 8) | u64::from(byte));
        (half(0), half(8))
    }

    fn digest(&self, content: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(content).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2, whose key is four bytes: keys shorter than a block are filled up with zeros.
    #[test]
    fn the_function_is_hmac_sha_256() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let digest = UnitKey(key).hasher().digest(b"what do ya want for nothing?");
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(UnitKey(key).hasher().hash(b"what do ya want for nothing?").0, 0x5bdc_c146_bf60_754e);
    }

    #[test]
    fn keys_and_purposes_differ() {
        let [a, b] = [UnitKey::from_system().unwrap(), UnitKey::from_system().unwrap()];
        let hash = |key: &UnitKey| key.hasher().hash(b"7");
        assert_eq!(hash(&a), hash(&a));
        assert_ne!(hash(&a), hash(&b));
        assert_ne!(hash(&a.subkey("rows")), hash(&a.subkey("coins")));
        assert_ne!(a.hasher().hash(b"7"), a.hasher().hash(b"007"));
    }
}
