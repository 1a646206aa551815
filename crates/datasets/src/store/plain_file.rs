//! The files beside a download: plain files of ours, opened without following a link that somebody put there.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

/// What is done with a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// It is removed, and its target stays as it is.
    Removed,
    /// It is an error.
    Refused,
}

/// What lies at a path.
pub(super) enum Found {
    Nothing,
    File(Metadata),
    /// A symbolic link, or a file that has a second name elsewhere.
    Link,
}

/// Looks at a path without following a link.
///
/// # Errors
/// [`Error::Io`] for a folder, pipe, socket or device.
pub(super) fn look(path: &Path) -> Result<Found> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() || has_other_names(&metadata) => Ok(Found::Link),
        Ok(metadata) if metadata.is_file() => Ok(Found::File(metadata)),
        Ok(_) => Err(refusal(path, "it is neither absent nor a regular file; remove it")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(source) => Err(Error::io("look at", path, source)),
    }
}

/// The length of a regular file; 0 for anything else.
pub(super) fn length(path: &Path) -> u64 {
    match look(path) {
        Ok(Found::File(metadata)) => metadata.len(),
        _ => 0,
    }
}

/// Opens a file for writing, or creates it. What an existing one holds stays.
///
/// # Errors
/// [`Error::Io`] for anything but a regular file, and where somebody changes the path meanwhile.
pub(super) fn open(path: &Path, links: Links) -> Result<File> {
    match look(path)? {
        Found::File(metadata) => {
            let mut options = OpenOptions::new();
            return same(path, options.write(true).open(path), &metadata);
        }
        Found::Link if links == Links::Refused => return Err(refusal(path, "it is a link; remove it")),
        Found::Link => fs::remove_file(path).map_err(|source| Error::io("remove the link", path, source))?,
        Found::Nothing => {}
    }
    match File::create_new(path) {
        // Another process made the file between the look and the creation: it is there now.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match look(path)? {
            Found::File(metadata) => same(path, OpenOptions::new().write(true).open(path), &metadata),
            _ => Err(refusal(path, "it changed while it was opened")),
        },
        outcome => outcome.map_err(|source| Error::io("write", path, source)),
    }
}

/// Opens a regular file for reading; `None` where there is none.
///
/// # Errors
/// As [`open`].
pub(super) fn open_for_reading(path: &Path) -> Result<Option<File>> {
    match look(path)? {
        Found::File(metadata) => same(path, File::open(path), &metadata).map(Some),
        Found::Link | Found::Nothing => Ok(None),
    }
}

/// The opened file, if it is the one that was looked at.
fn same(path: &Path, opened: io::Result<File>, looked_at: &Metadata) -> Result<File> {
    let file = opened.map_err(|source| Error::io("open", path, source))?;
    let metadata = file.metadata().map_err(|source| Error::io("look at", path, source))?;
    match is_same(&metadata, looked_at) {
        true => Ok(file),
        false => Err(refusal(path, "it changed while it was opened")),
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(one: &Metadata, _: &Metadata) -> bool {
    one.is_file()
}

#[cfg(unix)]
fn has_other_names(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.is_file() && metadata.nlink() > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &Metadata) -> bool {
    false
}

fn refusal(path: &Path, reason: &str) -> Error {
    Error::io("use", path, io::Error::other(reason))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_never_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (target, path) = (folder.path().join("target"), folder.path().join("path"));
        fs::write(&target, "mine").unwrap();
        for make_link in [
            |target: &Path, path: &Path| symlink(target, path),
            |target: &Path, path: &Path| fs::hard_link(target, path),
        ] {
            make_link(&target, &path).unwrap();
            assert!(open(&path, Links::Refused).is_err());
            assert!(open_for_reading(&path).unwrap().is_none() && length(&path) == 0);
            open(&path, Links::Removed).unwrap().write_all(b"ours").unwrap();
            assert_eq!((fs::read(&target).unwrap(), fs::read(&path).unwrap()), (b"mine".to_vec(), b"ours".to_vec()));
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_is_there_stays_and_another_file_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("path"), folder.path().join("other"));
        fs::write(&path, "before").unwrap();
        fs::write(&other, "other").unwrap();
        drop(open(&path, Links::Refused).unwrap());
        assert_eq!((fs::read(&path).unwrap(), length(&path)), (b"before".to_vec(), 6));
        let looked_at = fs::symlink_metadata(&path).unwrap();
        assert!(same(&path, File::open(&other), &looked_at).is_err());
    }

    #[test]
    fn folders_and_pipes_are_errors_and_do_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [folder.path(), &pipe] {
            assert!(open(path, Links::Removed).is_err() && open_for_reading(path).is_err());
        }
    }
}
