//! What is known about one data set and its files.

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
    pub(super) const fn stored(name: &'static str, bytes: u64, sha256: &'static str) -> Self {
        Self { name, url: None, checksum: Checksum::Sha256(sha256), contents_sha256: None, bytes: Some(bytes) }
    }

    /// A file that is pinned by SHA-256 and can be downloaded.
    pub(super) const fn public(name: &'static str, bytes: u64, sha256: &'static str, url: &'static str) -> Self {
        Self { name, url: Some(url), checksum: Checksum::Sha256(sha256), contents_sha256: None, bytes: Some(bytes) }
    }

    /// A file that is pinned by its git object id.
    pub(super) const fn git(name: &'static str, id: &'static str, url: &'static str) -> Self {
        Self { name, url: Some(url), checksum: Checksum::GitBlob(id), contents_sha256: None, bytes: None }
    }

    /// Accepts also another compression of the same content.
    pub(super) const fn holding(mut self, contents_sha256: &'static str) -> Self {
        self.contents_sha256 = Some(contents_sha256);
        self
    }

    /// Can be downloaded.
    pub(super) const fn at(mut self, url: &'static str) -> Self {
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
