//! Reading files of reference values.

use std::path::PathBuf;

fn directory() -> PathBuf {
    match std::env::var_os("GOLDEN_DIR") {
        Some(directory) => PathBuf::from(directory).join("sep"),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sep"),
    }
}

/// The bytes of one file; `None`, with a message, if it does not exist.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    let path = directory().join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            println!("skipped: {}: {error}", path.display());
            None
        }
    }
}

#[test]
fn at_least_one_reference_file_is_there() {
    let directory = directory();
    let files = std::fs::read_dir(&directory).map(|entries| entries.count()).unwrap_or(0);
    assert!(files > 0, "no reference values in {}", directory.display());
}
