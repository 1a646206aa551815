//! What is known about each data set: files, origin, checksums, licence, citation.
//!
//! Addresses are pinned to a commit, and every file to a checksum, so that a download today and one in five years give
//! the same bytes or an error.

mod graphs;
mod images;
mod series;
mod tables;

/// One data set.
#[derive(Debug, Clone, Copy)]
pub struct DataSet {
    /// Name, also the name of its folder: `tu-mutag`.
    pub name: &'static str,
    /// Full name with the main numbers, for people.
    pub title: &'static str,
    /// Every file that this crate can read for it. See [`DataSet::alternatives`] for which of them are needed.
    pub files: &'static [DataFile],
    /// Groups of files that can stand for each other. A file that is in no group is needed.
    pub alternatives: &'static [Alternative],
    /// Licence, or what is known about it.
    pub licence: &'static str,
    /// What to cite.
    pub citation: &'static str,
    /// Page of the origin.
    pub homepage: &'static str,
    /// The item that reads it, as a path: `datasets::tu::load`.
    pub parser: &'static str,
    /// For files without an address: where the original is and how to convert it. Empty where every file has one.
    pub preparation: &'static str,
}

/// Two groups of files of which either is enough.
#[derive(Debug, Clone, Copy)]
pub struct Alternative {
    /// Files in a converted or compressed form, usually without a public address.
    pub converted: &'static [&'static str],
    /// The origin's files with the same content.
    pub original: &'static [&'static str],
    /// Whether the converted files hold everything that the original ones do.
    pub is_complete: bool,
}

/// One file of a data set.
#[derive(Debug, Clone, Copy)]
pub struct DataFile {
    /// File name inside the data set's folder.
    pub name: &'static str,
    /// Address of exactly these bytes (or, for `.gz`, of the same content); `None` where there is none.
    pub url: Option<&'static str>,
    /// Checksum of the file.
    pub checksum: Checksum,
    /// Checksum (SHA-256) of the decompressed content, for `.gz` files: a file compressed by another program is accepted.
    pub contents_sha256: Option<&'static str>,
    /// Length in bytes, where known.
    pub bytes: Option<u64>,
}

/// How a file is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256, lower-case hexadecimal.
    Sha256(&'static str),
    /// Git's object id of the file: SHA-1 of `blob <length>\0` and the bytes. For files that are too large for the copies
    /// of their repositories that were at hand when the registry was written, but whose commit names them.
    GitBlob(&'static str),
    /// MD5 as published by the data set's authors, where they published nothing stronger. Guards against a damaged file,
    /// not against a forged one.
    Md5(&'static str),
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Checksum::Sha256(hex) => write!(formatter, "SHA-256 {hex}"),
            Checksum::GitBlob(hex) => write!(formatter, "git blob {hex}"),
            Checksum::Md5(hex) => write!(formatter, "MD5 {hex}"),
        }
    }
}

impl DataFile {
    /// A file that is pinned by SHA-256 and has no address.
    const fn stored(name: &'static str, bytes: u64, sha256: &'static str) -> Self {
        Self { name, url: None, checksum: Checksum::Sha256(sha256), contents_sha256: None, bytes: Some(bytes) }
    }

    /// A file that is pinned by SHA-256 and can be downloaded.
    const fn public(name: &'static str, bytes: u64, sha256: &'static str, url: &'static str) -> Self {
        Self { name, url: Some(url), checksum: Checksum::Sha256(sha256), contents_sha256: None, bytes: Some(bytes) }
    }

    /// A file that is pinned by its git object id.
    const fn git(name: &'static str, id: &'static str, url: &'static str) -> Self {
        Self { name, url: Some(url), checksum: Checksum::GitBlob(id), contents_sha256: None, bytes: None }
    }

    /// Accepts also another compression of the same content.
    const fn holding(mut self, contents_sha256: &'static str) -> Self {
        self.contents_sha256 = Some(contents_sha256);
        self
    }

    /// Can be downloaded.
    const fn at(mut self, url: &'static str) -> Self {
        self.url = Some(url);
        self
    }
}

impl DataSet {
    /// The entry of a file, if the set has it.
    pub fn file(&self, name: &str) -> Option<&'static DataFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The files that can stand for `name`: the other side of the [`Alternative`] that lists it. Empty if there is none.
    pub fn substitutes(&self, name: &str) -> &'static [&'static str] {
        for alternative in self.alternatives {
            if alternative.converted.contains(&name) {
                return alternative.original;
            }
            if alternative.original.contains(&name) {
                return alternative.converted;
            }
        }
        &[]
    }
}

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
