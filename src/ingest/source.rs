//! Where a table comes from, and what kind of file it is.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::json;
use crate::error::{Error, Result, why};

/// A table on disk, or on standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file; or part files of one table: a directory of them, or a pattern with `*` in the name (`visits/part-*.parquet`).
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

    /// The files that hold the rows, in the order of their names with numbers by their size; hidden files and such as `_SUCCESS`
    /// are none.
    ///
    /// # Errors
    /// Bad input: a directory or a pattern without a file, a directory that has others in it, or that cannot be read.
    pub fn parts(&self) -> Result<Vec<Source>> {
        let Self::Path(path) = self else { return Ok(vec![self.clone()]) };
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let (folder, pattern) = match fs::metadata(path) {
            Ok(found) if found.is_dir() => (path.as_path(), "*"),
            Err(_) if name.contains('*') => (path.parent().unwrap_or(Path::new("")), name),
            _ => return Ok(vec![self.clone()]),
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let unreadable = |e: io::Error| Self::Path(folder.to_owned()).unreadable(e.kind());
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let part = entry.map_err(unreadable)?.path();
            let name = part.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if LOGS.contains(&&*name) {
                return Err(self
                    .bad(format!("the directory has `{name}`, by which some of its files are no more in the table"))
                    .remedy("export the table's present rows, and name that"));
            }
            if name.starts_with(['.', '_']) || !fits(&name, pattern) {
                continue;
            }
            if part.is_dir() {
                return Err(Self::Path(part).bad("this is a directory among part files").expected(
                    "the part files of one table in one directory: columns that stand in names of directories are not read",
                ));
            }
            found.push((by_number(&name), part));
        }
        found.sort();
        let ending = |part: &PathBuf| part.extension().map(|ending| ending.to_ascii_lowercase());
        if pattern == "*"
            && let Some((_, other)) = found.iter().find(|(_, part)| ending(part) != ending(&found[0].1))
        {
            return Err(Self::Path(other.clone())
                .bad("does not end as the other files of the directory, which are read as parts of one table")
                .remedy("name the table's file, or a pattern that only its parts fit"));
        }
        if found.is_empty() {
            let what = if pattern == "*" { "the directory has no part file" } else { "no file has such a name" };
            return Err(self.bad(what).remedy("check the path"));
        }
        Ok(found.into_iter().map(|(_, part)| Self::Path(part)).collect())
    }

    /// Whether this is a directory whose files are all named as parts, such as `part-00000.parquet`: without a schema one table,
    /// and not a folder of tables.
    pub fn is_in_parts(&self) -> bool {
        let is_part = |part: &Source| {
            let name = part.as_path().file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
            let rest = name.as_deref().and_then(|name| name.strip_prefix("part"));
            rest.is_some_and(|rest| rest.starts_with(|c: char| !c.is_ascii_alphabetic()))
        };
        self.as_path().is_dir() && self.parts().is_ok_and(|parts| parts.iter().all(is_part))
    }

    /// A name for the table: the file name up to its first dot; of files of a pattern in a directory that of the directory, unless
    /// they have one of their own.
    pub fn table_name(&self) -> String {
        let name = |path: &Path| path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
        let (own, folder) = (name(self.as_path()), name(self.as_path().parent().unwrap_or(Path::new(""))));
        let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let named = |stem: &String| !stem.is_empty() && stem != "-" && !stem.contains('*');
        [stem(&own), stem(&folder)].into_iter().find(named).unwrap_or_else(|| "table".to_owned())
    }

    fn is_named_ndjson(&self) -> bool {
        let name = self.as_path().to_string_lossy().to_ascii_lowercase();
        name.strip_suffix(".gz").unwrap_or(&name).ends_with(".ndjson")
    }

    /// SHA-256 of the bytes as stored (a gzip file is not unpacked), in hex; of part files that of their hashes, a line each.
    /// Standard input can be read but once: ask the [`RawTable`](super::RawTable) instead.
    ///
    /// # Errors
    /// Bad input when the file cannot be read.
    pub fn sha256(&self) -> Result<String> {
        let of_part = |part: Source| {
            let mut bytes = part.bytes()?;
            let hash = hash_of(&mut bytes).and_then(|hash| bytes.check_unchanged().map(|()| hash));
            hash.map_err(|e| part.unreadable(e.kind()))
        };
        Ok(hash_of_parts(self.parts()?.into_iter().map(of_part).collect::<Result<_>>()?))
    }

    /// Bytes of all part files as stored.
    ///
    /// # Errors
    /// Bad input: as [`Source::parts`], or a file that cannot be read.
    pub fn length(&self) -> Result<u64> {
        let of_part = |part: Source| {
            let found = fs::metadata(part.as_path()).map_err(|e| part.unreadable(e.kind()))?;
            Ok(found.len())
        };
        self.parts()?.into_iter().map(of_part).sum()
    }

    /// The bytes as stored, one after the other.
    fn bytes(&self) -> Result<Stored> {
        match self {
            Self::Stdin => Ok(Stored::Pipe(Box::new(io::stdin()))),
            Self::Path(path) => fs::metadata(path)
                .and_then(|m| if m.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { File::open(path) })
                .and_then(Stored::of)
                .map_err(|e| self.unreadable(e.kind())),
        }
    }

    /// Opens the table for one reading, from its beginning to its end. For the hash, a file is read once more, and a pipe is
    /// kept in memory.
    ///
    /// # Errors
    /// Bad input: it cannot be read, or is no table.
    pub(super) fn open(&self, hashed: bool) -> Result<Opened> {
        let unreadable = |e: io::Error| self.unreadable(e.kind());
        let mut stored = self.bytes()?;
        let sha256 = match &mut stored {
            _ if !hashed => None,
            // By the same handle: another file may have got the name.
            Stored::File { file, .. } => {
                Some(hash_of(file).and_then(|hash| file.rewind().map(|()| hash)).map_err(unreadable)?)
            }
            Stored::Pipe(pipe) => {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).map_err(unreadable)?;
                let sha256 = hex(&Sha256::digest(&bytes));
                stored = Stored::Pipe(Box::new(Cursor::new(bytes)));
                Some(sha256)
            }
        };
        let check = stored.check().map_err(unreadable)?;
        let file = match &stored {
            Stored::File { file, .. } => Some(file.try_clone().map_err(unreadable)?),
            Stored::Pipe(_) => None,
        };
        let (first, bytes) = first_bytes(stored).map_err(unreadable)?;
        let is_packed = first.starts_with(&[0x1f, 0x8b]);
        let (first, bytes): (_, Box<dyn Read + Send>) = if is_packed {
            let unpacked = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, bytes));
            let (first, bytes) = first_bytes(unpacked).map_err(|e| self.broken_gzip(&e))?;
            (first, Box::new(bytes))
        } else {
            (first, Box::new(bytes))
        };
        let (format, bytes) = match sniff(self, &first)? {
            Format::Ndjson => of_lines(bytes).map_err(|e| self.broken(is_packed, &e))?,
            format => (format, bytes),
        };
        let bytes = match (format, file) {
            (Format::Csv | Format::Ndjson | Format::Json, _) => Bytes::Stream(bytes),
            (_, Some(file)) if !is_packed => Bytes::File(file),
            _ => {
                let (mut bytes, mut all) = (bytes, Vec::new());
                bytes.read_to_end(&mut all).map_err(|e| self.broken(is_packed, &e))?;
                Bytes::Memory(all.into())
            }
        };
        Ok(Opened { format, bytes, is_packed, sha256, check })
    }

    /// The error of a reading that broke off.
    pub(super) fn broken(&self, is_packed: bool, error: &io::Error) -> Error {
        if is_packed { self.broken_gzip(error) } else { self.unreadable(error.kind()) }
    }

    fn broken_gzip(&self, error: &io::Error) -> Error {
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the gzip file ends too early",
            _ => "the gzip file is damaged",
        };
        self.bad(what).remedy("copy or export it again")
    }

    /// A bad-input error about this source.
    pub(super) fn bad(&self, what: impl Into<String>) -> Error {
        Error::bad_input(what).file(self.as_path())
    }

    pub(super) fn unreadable(&self, kind: io::ErrorKind) -> Error {
        match kind {
            io::ErrorKind::NotFound => self.bad("there is no such file").remedy("check the path"),
            io::ErrorKind::IsADirectory => self.bad("this is a directory, not a file").remedy("name the table's file"),
            io::ErrorKind::PermissionDenied => {
                self.bad("permission to read the file is denied").remedy("ask its owner for read access")
            }
            io::ErrorKind::Interrupted => self
                .bad("the file was changed while it was read")
                .remedy("run again when nobody writes to it, or make a copy and name that"),
            kind => self.bad(format!("the file cannot be read ({})", why(kind))).remedy("check the path and the disk"),
        }
    }
}

/// The longest line that is looked at.
const LONGEST_LINE: u64 = 16 << 20;
/// Bytes that are read ahead.
const BUFFER: usize = 1 << 16;
/// The longest of the marks that formats begin with, and some.
const FIRST_BYTES: usize = 8;

/// Stored bytes, to be read in order.
enum Stored {
    File {
        file: File,
        check: Unchanged,
    },
    /// It has no length and no second reading.
    Pipe(Box<dyn Read + Send>),
}

impl Stored {
    fn of(file: File) -> io::Result<Self> {
        if file.metadata()?.is_file() {
            let check = Unchanged::of(&file)?;
            Ok(Self::File { file, check })
        } else {
            Ok(Self::Pipe(Box::new(file)))
        }
    }

    /// What will tell whether the file was changed meanwhile.
    fn check(&self) -> io::Result<Option<Unchanged>> {
        match self {
            Self::File { check, .. } => check.try_clone().map(Some),
            Self::Pipe(_) => Ok(None),
        }
    }

    fn check_unchanged(&self) -> io::Result<()> {
        self.check()?.map_or(Ok(()), |check| check.run())
    }
}

impl Read for Stored {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File { file, .. } => file.read(into),
            Self::Pipe(pipe) => pipe.read(into),
        }
    }
}

/// What a file was like when it was opened.
pub(super) struct Unchanged {
    file: File,
    length: u64,
    modified: Option<SystemTime>,
}

impl Unchanged {
    fn of(file: &File) -> io::Result<Self> {
        let state = file.metadata()?;
        Ok(Self { file: file.try_clone()?, length: state.len(), modified: state.modified().ok() })
    }

    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, ..*self })
    }

    /// A file that was written to since then is neither the old table nor the new one: it is an
    /// [`io::ErrorKind::Interrupted`]. Another file under the same name is no matter: what was read is whole.
    pub fn run(&self) -> io::Result<()> {
        let state = self.file.metadata()?;
        if (state.len(), state.modified().ok()) == (self.length, self.modified) {
            Ok(())
        } else {
            Err(io::ErrorKind::Interrupted.into())
        }
    }
}

/// A table that is about to be read.
pub(super) struct Opened {
    pub format: Format,
    pub bytes: Bytes,
    /// By gzip; the bytes are unpacked.
    pub is_packed: bool,
    /// Of the bytes as stored, in hex, where it was asked for.
    pub sha256: Option<String>,
    /// To be run when all was read; nothing to be seen of a pipe.
    pub check: Option<Unchanged>,
}

/// The bytes of a table, unpacked.
pub(super) enum Bytes {
    /// In order.
    Stream(Box<dyn Read + Send>),
    /// In any order.
    File(File),
    Memory(bytes::Bytes),
}

/// Bytes of which the first ones were looked at.
pub(super) type LookedAt<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The first bytes of `bytes`, and all of them.
pub(super) fn first_bytes<R: Read>(mut bytes: R) -> io::Result<(Vec<u8>, LookedAt<R>)> {
    let mut first = Vec::with_capacity(FIRST_BYTES);
    (&mut bytes).take(FIRST_BYTES as u64).read_to_end(&mut first)?;
    Ok((first.clone(), Cursor::new(first).chain(bytes)))
}

/// Which kind of NDJSON the first line says that these bytes are, and all of them.
fn of_lines(bytes: Box<dyn Read + Send>) -> io::Result<(Format, Box<dyn Read + Send>)> {
    let mut bytes = BufReader::with_capacity(BUFFER, bytes);
    let mut first = Vec::new();
    let mut start = 0;
    while first[start..].trim_ascii().is_empty() {
        start = first.len();
        if (&mut bytes).take(LONGEST_LINE).read_until(b'\n', &mut first)? == 0 {
            break;
        }
    }
    let line = &first[start..];
    let is_plain = json::is_plain(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line));
    let format = if is_plain { Format::Json } else { Format::Ndjson };
    Ok((format, Box::new(Cursor::new(first).chain(bytes))))
}

/// What the first bytes say a file is; the name is asked only for text that may be of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    /// Of FHIR.
    Ndjson,
    /// NDJSON of plain objects.
    Json,
    /// A workbook, as long as nobody has tried.
    Excel,
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
    } else if bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).starts_with(b"{") {
        Ok(Format::Ndjson)
    } else if starts(b"PARE") {
        Err(source.bad("the Parquet file is encrypted").remedy("decrypt it first"))
    } else if starts(b"PK\x03\x04") || starts(&[0xd0, 0xcf, 0x11, 0xe0]) {
        Ok(Format::Excel)
    } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) || starts(b"BZh") || starts(b"\xfd7zXZ") {
        Err(source.bad("the file is compressed, but not with gzip").remedy("unpack it, or compress it with gzip"))
    } else if source.is_named_ndjson() {
        // It may have no lines, or a first one that is broken.
        Ok(Format::Ndjson)
    } else if bytes.is_empty() {
        Err(source.bad("the file is empty").expected("a header line and rows").remedy("export the table again"))
    } else {
        Ok(Format::Csv)
    }
}

/// What tells which files of a directory hold the present rows, in a lakehouse: the others have been deleted.
const LOGS: [&str; 2] = ["_delta_log", ".hoodie"];

/// Whether a name is as a pattern says, in which `*` stands for any characters.
fn fits(name: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('*');
    let (first, last) = (pieces.next().unwrap_or_default(), pieces.next_back());
    let Some(last) = last else { return name == pattern };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// A name by which files sort as people count them: `part-2` before `part-10`.
fn by_number(name: &str) -> Vec<(String, u128)> {
    let (mut key, mut rest) = (Vec::new(), name);
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| text + end);
        key.push((rest[..text].to_owned(), rest[text..digits].parse().unwrap_or(0)));
        rest = &rest[digits..];
    }
    key
}

/// The hash of a table in so many files.
pub(super) fn hash_of_parts(mut hashes: Vec<String>) -> String {
    match hashes.len() {
        1 => hashes.remove(0),
        _ => hex(&Sha256::digest(hashes.join("\n"))),
    }
}

/// SHA-256 of what is left to read, in hex.
fn hash_of(bytes: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(bytes, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
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
    fn part_files_come_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let visits = folder.path().join("visits");
        fs::create_dir(&visits).unwrap();
        for name in ["part-10.csv", "part-2.csv", "part-1.csv", "_SUCCESS", ".part-1.csv.crc"] {
            fs::write(visits.join(name), name).unwrap();
        }
        let names = |source: &str| -> Vec<String> {
            let parts = Source::from(&folder.path().join(source)).parts().unwrap();
            parts.iter().map(|part| part.as_path().file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("visits/part-*.csv"), ["part-1.csv", "part-2.csv", "part-10.csv"]);
        assert_eq!(names("visits"), ["part-1.csv", "part-2.csv", "part-10.csv"]);
        assert_eq!(names("visits/*1*.csv"), ["part-1.csv", "part-10.csv"]);
        assert_eq!(names("visits/part-1.csv"), ["part-1.csv"]);
        for (source, what) in [("visits/x*", "no file has such a name"), (".", "a directory among part files")] {
            let refused = Source::from(&folder.path().join(source)).parts().unwrap_err();
            assert!(refused.what.contains(what), "{refused}");
        }
        let name = |source: &str| Source::from(source).table_name();
        assert_eq!(
            [name("a/visits/part-*.parquet"), name("a/visits"), name("v*.csv")],
            ["part-*", "visits", "table"].map(|n| if n == "part-*" { "visits".into() } else { n.to_owned() })
        );
        let one = Source::from(&visits.join("part-1.csv"));
        assert_eq!(Source::from(&visits.join("*1.csv")).sha256().unwrap(), one.sha256().unwrap());
        assert_ne!(Source::from(&visits).sha256().unwrap(), one.sha256().unwrap());
        assert_eq!(Source::from(&visits.join("part-*.csv")).length().unwrap(), 31);
        fs::create_dir(visits.join("_delta_log")).unwrap();
        for source in [visits.clone(), visits.join("part-*.csv")] {
            assert!(Source::from(&source).parts().unwrap_err().what.contains("no more in the table"));
        }
        fs::remove_dir(visits.join("_delta_log")).unwrap();
        fs::write(visits.join("notes.txt"), "").unwrap();
        assert!(Source::from(&visits).parts().unwrap_err().what.contains("does not end as the other files"));
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
            let opened = Source::from(&path).open(false).unwrap();
            let Bytes::Stream(mut bytes) = opened.bytes else { panic!("CSV") };
            let length = io::copy(&mut bytes, &mut io::sink()).unwrap();
            write(&path);
            opened.check.unwrap().run().map(|()| length).map_err(|e| e.kind())
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
        assert_eq!((of(b"{\"a\":1}").unwrap(), of(b"\xef\xbb\xbf{\"a\"").unwrap()), (Format::Ndjson, Format::Ndjson));
        for (bytes, format) in [(&b""[..], Format::Ndjson), (b"\n{", Format::Ndjson), (b"PAR1", Format::Parquet)] {
            assert_eq!(sniff(&Source::from("a/Patient.000.NDJSON.gz"), bytes).unwrap(), format);
        }
        assert_eq!(of(b"PK\x03\x04").unwrap(), Format::Excel);
        assert_eq!(of(&[0xff, 0xfe, b'a', 0]).unwrap(), Format::Csv);
        for bad in [&b""[..], b"BZh9"] {
            assert_eq!(of(bad).unwrap_err().kind.exit_code(), 3);
        }
    }
}
