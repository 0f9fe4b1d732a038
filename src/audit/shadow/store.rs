//! What is kept of a shadow model: its scores, so that a run that was stopped goes on where it was.

use crate::error::{Error, Result, why};
use crate::output;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Version of the files.
const FORMAT: &str = "synthward shadow 1";
/// Bytes of a SHA-256.
const HASH: usize = 32;

/// A folder of one small file a shadow model: the hash of what decides it, the scores, the hash of both.
///
/// # Privacy
/// The files hold a score of each real unit. Only their owner may read them, and they are removed with the audit's end
/// ([`Store::remove`]).
pub struct Store {
    folder: PathBuf,
    origin: [u8; HASH],
    /// Scores of a model, and units that each of them is of.
    channels: usize,
    units: usize,
}

impl Store {
    /// Opens a folder, which is made where there is none. `origin` says what decides the scores: the tables, the model
    /// and the seed.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path, origin: &str, channels: usize, units: usize) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| {
            Error::failed(format!("the folder cannot be made ({})", why(e.kind())))
                .file(folder)
                .remedy("name a folder in a place that you may write to")
        })?;
        let origin = Sha256::digest(format!("{FORMAT}\n{}\n{origin}", env!("CARGO_PKG_VERSION"))).into();
        Ok(Self { folder: folder.into(), origin, channels, units })
    }

    /// The scores of a model that was fitted before, each a number a unit; none where it was not.
    ///
    /// # Errors
    /// Bad input: the file is of another audit, or damaged.
    pub fn read(&self, shadow: usize) -> Result<Option<Vec<Vec<f64>>>> {
        let path = self.path(shadow);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::bad_input(format!("the file cannot be read ({})", why(e.kind()))).file(path)),
        };
        let foreign = || {
            Error::bad_input("the shadow model is not one of this audit")
                .file(&path)
                .expected("scores by the same program of the same tables, model and seed")
                .remedy("name another folder, or remove this one")
        };
        let whole = 2 * HASH + 8 * self.channels * self.units;
        if bytes.len() != whole {
            return Err(foreign());
        }
        let (rest, hash) = bytes.split_at(whole - HASH);
        let (origin, scores) = rest.split_at(HASH);
        if origin != self.of(shadow) || hash != &Sha256::digest(rest)[..] {
            return Err(foreign());
        }
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        let scores: Vec<f64> = scores.chunks_exact(8).map(|bytes| f64::from_bits(number(bytes))).collect();
        Ok(Some(scores.chunks_exact(self.units).map(<[f64]>::to_vec).collect()))
    }

    /// Keeps the scores of a model.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, shadow: usize, scores: &[Vec<f64>]) -> Result<()> {
        let mut bytes = self.of(shadow).to_vec();
        bytes.extend(scores.iter().flatten().flat_map(|score| score.to_le_bytes()));
        let hash = Sha256::digest(&bytes);
        bytes.extend(hash);
        output::write_private_bytes(&self.path(shadow), &bytes)
    }

    /// Removes the files of the first `models` models, and the folder when nothing else is in it.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove(&self, models: usize) -> Result<()> {
        for path in (0..models).map(|shadow| self.path(shadow)) {
            fs::remove_file(&path).map_err(|e| {
                Error::failed(format!("cannot be removed ({})", why(e.kind())))
                    .file(path)
                    .remedy("remove the folder of the shadow models: it holds a score of each real person")
            })?;
        }
        // Left where there is something else in it.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    /// What decides the scores of one model.
    fn of(&self, shadow: usize) -> [u8; HASH] {
        let mut hash = Sha256::new_with_prefix(self.origin);
        hash.update((shadow as u64).to_le_bytes());
        hash.finalize().into()
    }

    fn path(&self, shadow: usize) -> PathBuf {
        self.folder.join(format!("shadow-{shadow:02}.scores"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_come_back_to_their_own_audit_alone_and_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("shadows");
        let store = Store::open(&folder, "mine", 2, 2).unwrap();
        assert!(store.read(3).unwrap().is_none());
        let scores = vec![vec![-1.5, f64::MIN_POSITIVE], vec![0.0, 2e300]];
        store.write(3, &scores).unwrap();
        assert_eq!(store.read(3).unwrap().unwrap(), scores);
        let refused = |store: &Store, shadow: usize| store.read(shadow).unwrap_err().to_string();
        let foreign = Store::open(&folder, "another", 2, 2).unwrap();
        assert!(refused(&foreign, 3).contains("not one of this audit"));
        fs::copy(store.path(3), store.path(0)).unwrap();
        assert!(refused(&store, 0).contains("not one of this audit"), "a file in another's place");
        let mut bytes = fs::read(store.path(3)).unwrap();
        bytes[HASH] ^= 1;
        fs::write(store.path(0), &bytes).unwrap();
        assert!(refused(&store, 0).contains("not one of this audit"), "a damaged file");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(store.path(3)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::remove_file(store.path(0)).unwrap();
        fs::rename(store.path(3), store.path(0)).unwrap();
        store.remove(1).unwrap();
        assert!(!folder.exists());
    }
}
