//! What programs for one's own data share: plain files in, a folder out, lines that cannot steer a terminal.

use experiment::{BoxError, Result};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Prints a line; whoever reads may have stopped reading.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", plain(text));
}

/// Without characters that steer a terminal or turn the direction of text: names come from outside.
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Reads a plain file. A folder, or a pipe whose reading may never end, is an error.
///
/// # Errors
///
/// When it is no plain file or cannot be read; names the path.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let fail = |reason: String| BoxError::from(format!("{}: {reason}", path.display()));
    let found = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    if !found.is_file() {
        return Err(fail("it is no plain file".to_owned()));
    }
    std::fs::read(path).map_err(|error| fail(error.to_string()))
}

/// A folder for results.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, before any work is done for it. One that holds files is an error unless `force`, which lets files of the same name be replaced.
    ///
    /// # Errors
    ///
    /// As above, and when it cannot be made.
    pub fn prepare(path: &Path, force: bool) -> Result<Self> {
        let fail = |reason: String| BoxError::from(format!("{}: {reason}", path.display()));
        if path.exists() && !path.is_dir() {
            return Err(fail("it is no folder".to_owned()));
        }
        std::fs::create_dir_all(path).map_err(|error| fail(error.to_string()))?;
        let is_empty = std::fs::read_dir(path).map_err(|error| fail(error.to_string()))?.next().is_none();
        match is_empty || force {
            true => Ok(Self { path: path.to_owned() }),
            false => {
                Err(fail("it holds files: take another --out, or --force replaces what has the same names".to_owned()))
            }
        }
    }

    /// The path of a file in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, beside its place first.
    ///
    /// # Errors
    ///
    /// When it cannot be written; names the path.
    pub fn save(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path.join(name);
        let beside = self.path.join(format!(".{name}.{}.partial", std::process::id()));
        let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, &path));
        written.map_err(|error| format!("{}: {error}", path.display()).into())
    }
}

/// A cell of a CSV file: a number, or nothing where there is none.
pub fn cell(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

/// A text as a quoted cell of a CSV file.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
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
