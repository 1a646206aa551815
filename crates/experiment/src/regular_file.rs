//! Files of a run's folder, read only where they are files: a pipe in the place of one would keep the run waiting for ever.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The text of a regular file.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    check(path)?;
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// An error where something else than a regular file lies, or nothing.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_and_a_folder_are_errors_and_a_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, file) = (folder.path().join("pipe"), folder.path().join("file"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::write(&file, "text").unwrap();
        assert!(read(&pipe).is_err() && read(folder.path()).is_err() && read(Path::new("/dev/null")).is_err());
        assert_eq!(read(&file).unwrap(), "text");
    }
}
