//! Reference values of a paper's tests.

use std::path::{Path, PathBuf};

/// The folder of a paper's reference values: `$GOLDEN_DIR/<slug>` where that is set, so that another set of the same format can be dropped in, else `tests/golden/<slug>` of the crate.
#[derive(Debug, Clone)]
pub struct Golden {
    folder: PathBuf,
}

impl Golden {
    /// The folder of the paper `slug`; `manifest_dir` is the crate's `env!("CARGO_MANIFEST_DIR")`.
    pub fn of(slug: &str, manifest_dir: &str) -> Self {
        let folder = match std::env::var_os("GOLDEN_DIR") {
            Some(folder) => PathBuf::from(folder).join(slug),
            None => Path::new(manifest_dir).join("tests").join("golden").join(slug),
        };
        Self { folder }
    }

    /// The bytes of one file; none, said aloud, where it is not there.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                println!("skipped: {}: {error}", path.display());
                None
            }
        }
    }

    /// The names of the files that begin and end so, in order.
    pub fn names(&self, start: &str, end: &str) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(start) && name.ends_with(end)).collect();
        names.sort();
        names
    }

    /// Fails a test where there is no file at all.
    ///
    /// # Panics
    /// When the folder is empty or absent.
    pub fn assert_not_empty(&self) {
        assert!(!self.names("", "").is_empty(), "no reference values in {}", self.folder.display());
    }
}
