//! Files that appear whole or not at all.
//!
//! Until it is whole, a file has a temporary name in the folder that it is for, and nobody but its owner may read it. Its
//! writer holds a lock on it, which ends with the process: so what a killed program left behind is told from what another
//! one is writing, and is removed by the next command that writes to the same folder.

use crate::error::{Error, Result, why};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// How the names of files begin that are not whole yet.
const UNFINISHED: &str = ".synthward-";
/// The file that the writer of an unfinished folder holds a lock on.
const FOLDER_LOCK: &str = ".lock";

/// Writes a file under a temporary name in the same folder, flushes it to the
/// disk and renames it. When anything fails the target is as it was before.
///
/// # Errors
/// Exit code 1: the folder cannot be written, the disk is full, or `fill` failed.
pub fn atomically(path: &Path, fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>) -> Result<()> {
    fill_and_rename(path, Readers::AsUsual, fill)
}

/// Writes to standard output. A reader that went away is no failure of ours.
///
/// # Errors
/// What `fill` gives; failure to write.
pub fn to_standard(fill: impl FnOnce(&mut Standard) -> Result<()>) -> Result<()> {
    let mut out = Standard { out: BufWriter::with_capacity(1 << 16, std::io::stdout()), is_gone: false };
    let filled = fill(&mut out);
    match filled.and_then(|()| out.flush().map_err(|e| cannot(Path::new("-"), &e))) {
        Err(_) if out.is_gone => Ok(()),
        filled => filled,
    }
}

/// Standard output, and whether its reader went away.
pub struct Standard {
    out: BufWriter<std::io::Stdout>,
    is_gone: bool,
}

impl Standard {
    fn heard<T>(&mut self, written: std::io::Result<T>) -> std::io::Result<T> {
        self.is_gone |= written.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe);
        written
    }
}

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes);
        self.heard(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let written = self.out.flush();
        self.heard(written)
    }
}

/// Fills a new folder under a temporary name beside its own, and renames it once all files in it are on the disk. When
/// anything fails there is no folder.
///
/// # Errors
/// Exit code 1: there is a folder already that is not empty, the disk, or `fill` failed.
pub fn folder_atomically(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    check_new_folder(path)?;
    let beside = folder(path);
    std::fs::create_dir_all(beside).map_err(|e| cannot(path, &e))?;
    remove_abandoned(beside);
    let temporary = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(beside).map_err(|e| cannot(path, &e))?;
    let lock = temporary.path().join(FOLDER_LOCK);
    let held = File::create(&lock).map_err(|e| cannot(path, &e))?;
    let _ = held.lock();
    fill(temporary.path())?;
    std::fs::remove_file(&lock).map_err(|e| cannot(path, &e))?;
    show_folder(temporary.path());
    sync_folder(&lock);
    let whole = temporary.keep();
    std::fs::rename(&whole, path).map_err(|e| {
        let _ = std::fs::remove_dir_all(&whole);
        cannot(path, &e)
    })?;
    sync_folder(path);
    Ok(())
}

/// Removes a folder with all that is in it, if it is there.
///
/// # Errors
/// Exit code 1: it is there and cannot be removed.
pub fn remove_folder(path: &Path) -> Result<()> {
    removed(path, std::fs::remove_dir_all(path))
}

/// Whether a name stands for standard output.
pub fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Refuses a file that is there: nothing is overwritten.
///
/// # Errors
/// Exit code 1: there is a file of this name.
pub fn check_new(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_dir() => Err(Error::failed("is there already")
            .file(path)
            .remedy("name another file, or add --force to write over this one")),
        _ => Ok(()),
    }
}

/// Refuses a folder that holds anything: nothing is overwritten.
///
/// # Errors
/// Exit code 1: there is something of this name that is no empty folder.
pub fn check_new_folder(path: &Path) -> Result<()> {
    let is_empty = std::fs::read_dir(path).map(|mut entries| entries.next().is_none());
    match is_empty {
        Ok(true) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(Error::failed("is there already, and is no empty folder").file(path).remedy("name a new folder")),
    }
}

/// Flushes a file that lies in a folder of [`folder_atomically`], and lets those read it who usually may.
///
/// # Errors
/// Exit code 1: the disk.
pub fn settle(path: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).open(path).map_err(|e| cannot(path, &e))?;
    show(&file);
    file.sync_all().map_err(|e| cannot(path, &e))
}

/// Who may read a file once it is whole.
#[derive(Clone, Copy, PartialEq)]
enum Readers {
    /// Whoever the process's mask lets.
    AsUsual,
    Owner,
}

fn fill_and_rename(
    path: &Path,
    readers: Readers,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>,
) -> Result<()> {
    let mut temporary = temporary(path)?;
    let mut buffered = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
    fill(&mut buffered)?;
    buffered.flush().map_err(|e| cannot(path, &e))?;
    drop(buffered);
    if readers == Readers::AsUsual {
        show(temporary.as_file());
    }
    temporary.as_file().sync_all().map_err(|e| cannot(path, &e))?;
    temporary.persist(path).map_err(|e| cannot(path, &e.error))?;
    sync_folder(path);
    Ok(())
}

/// A new name is on the disk once its folder is; not every system lets a folder be opened.
fn sync_folder(path: &Path) {
    if let Ok(folder) = File::open(folder(path)) {
        let _ = folder.sync_all();
    }
}

/// Gives a file that lies whole on the disk another name in the same folder.
///
/// # Errors
/// As [`atomically`].
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(|e| cannot(to, &e))?;
    sync_folder(to);
    Ok(())
}

/// Removes a file, if it is there.
///
/// # Errors
/// Exit code 1: it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    removed(path, std::fs::remove_file(path))
}

fn removed(path: &Path, removed: std::io::Result<()>) -> Result<()> {
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed(format!("cannot be removed ({})", why(e.kind()))).file(path).remedy("remove it by hand"))
        }
        _ => Ok(()),
    }
}

/// Gives a file the permissions that one made in the usual way would have. Where the file system knows none, it stays as
/// it is.
#[cfg(unix)]
fn show(file: &File) {
    use rustix::fs::Mode;
    use rustix::process::umask;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::LazyLock;
    // The mask can only be read by changing it; files of other threads are meanwhile their owner's alone.
    static MASK: LazyLock<u32> = LazyLock::new(|| {
        let mask = umask(Mode::RWXG | Mode::RWXO);
        umask(mask);
        mask.bits()
    });
    let _ = file.set_permissions(std::fs::Permissions::from_mode(0o666 & !*MASK));
}

#[cfg(not(unix))]
fn show(_: &File) {}

/// As [`show`], for a folder: who may read what lies there may look into it.
#[cfg(unix)]
fn show_folder(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(inside) = tempfile::tempfile_in(path) {
        show(&inside);
        let read = inside.metadata().map_or(0o600, |m| m.permissions().mode());
        let _ =
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o300 | read & 0o666 | (read & 0o444) >> 2));
    }
}

#[cfg(not(unix))]
fn show_folder(_: &Path) {}

/// A new file for its owner alone, locked.
fn temporary(path: &Path) -> Result<NamedTempFile> {
    if path.is_dir() {
        return Err(Error::failed("is a folder, so no file can be written there").file(path).remedy("name a file"));
    }
    let folder = folder(path);
    remove_abandoned(folder);
    loop {
        let mut builder = tempfile::Builder::new();
        let file = builder.prefix(UNFINISHED).tempfile_in(folder).map_err(|e| cannot(path, &e))?;
        // A file system without locks has none to look for either.
        let _ = file.as_file().lock();
        // Another process may have taken it for abandoned just before it was locked.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes unfinished files and folders that nobody is writing any more, as far as this user may.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let is_unfinished =
        |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
    for path in entries.flatten().filter(is_unfinished).map(|entry| entry.path()) {
        let is_folder = path.is_dir();
        let lock = if is_folder { path.join(FOLDER_LOCK) } else { path.clone() };
        let Ok(file) = OpenOptions::new().write(true).open(&lock) else { continue };
        // The lock is held until the file is gone: whoever waits for it will see that.
        if file.try_lock().is_ok() {
            let _ = if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn cannot(path: &Path, e: &std::io::Error) -> Error {
    Error::failed(format!("cannot be written ({})", why(e.kind())))
        .file(path)
        .remedy("choose a folder that exists and that you may write to, with room on its disk")
}

/// Fails where [`atomically`] would, before any work is done.
///
/// # Errors
/// As [`atomically`].
pub fn check_writable(path: &Path) -> Result<()> {
    temporary(path).map(drop)
}

/// Writes the bytes whole or not at all.
///
/// # Errors
/// As [`atomically`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    atomically(path, |file| file.write_all(bytes).map_err(|e| cannot(path, &e)))
}

/// As [`write_bytes`], for nobody but the owner to read.
///
/// # Errors
/// As [`atomically`].
pub fn write_private_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let fill = |file: &mut BufWriter<&mut File>| file.write_all(bytes).map_err(|e| cannot(path, &e));
    fill_and_rename(path, Readers::Owner, fill)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_bytes(&path, b"old").unwrap();
        let error = atomically(&path, |file| {
            file.write_all(b"new").unwrap();
            Err(Error::failed("stop"))
        });
        assert!(error.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_a_file_that_is_not_whole() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let path = folder.path().join("a.txt");
        atomically(&path, |file| {
            file.write_all(b"new").unwrap();
            let [unfinished] = [std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path()];
            assert_eq!(mode(&unfinished), 0o600);
            Ok(())
        })
        .unwrap();
        let usual = folder.path().join("b.txt");
        std::fs::write(&usual, b"").unwrap();
        assert_eq!(mode(&path), mode(&usual));
        write_private_bytes(&path, b"scores").unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    /// Files that a dead process left, beside one that is being written.
    #[test]
    fn abandoned_files_are_removed_and_those_in_use_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let abandoned = folder.path().join(format!("{UNFINISHED}dead"));
        let foreign = folder.path().join(".other-dead");
        std::fs::write(&abandoned, b"half").unwrap();
        std::fs::write(&foreign, b"half").unwrap();
        let in_use = temporary(&path).unwrap();
        assert!(!abandoned.exists());
        write_bytes(&path, b"whole").unwrap();
        assert!(in_use.path().exists() && foreign.exists());
        let path_in_use = in_use.path().to_owned();
        drop(in_use);
        assert!(!path_in_use.exists());
    }

    /// Eight threads write, each looking for abandoned files of the others all the time.
    #[test]
    fn writers_at_once_do_not_remove_each_others_files() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let path = folder.path().join(format!("{thread}.txt"));
                scope.spawn(move || (0..50).for_each(|_| write_bytes(&path, b"whole").unwrap()));
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 8);
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_clear_error() {
        let error = write_bytes(Path::new("no-such-folder/a.txt"), b"x").unwrap_err();
        assert_eq!(error.kind.exit_code(), 1);
        assert!(error.to_string().contains("remedy"));
    }
}
