//! Files that appear whole or not at all.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Writes a file under a temporary name in the same folder, flushes it to the
/// disk and renames it. When anything fails the target is as it was before.
///
/// # Errors
/// Exit code 1: the folder cannot be written, the disk is full, or `fill` failed.
pub fn atomically(path: &Path, fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>) -> Result<()> {
    fill_and_rename(path, temporary(path, EVERYBODY)?, fill)
}

/// Permissions of a file, as far as the process's mask lets it have them.
const EVERYBODY: u32 = 0o666;
const OWNER: u32 = 0o600;

fn fill_and_rename(
    path: &Path,
    mut temporary: NamedTempFile,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>,
) -> Result<()> {
    let mut buffered = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
    fill(&mut buffered)?;
    buffered.flush().map_err(|e| cannot(path, &e))?;
    drop(buffered);
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
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed(format!("cannot be removed ({})", e.kind())).file(path).remedy("remove it by hand"))
        }
        _ => Ok(()),
    }
}

fn temporary(path: &Path, permissions: u32) -> Result<NamedTempFile> {
    if path.is_dir() {
        return Err(Error::failed("is a folder, so no file can be written there").file(path).remedy("name a file"));
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".synthward-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(permissions));
    #[cfg(not(unix))]
    let _ = permissions;
    builder.tempfile_in(folder(path)).map_err(|e| cannot(path, &e))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn cannot(path: &Path, e: &std::io::Error) -> Error {
    Error::failed(format!("cannot be written ({})", e.kind()))
        .file(path)
        .remedy("choose a folder that exists and that you may write to, with room on its disk")
}

/// Fails where [`atomically`] would, before any work is done.
///
/// # Errors
/// As [`atomically`].
pub fn check_writable(path: &Path) -> Result<()> {
    temporary(path, EVERYBODY).map(drop)
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
    fill_and_rename(path, temporary(path, OWNER)?, fill)
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

    #[test]
    fn a_folder_that_is_not_there_is_a_clear_error() {
        let error = write_bytes(Path::new("no-such-folder/a.txt"), b"x").unwrap_err();
        assert_eq!(error.kind.exit_code(), 1);
        assert!(error.to_string().contains("remedy"));
    }
}
