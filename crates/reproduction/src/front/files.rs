use experiment::{BoxError, Result};
use std::path::{Path, PathBuf};

fn fail(path: &Path, reason: impl std::fmt::Display) -> BoxError {
    format!("{}: {reason}", path.display()).into()
}

/// Reads a plain file. A folder, or a pipe whose reading may never end, is an error.
///
/// # Errors
///
/// When it is no plain file or cannot be read; names the path.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let found = std::fs::metadata(path).map_err(|error| fail(path, error))?;
    if !found.is_file() {
        return Err(fail(path, "it is no plain file"));
    }
    std::fs::read(path).map_err(|error| fail(path, error))
}

/// Writes a file beside the path and renames it.
///
/// # Errors
///
/// When it cannot be written; names the path.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        fail(path, error)
    })
}

/// The arguments `--out` and `--force`, to be flattened into a program's own. The program gives the folder's name: `#[command(mut_arg("out", |out| out.default_value("fitted")))]`.
#[derive(Debug, Clone, clap::Args)]
pub struct Output {
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub out: PathBuf,
    /// Replace results in a folder that holds files
    #[arg(long)]
    pub force: bool,
}

impl Output {
    pub(super) fn folder(&self) -> Result<Folder> {
        Folder::prepare(&self.out, self.force)
    }
}

/// A folder for results.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, before any work is done for it. One that holds files is an error unless `force`, which lets files of the same name be replaced.
    ///
    /// # Errors
    ///
    /// As above, and when it cannot be made.
    pub(super) fn prepare(path: &Path, force: bool) -> Result<Self> {
        if path.exists() && !path.is_dir() {
            return Err(fail(path, "it is no folder"));
        }
        std::fs::create_dir_all(path).map_err(|error| fail(path, error))?;
        let is_empty = std::fs::read_dir(path).map_err(|error| fail(path, error))?.next().is_none();
        match is_empty || force {
            true => Ok(Self { path: path.to_owned() }),
            false => Err(fail(path, "it holds files: take another --out, or --force replaces what has the same names")),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, beside its place first.
    ///
    /// # Errors
    ///
    /// When it cannot be written; names the path.
    pub(super) fn save(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        write(&self.path.join(name), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_keep_what_is_in_them() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new");
        let folder = Folder::prepare(&path, false).unwrap();
        folder.save("a.txt", "one").unwrap();
        assert_eq!(read(&folder.join("a.txt")).unwrap(), b"one");
        assert!(Folder::prepare(&path, false).unwrap_err().to_string().contains("--force"));
        Folder::prepare(&path, true).unwrap().save("a.txt", "two").unwrap();
        assert_eq!(read(&path.join("a.txt")).unwrap(), b"two");
        assert!(
            read(&path).is_err()
                && read(&path.join("b")).is_err()
                && Folder::prepare(&path.join("a.txt"), true).is_err()
        );
    }
}
