//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, file_error};

/// Ends the name of a file that is being written. One that is left over belongs to a process that was killed.
const PARTIAL: &str = ".partial";

/// Writes `content` to a temporary file beside `path`, brings it to disk, and renames it to `path`.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let partial = partial_path(path);
    let written = write_and_sync(&partial, content).and_then(|()| fs::rename(&partial, path));
    if let Err(source) = written {
        // The first error is the one that matters: a full disk, a folder without permission.
        let _ = fs::remove_file(&partial);
        return Err(Error::File { action: "write", path: path.to_owned(), source });
    }
    sync_folder_of(path);
    Ok(())
}

/// Writes to a path of its own; see [`write`]. Creates the folder first.
pub(crate) fn write_in_new_folder(path: &Path, content: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(file_error("create", folder))?;
    }
    write(path, content)
}

/// Removes what killed processes left half written in `folder` and below.
pub(crate) fn remove_partial_files(folder: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file_error("read", folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(file_error("read", folder))?;
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_partial_files(&path)?;
        } else if path.to_string_lossy().ends_with(PARTIAL) {
            fs::remove_file(&path).map_err(file_error("remove", &path))?;
        }
    }
    Ok(())
}

/// A name that no other process uses, on this machine (process) or another (time, to the nanosecond).
fn partial_path(path: &Path) -> PathBuf {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{nanoseconds}{PARTIAL}", std::process::id()))
}

fn write_and_sync(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Brings the rename itself to disk. Not every file system can; a run then only loses what a power cut takes.
fn sync_folder_of(path: &Path) {
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write(&path, b"a long first content").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn partial_files_are_removed_at_every_depth_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("trials/group");
        fs::create_dir_all(&deep).unwrap();
        fs::write(partial_path(&deep.join("1.json")), "{").unwrap();
        fs::write(deep.join("2.json"), "{}").unwrap();
        remove_partial_files(folder.path()).unwrap();
        let left: Vec<_> = fs::read_dir(&deep).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["2.json"]);
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named_in_the_error() {
        let error = write(Path::new("/does/not/exist/a.json"), b"").unwrap_err();
        assert!(error.to_string().contains("/does/not/exist/a.json"), "{error}");
    }
}
