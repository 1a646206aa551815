//! Files that are read only where they are files, and that appear whole or not at all.

use crate::{Error, Result};
use std::fs;
use std::io::{Error as IoError, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// An error that names the file.
pub(crate) fn error(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::File { path: path.display().to_string(), reason: reason.to_string() }
}

/// The bytes of a file. A pipe or device in its place, whose reading may never end, is an error.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let read = || match fs::metadata(path)?.is_file() {
        // opening a pipe waits for its writer
        false => Err(IoError::new(ErrorKind::InvalidInput, "it is no plain file")),
        true => fs::read(path),
    };
    read().map_err(|reason| error(path, &reason))
}

/// Writes a file beside the path and renames it, so that the path never holds half a file. Only a plain file is replaced.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(IoError::new(ErrorKind::InvalidInput, "it is no plain file"));
        }
        let beside = beside(path)?;
        let written = fs::File::create_new(&beside).and_then(|mut file| file.write_all(bytes));
        let written = written.and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            // the first error is the one that matters
            let _ = fs::remove_file(&beside);
        }
        written
    };
    write().map_err(|reason| error(path, &reason))
}

/// A name in the same folder that no other process takes.
fn beside(path: &Path) -> Result<PathBuf, IoError> {
    let name = path.file_name().ok_or_else(|| IoError::new(ErrorKind::InvalidInput, "it has no name"))?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    Ok(path.with_file_name(partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        write(&path, b"one").expect("written");
        write(&path, b"two").expect("written");
        assert_eq!(read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        assert!(write(folder.path(), b"").is_err() && read(folder.path()).is_err());
        assert!(write(&folder.path().join("absent/a"), b"").is_err());
        assert!(write(Path::new("/"), b"").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_neither_read_nor_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert!(read(path).is_err() && write(path, b"").is_err(), "{}", path.display());
        }
    }
}
