//! Where the reference values are.

use std::path::PathBuf;

fn directory() -> PathBuf {
    match std::env::var_os("GOLDEN_DIR") {
        Some(directory) => PathBuf::from(directory).join("routed-scaling-laws"),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/routed-scaling-laws"),
    }
}

/// The bytes of one file; `None`, said aloud, if it is not there.
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

/// The names of the files there that begin and end so, in order.
#[cfg(feature = "layers")]
pub(crate) fn names(start: &str, end: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(start) && name.ends_with(end)).collect();
    names.sort();
    names
}

#[test]
fn at_least_one_reference_file_is_there() {
    let directory = directory();
    let files = std::fs::read_dir(&directory).map(|entries| entries.count()).unwrap_or(0);
    assert!(files > 0, "no reference values in {}", directory.display());
}
