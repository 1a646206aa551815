//! What is known about each data set: files, origin, checksums, licence, citation.
//!
//! Addresses are pinned to a commit, and every file to a checksum, so that a download today and one in five years give
//! the same bytes or an error.

mod data_set;
mod graphs;
mod images;
mod series;
mod tables;

pub use data_set::{Alternative, Checksum, DataFile, DataSet};

/// Every data set, sorted by name.
pub fn all() -> &'static [DataSet] {
    static ALL: std::sync::LazyLock<Vec<DataSet>> = std::sync::LazyLock::new(|| {
        let mut sets: Vec<DataSet> =
            [graphs::SETS, images::SETS, series::SETS, tables::SETS].into_iter().flatten().copied().collect();
        sets.sort_by_key(|set| set.name);
        sets
    });
    &ALL
}

/// The data set of that name.
pub fn find(name: &str) -> Option<&'static DataSet> {
    all().iter().find(|set| set.name == name)
}

/// The registered name that is most like `name`, if one is within a third of its length in edits.
pub fn nearest(name: &str) -> Option<&'static str> {
    all()
        .iter()
        .map(|set| (edit_distance(name, set.name), set.name))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in bytes; `left` beyond 64 bytes is cut, since no name is that long.
fn edit_distance(left: &str, right: &str) -> usize {
    let left = &left.as_bytes()[..left.len().min(64)];
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(*a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
