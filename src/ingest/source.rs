//! Where a table comes from, and what kind of file it is.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// A table on disk, or on standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Path(PathBuf),
    /// Written `-` on the command line.
    Stdin,
}

impl<T: AsRef<OsStr> + ?Sized> From<&T> for Source {
    fn from(name: &T) -> Self {
        match name.as_ref() {
            name if name == "-" => Self::Stdin,
            name => Self::Path(PathBuf::from(name)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_path().display())
    }
}

impl Source {
    /// The path, or `-`.
    pub fn as_path(&self) -> &Path {
        match self {
            Self::Path(path) => path,
            Self::Stdin => Path::new("-"),
        }
    }

    /// A name for the table: the file name up to its first dot.
    pub fn table_name(&self) -> String {
        let name = self.as_path().file_name().and_then(OsStr::to_str).unwrap_or_default();
        match name.split('.').next() {
            Some(stem) if !stem.is_empty() && stem != "-" => stem.to_owned(),
            _ => "table".to_owned(),
        }
    }

    /// SHA-256 of the bytes as stored (a gzip file is not unpacked), in hex.
    /// Standard input can be read but once: ask the [`RawTable`](super::RawTable) instead.
    ///
    /// # Errors
    /// Bad input when the file cannot be read.
    pub fn sha256(&self) -> Result<String> {
        Ok(hex_sha256(&self.stored_bytes()?))
    }

    /// All bytes, as stored.
    pub(super) fn stored_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Self::Stdin => io::stdin().lock().read_to_end(&mut bytes),
            Self::Path(path) => fs::metadata(path)
                .and_then(|m| if m.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { File::open(path) })
                .and_then(|mut file| read_unchanged(&mut file, |file| file.read_to_end(&mut bytes))),
        }
        .map_err(|e| self.unreadable(e.kind()))?;
        Ok(bytes)
    }

    /// A bad-input error about this source.
    pub(super) fn bad(&self, what: impl Into<String>) -> Error {
        Error::bad_input(what).file(self.as_path())
    }

    fn unreadable(&self, kind: io::ErrorKind) -> Error {
        match kind {
            io::ErrorKind::NotFound => self.bad("there is no such file").remedy("check the path"),
            io::ErrorKind::IsADirectory => self.bad("this is a directory, not a file").remedy("name the table's file"),
            io::ErrorKind::PermissionDenied => {
                self.bad("permission to read the file is denied").remedy("ask its owner for read access")
            }
            io::ErrorKind::Interrupted => self
                .bad("the file was changed while it was read")
                .remedy("run again when nobody writes to it, or make a copy and name that"),
            kind => self.bad(format!("the file cannot be read ({kind})")).remedy("check the path and the disk"),
        }
    }
}

/// Lets `read` read a whole file. One that is written to meanwhile is neither the old table nor the new one: it is an
/// [`io::ErrorKind::Interrupted`].
fn read_unchanged(file: &mut File, read: impl FnOnce(&mut File) -> io::Result<usize>) -> io::Result<usize> {
    let state = |file: &File| file.metadata().map(|m| (m.is_file(), m.len(), m.modified().ok()));
    let before = state(file)?;
    let bytes = read(file)?;
    let (is_file, length, _) = before;
    // A pipe has no length.
    if is_file && (state(file)? != before || bytes as u64 != length) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(bytes)
}

/// What the first bytes say a file is; the name's extension is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Parquet,
    ArrowFile,
    ArrowStream,
}

/// Tells the format of unpacked bytes.
pub(super) fn sniff(source: &Source, bytes: &[u8]) -> Result<Format> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if starts(b"PAR1") {
        Ok(Format::Parquet)
    } else if starts(b"ARROW1") {
        Ok(Format::ArrowFile)
    } else if starts(&[0xff; 4]) {
        Ok(Format::ArrowStream)
    } else if starts(b"PARE") {
        Err(source.bad("the Parquet file is encrypted").remedy("decrypt it first"))
    } else if starts(b"PK\x03\x04") {
        Err(source.bad("this is a ZIP archive or an Excel workbook").remedy("unpack it, or save the sheet as CSV"))
    } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) || starts(b"BZh") || starts(b"\xfd7zXZ") {
        Err(source.bad("the file is compressed, but not with gzip").remedy("unpack it, or compress it with gzip"))
    } else if starts(&[0xff, 0xfe]) || starts(&[0xfe, 0xff]) {
        Err(source.bad("the text is UTF-16").expected("UTF-8").remedy("save it as UTF-8"))
    } else if bytes.is_empty() {
        Err(source.bad("the file is empty").expected("a header line and rows").remedy("export the table again"))
    } else {
        Ok(Format::Csv)
    }
}

/// Unpacks gzip, of one member or several; other bytes are given back as they are.
pub(super) fn unpack(source: &Source, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    match MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked) {
        Ok(_) => Ok(unpacked),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Err(source.bad("the gzip file ends too early").remedy("copy or export it again"))
        }
        Err(_) => Err(source.bad("the gzip file is damaged").remedy("copy or export it again")),
    }
}

pub(super) fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_is_standard_input() {
        assert_eq!(Source::from("-"), Source::Stdin);
        assert_eq!(Source::from("a/stays.csv.gz").table_name(), "stays");
        assert_eq!(Source::Stdin.table_name(), "table");
    }

    #[test]
    fn the_hash_is_that_of_the_stored_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            Source::from(&path).sha256().unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_file_that_is_written_to_while_it_is_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let fault = |write: fn(&Path)| {
            fs::write(&path, "a\n1\n").unwrap();
            let mut bytes = Vec::new();
            let read = |file: &mut File| {
                let length = file.read_to_end(&mut bytes);
                write(&path);
                length
            };
            read_unchanged(&mut File::open(&path).unwrap(), read).map_err(|e| e.kind())
        };
        assert_eq!(fault(|_| ()), Ok(4));
        // Another file under the same name: what was read is whole.
        assert_eq!(fault(|path| fs::rename(path, path.with_extension("old")).unwrap()), Ok(4));
        assert_eq!(fault(|path| fs::write(path, "a\n1\n2\n").unwrap()), Err(io::ErrorKind::Interrupted));
        assert_eq!(fault(|path| fs::write(path, "").unwrap()), Err(io::ErrorKind::Interrupted));
        let message = Source::from(&path).unreadable(io::ErrorKind::Interrupted).to_string();
        assert!(message.contains("changed while it was read") && message.contains("remedy"), "{message}");
    }

    #[test]
    fn the_first_bytes_tell_the_format() {
        let of = |bytes: &[u8]| sniff(&Source::Stdin, bytes);
        assert_eq!(of(b"PAR1....").unwrap(), Format::Parquet);
        assert_eq!(of(b"ARROW1\0\0").unwrap(), Format::ArrowFile);
        assert_eq!(of(&[0xff, 0xff, 0xff, 0xff, 1]).unwrap(), Format::ArrowStream);
        assert_eq!(of(b"PARTY,a\n1,2\n").unwrap(), Format::Csv);
        for bad in [&b""[..], b"PK\x03\x04", &[0xff, 0xfe, b'a', 0]] {
            assert_eq!(of(bad).unwrap_err().kind.exit_code(), 3);
        }
    }
}
