//! Files that the programs read and write: no pipe is waited for, nothing is overwritten unasked.

use crate::networks::Fallible;
use std::path::Path;

/// An error for what is no plain file, such as a folder or a pipe, whose reading may never end.
#[allow(dead_code, reason = "not every program reads files of its own")]
pub(crate) fn is_file(path: &Path) -> Fallible<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(format!("{}: it is no plain file", path.display()).into()),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// Whether a file can be written there, before any work is done for it.
#[allow(dead_code, reason = "not every program writes one file")]
pub(crate) fn may_write(path: &Path, force: bool) -> Fallible<()> {
    let shown = path.display();
    if path.file_name().is_none() {
        return Err(format!("{shown}: a file to be written needs a name").into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(format!("{shown}: there is no folder {}", folder.display()).into());
    }
    match std::fs::metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.is_file() => Err(format!("{shown}: it is no plain file").into()),
        Ok(_) if force => Ok(()),
        Ok(_) => Err(format!("{shown} exists: --force replaces it").into()),
    }
}

/// Writes a file beside the path and renames it.
#[allow(dead_code, reason = "not every program writes files of its own")]
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Fallible<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.partial", std::process::id()));
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| format!("{}: {error}", path.display()).into())
}
