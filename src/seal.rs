//! Bytes that lie on a disk and cannot be read until their key is told.

use crate::error::{Error, Result};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// Bytes under a key of their own, which is used for nothing else.
///
/// Each byte is combined with its own of a ChaCha20 stream. That the right bytes come back is for their hash to tell.
pub struct Sealed {
    pub bytes: Vec<u8>,
    /// In hex.
    pub key: String,
}

impl Sealed {
    /// Seals bytes under a key from the operating system.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let stream = ChaCha20Rng::try_from_os_rng().map_err(|_| Error::failed("the system gives no random numbers"))?;
        let key = stream.get_seed().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes: combined(bytes, stream), key })
    }
}

/// What was sealed under this key; none where the key is not one.
pub fn open(bytes: &[u8], key: &str) -> Option<Vec<u8>> {
    let digits = |place: usize| u8::from_str_radix(key.get(2 * place..2 * place + 2)?, 16).ok();
    let seed: Vec<u8> = (0..key.len().div_ceil(2)).map(digits).collect::<Option<_>>()?;
    Some(combined(bytes, ChaCha20Rng::from_seed(seed.try_into().ok()?)))
}

fn combined(bytes: &[u8], mut stream: ChaCha20Rng) -> Vec<u8> {
    let mut pad = vec![0; bytes.len()];
    stream.fill_bytes(&mut pad);
    pad.iter_mut().zip(bytes).for_each(|(pad, byte)| *pad ^= byte);
    pad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_its_key_alone() {
        let plain = b"canary-7f3a ".repeat(1000);
        let [sealed, other] = [(); 2].map(|()| Sealed::new(&plain).unwrap());
        assert!(!sealed.bytes.windows(6).any(|part| part == b"canary"));
        assert!(sealed.bytes != other.bytes && sealed.key != other.key, "each has a key of its own");
        assert_eq!(open(&sealed.bytes, &sealed.key).as_ref(), Some(&plain));
        assert_ne!(open(&sealed.bytes, &other.key).as_ref(), Some(&plain));
        for key in
            ["", "12", &sealed.key[1..], &sealed.key.replace(char::is_alphanumeric, "g"), "\u{e9}".repeat(32).as_str()]
        {
            assert_eq!(open(&sealed.bytes, key), None, "{key}");
        }
    }
}
