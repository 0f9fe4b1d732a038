//! Bytes that are written once and read often: in memory while they are few, beyond that in a file that has no name and
//! cannot be read without a key that is nowhere but in memory.

use crate::error::{Error, Result, why};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of one piece of what lies in memory.
const SEGMENT: usize = 1 << 20;
/// Bytes that are made unreadable, or readable, in one go.
const STRETCH: usize = 4096;

/// An append-only store of bytes.
///
/// The first `limit` bytes stay in memory. The others go to a temporary file that is removed before anything is written to
/// it, so that nothing is left behind however the process ends, and each is combined with its own byte of a ChaCha20
/// stream whose key is drawn for this store: no plain copy of a table ever lies on a disk.
///
/// # Privacy
/// Holds sensitive data, releases nothing.
pub struct Spill {
    limit: u64,
    length: u64,
    memory: Vec<Vec<u8>>,
    file: Option<File>,
    /// Each byte of the file is combined with that of the same place here.
    stream: Box<ChaCha20Rng>,
}

impl Spill {
    /// An empty store that takes at most `limit` bytes of memory.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn new(limit: u64) -> Result<Self> {
        let stream = ChaCha20Rng::try_from_os_rng().map_err(|_| Error::failed("the system gives no random numbers"))?;
        Ok(Self { limit, length: 0, memory: Vec::new(), file: None, stream: Box::new(stream) })
    }

    /// Puts bytes behind the others, and tells where they are.
    ///
    /// # Errors
    /// The temporary file cannot be made or written; the disk is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let start = self.length;
        let (near, far) = bytes.split_at(self.limit.saturating_sub(start).min(bytes.len() as u64) as usize);
        self.append_to_memory(near);
        self.append_to_file(far, start + near.len() as u64).map_err(|e| failed("written", &e))?;
        self.length += bytes.len() as u64;
        Ok(start)
    }

    fn append_to_memory(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.memory.last().is_none_or(|last| last.len() == SEGMENT) {
                self.memory.push(Vec::new());
            }
            let Some(last) = self.memory.last_mut() else { return };
            let (now, later) = bytes.split_at((SEGMENT - last.len()).min(bytes.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
    }

    fn append_to_file(&mut self, bytes: &[u8], start: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (file, stream) = (
            match &mut self.file {
                Some(file) => file,
                none => none.insert(tempfile::tempfile_in(folder())?),
            },
            &self.stream,
        );
        let mut place = start - self.limit;
        let mut unreadable = [0; STRETCH];
        for stretch in bytes.chunks(STRETCH) {
            let unreadable = &mut unreadable[..stretch.len()];
            unreadable.copy_from_slice(stretch);
            combine(stream, place, unreadable);
            write_at(file, unreadable, place)?;
            place += stretch.len() as u64;
        }
        Ok(())
    }

    /// Reads as many bytes as there is room for, from `offset` on.
    ///
    /// # Errors
    /// The temporary file cannot be read, or there are not so many bytes.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let (near, far) = into.split_at_mut(self.limit.saturating_sub(offset).min(into.len() as u64) as usize);
        let mut done = 0;
        while done < near.len() {
            let at = offset as usize + done;
            let there = self.memory.get(at / SEGMENT).and_then(|segment| segment.get(at % SEGMENT..)).unwrap_or(&[]);
            let some = there.len().min(near.len() - done);
            if some == 0 {
                return Err(failed("read", &io::ErrorKind::UnexpectedEof.into()));
            }
            near[done..done + some].copy_from_slice(&there[..some]);
            done += some;
        }
        if !far.is_empty() {
            let place = offset + near.len() as u64 - self.limit;
            let file = self.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof.into());
            file.and_then(|file| read_at(file, far, place)).map_err(|e| failed("read", &e))?;
            combine(&self.stream, place, far);
        }
        Ok(())
    }
}

/// Combines bytes with those of the stream from `place` on.
fn combine(stream: &ChaCha20Rng, place: u64, bytes: &mut [u8]) {
    let mut stream = stream.clone();
    let skipped = (place % 4) as usize;
    stream.set_word_pos(u128::from(place / 4));
    let mut pad = [0; STRETCH];
    let mut before = skipped;
    let mut rest = bytes;
    while !rest.is_empty() {
        let some = rest.len().min(STRETCH - before);
        // A stream gives whole words.
        let words = (before + some).next_multiple_of(4);
        stream.fill_bytes(&mut pad[..words]);
        let (now, later) = rest.split_at_mut(some);
        now.iter_mut().zip(&pad[before..]).for_each(|(byte, pad)| *byte ^= pad);
        (rest, before) = (later, 0);
    }
}

/// Where the file is made: where `TMPDIR` says, or where large temporary files belong, which is often not `/tmp`: that may
/// be memory itself.
fn folder() -> PathBuf {
    let large = Path::new("/var/tmp");
    if std::env::var_os("TMPDIR").is_none() && large.is_dir() { large.to_owned() } else { std::env::temp_dir() }
}

fn failed(what: &str, error: &io::Error) -> Error {
    Error::failed(format!("the temporary file cannot be {what} ({})", why(error.kind()))).remedy(format!(
        "make room in {}, name a folder on another disk in TMPDIR, or allow more memory with --memory-limit",
        folder().display()
    ))
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], place: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, place)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], place: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, place)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], place: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        done += std::os::windows::fs::FileExt::seek_write(file, &bytes[done..], place + done as u64)?;
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], place: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match std::os::windows::fs::FileExt::seek_read(file, &mut bytes[done..], place + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            some => done += some,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn what_was_written_is_read(
            limit in 0u64..9000,
            parts in vec(vec(any::<u8>(), 0..6000), 1..5),
            from in 0usize..9000,
            length in 0usize..9000,
        ) {
            let mut spill = Spill::new(limit).unwrap();
            let mut whole = Vec::new();
            for part in &parts {
                prop_assert_eq!(spill.append(part).unwrap(), whole.len() as u64);
                whole.extend_from_slice(part);
            }
            let from = from.min(whole.len());
            let mut read = vec![0; length.min(whole.len() - from)];
            spill.read(from as u64, &mut read).unwrap();
            prop_assert_eq!(&read, &whole[from..from + read.len()]);
        }
    }

    #[test]
    fn memory_of_many_segments_is_read_across_their_ends() {
        let bytes: Vec<u8> = (0..2 * SEGMENT + 5).map(|i| (i * 31 % 251) as u8).collect();
        let mut spill = Spill::new(u64::MAX).unwrap();
        spill.append(&bytes[..7]).unwrap();
        spill.append(&bytes[7..]).unwrap();
        let mut read = vec![0; SEGMENT + 10];
        spill.read(SEGMENT as u64 - 5, &mut read).unwrap();
        assert!(read == bytes[SEGMENT - 5..2 * SEGMENT + 5] && spill.file.is_none());
    }

    #[test]
    fn there_is_no_reading_beyond_the_end() {
        for limit in [0, 2, u64::MAX] {
            let mut spill = Spill::new(limit).unwrap();
            spill.append(b"four").unwrap();
            assert!(spill.read(1, &mut [0; 4]).is_err(), "{limit}");
            assert!(spill.read(4, &mut []).is_ok());
        }
    }

    /// Nothing of what is on the disk can be read without the key, and equal bytes differ from place to place.
    #[test]
    fn the_file_shows_nothing() {
        // Long enough for equal bytes to stand at the same place of two stretches.
        let canary = b"canary-7f3a ".repeat(3 * STRETCH / 4);
        let mut spill = Spill::new(5).unwrap();
        spill.append(&canary).unwrap();
        let file = spill.file.as_ref().unwrap();
        let mut stored = vec![0; canary.len() - 5];
        read_at(file, &mut stored, 0).unwrap();
        assert!(!stored.windows(6).any(|part| part == b"canary" || part == b"-7f3a "));
        let mut blocks: Vec<&[u8]> = stored.chunks_exact(12).collect();
        blocks.sort_unstable();
        assert!(blocks.windows(2).all(|pair| pair[0] != pair[1]));
        let mut other = Spill::new(0).unwrap();
        other.append(&canary[5..]).unwrap();
        let mut again = vec![0; stored.len()];
        read_at(other.file.as_ref().unwrap(), &mut again, 0).unwrap();
        assert!(stored != again, "each store has a key of its own");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_has_no_name() {
        use std::os::unix::fs::MetadataExt;
        let mut spill = Spill::new(0).unwrap();
        spill.append(b"x").unwrap();
        assert_eq!(spill.file.unwrap().metadata().unwrap().nlink(), 0);
    }
}
