//! The committed reports are read, and written again to the byte.

use std::path::{Path, PathBuf};

use report::Report;

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of reports can be read") {
        let path = entry.expect("the folder of reports can be read").path();
        if path.is_dir() {
            found.extend(json_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_recorded_report_is_read_and_written_again_to_the_byte() {
    let files = json_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reports"));
    assert!(!files.is_empty());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let report = Report::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(report.text().unwrap(), text, "{}", path.display());
        assert!(report.claims.iter().all(|claim| !claim.judged.is_empty()), "{}", path.display());
    }
}
