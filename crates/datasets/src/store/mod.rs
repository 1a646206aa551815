//! Where files are: the user's data folders, the cache, and, when allowed, the network.
//!
//! The layout is the same everywhere: `<folder>/<set>/<file>`. The folders are searched in this order:
//! [`StoreConfig::data_dir`], `$DATA_DIR`, the cache (`datasets` in the user's cache folder). What is found nowhere is
//! downloaded into the cache. Files of registered data sets are verified each time they are handed out.

mod checksum;
pub mod download;
mod lock;
mod pace;
mod plain_file;
mod validator;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::registry::{self, DataFile, DataSet};
use download::{DownloadConfig, ProgressCallback, Request};

/// How a [`Store`] finds files.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// A folder of data sets, searched first and never written to. Default: none.
    pub data_dir: Option<PathBuf>,
    /// Whether `$DATA_DIR` is searched, too. Default: true.
    pub uses_environment: bool,
    /// The cache. Default: `datasets` in the user's cache folder (on Linux `~/.cache/datasets`).
    pub cache_dir: Option<PathBuf>,
    /// Never touch the network. Default: false.
    pub is_offline: bool,
    /// A mirror that is asked instead of the origins, as `<base_url>/<set>/<file>`. Default: none.
    pub base_url: Option<String>,
    /// Time for connecting, for the answer to begin, and for a body to make progress. Default: 30 s.
    pub patience: Duration,
    /// How often a download is tried before it fails. Default: 5.
    pub max_attempts: u32,
    /// The pause before the second attempt; it doubles with each further one. Default: 1 s.
    pub first_pause: Duration,
    /// The least rate of a download, in bytes per second averaged over [`patience`](Self::patience); a slower connection counts
    /// as a failed attempt. 0 for none. Default: 1024.
    pub least_rate: u64,
    /// The longest time that the download of one file may take in all. Default: 6 h.
    pub deadline: Duration,
    /// Told about each download as it goes on. Default: nobody.
    pub progress: Option<ProgressCallback>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let download = DownloadConfig::default();
        Self {
            data_dir: None,
            uses_environment: true,
            cache_dir: None,
            is_offline: false,
            base_url: None,
            patience: download.patience,
            max_attempts: download.max_attempts,
            first_pause: download.first_pause,
            least_rate: download.least_rate,
            deadline: download.deadline,
            progress: None,
        }
    }
}

/// Hands out the paths of data files.
#[derive(Debug, Clone)]
pub struct Store {
    /// Folders that belong to the user: read only.
    folders: Vec<PathBuf>,
    cache: Option<PathBuf>,
    is_offline: bool,
    base_url: Option<String>,
    download: DownloadConfig,
}

impl Store {
    /// A store with this configuration. Nothing is read or created yet.
    ///
    /// # Errors
    /// [`Error::NoCacheFolder`] when downloads are allowed but the system names no cache folder and the configuration names none.
    pub fn new(config: StoreConfig) -> Result<Self> {
        let mut folders: Vec<PathBuf> = config.data_dir.into_iter().collect();
        if config.uses_environment
            && let Some(folder) = std::env::var_os("DATA_DIR").filter(|value| !value.is_empty())
        {
            folders.push(folder.into());
        }
        let cache =
            config.cache_dir.or_else(|| directories::BaseDirs::new().map(|base| base.cache_dir().join("datasets")));
        if cache.is_none() && !config.is_offline {
            return Err(Error::NoCacheFolder);
        }
        let download = DownloadConfig {
            patience: config.patience,
            max_attempts: config.max_attempts,
            first_pause: config.first_pause,
            least_rate: config.least_rate,
            deadline: config.deadline,
            progress: config.progress,
        };
        Ok(Self { folders, cache, is_offline: config.is_offline, base_url: config.base_url, download })
    }

    /// The folders that are searched, in order.
    pub fn search_path(&self) -> Vec<PathBuf> {
        self.folders.iter().chain(&self.cache).cloned().collect()
    }

    /// The file's path if it is on this machine. Neither verified nor downloaded.
    pub fn locate(&self, set: &str, file: &str) -> Option<PathBuf> {
        if check_name(set).is_err() || check_name(file).is_err() {
            return None;
        }
        self.folders.iter().chain(&self.cache).map(|folder| folder.join(set).join(file)).find(|path| path.is_file())
    }

    /// The file's path, after a download if need be. Registered files are verified, also when you compressed them yourself
    /// (`COLLAB.txt.gz` for `COLLAB.txt`); others (your own data in a data folder) are handed out as they are.
    ///
    /// # Errors
    /// Unknown names; a wrong checksum; absent and offline or not downloadable (the message says what to do); what
    /// [`download::download`] reports.
    pub fn file(&self, set: &str, file: &str) -> Result<PathBuf> {
        check_name(set)?;
        check_name(file)?;
        for folder in &self.folders {
            let path = folder.join(set).join(file);
            if path.is_file() {
                verify(&path, set, file)?;
                return Ok(path);
            }
        }
        if let Some(path) = self.cache.as_ref().map(|cache| cache.join(set).join(file)).filter(|path| path.is_file()) {
            let has_address =
                registry::find(set).and_then(|set| set.file(file)).is_some_and(|entry| entry.url.is_some());
            match verify(&path, set, file) {
                Ok(()) => return Ok(path),
                // The cache is ours: a damaged file is fetched again instead of bothering the user.
                Err(Error::WrongChecksum { .. }) if has_address && !self.is_offline => {}
                Err(error) => return Err(error),
            }
        }
        self.fetch(set, file)
    }

    /// The first of `names` that is on this machine, verified; else the first that can be downloaded.
    ///
    /// # Errors
    /// As [`Store::file`], for the last of the names.
    pub fn any_file(&self, set: &str, names: &[&str]) -> Result<PathBuf> {
        if let Some(name) = names.iter().find(|name| self.locate(set, name).is_some()) {
            return self.file(set, name);
        }
        let has_address = |name: &&&str| {
            registry::find(set).and_then(|known| known.file(name)).is_some_and(|file| file.url.is_some())
        };
        match names.iter().find(has_address).or(names.last()) {
            Some(name) => self.file(set, name),
            None => Err(Error::invalid_config("names", "no file name was given")),
        }
    }

    /// Brings every file of a data set onto this machine that can be downloaded and is needed: where a converted form
    /// and the original can stand for each other, one of them is enough. Returns the paths of what is there now.
    ///
    /// Where the converted form holds less than the original (`planetoid-pubmed`: no features; `cifar-10`: JPEG), the
    /// original is fetched, too, unless the store is offline.
    ///
    /// # Errors
    /// As [`Store::file`]. A file that has neither an address nor a substitute and is absent is
    /// [`Error::NotDownloadable`], after everything else was fetched.
    pub fn download_set(&self, set: &str) -> Result<Vec<PathBuf>> {
        let known = known_set(set)?;
        let is_here = |name: &&str| self.locate(set, name).is_some();
        let mut paths = Vec::new();
        let mut missing = None;
        let mut skipped: BTreeSet<&str> = BTreeSet::new();
        for alternative in known.alternatives {
            let (converted, original) = (alternative.converted, alternative.original);
            // Without the network, the poorer form is better than nothing.
            let is_good = alternative.is_complete || self.is_offline;
            let is_converted_enough = is_good && converted.iter().all(is_here);
            if is_converted_enough && !original.iter().all(is_here) {
                skipped.extend(original);
            } else {
                skipped.extend(converted.iter().filter(|name| !is_here(name)));
            }
        }
        for file in known.files.iter().filter(|file| !skipped.contains(file.name)) {
            match self.file(set, file.name) {
                Ok(path) => paths.push(path),
                Err(error @ Error::NotDownloadable { .. }) => missing = missing.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match missing {
            Some(error) => Err(error),
            None => Ok(paths),
        }
    }

    /// Downloads a file that was not found.
    fn fetch(&self, set: &str, file: &str) -> Result<PathBuf> {
        let known = known_set(set)?;
        let entry = known_file(known, file)?;
        let absent = |how: Option<String>| {
            let (set, file, searched) = (set.to_owned(), file.to_owned(), self.search_path());
            match how {
                Some(how) => Error::NotDownloadable { set, file, searched, how },
                None => Error::Offline { set, file, searched },
            }
        };
        let Some(origin) = entry.url else { return Err(absent(Some(how_to_obtain(known, file)))) };
        let Some(cache) = self.cache.as_ref().filter(|_| !self.is_offline) else { return Err(absent(None)) };
        let url = match &self.base_url {
            Some(base) => format!("{}/{set}/{file}", base.trim_end_matches('/')),
            None => origin.to_owned(),
        };
        let destination = cache.join(set).join(file);
        let request =
            Request { url: &url, checksum: entry.checksum, contents_sha256: entry.contents_sha256, bytes: entry.bytes };
        match download::download(&request, &destination, &self.download) {
            Ok(()) => Ok(destination),
            Err(cause @ (Error::Status { .. } | Error::Network { .. })) => Err(Error::DownloadFailed {
                set: set.to_owned(),
                file: file.to_owned(),
                how: known.preparation.to_owned(),
                path: destination,
                cause: Box::new(cause),
            }),
            Err(error) => Err(error),
        }
    }
}

/// Checks a file against the registry, if it is registered there, compressed or not.
fn verify(path: &Path, set: &str, file: &str) -> Result<()> {
    let Some(known) = registry::find(set) else { return Ok(()) };
    if let Some(entry) = known.file(file) {
        return checksum::verify(path, entry.checksum, entry.contents_sha256);
    }
    match file.strip_suffix(".gz").and_then(|plain| known.file(plain)) {
        Some(entry) => checksum::verify_compressed(path, entry.checksum),
        None => Ok(()),
    }
}

/// Where a file without an address comes from.
fn how_to_obtain(set: &DataSet, file: &str) -> String {
    let substitutes = set.substitutes(file);
    if !substitutes.is_empty() {
        return format!("its content is also accepted as {}", substitutes.join(", "));
    }
    set.preparation.to_owned()
}

fn known_set(set: &str) -> Result<&'static DataSet> {
    registry::find(set).ok_or_else(|| Error::UnknownDataSet { name: set.to_owned(), nearest: registry::nearest(set) })
}

fn known_file(set: &'static DataSet, file: &str) -> Result<&'static DataFile> {
    set.file(file).ok_or_else(|| Error::UnknownFile {
        set: set.name.to_owned(),
        file: file.to_owned(),
        known: set.files.iter().map(|file| file.name).collect(),
    })
}

/// A name must not lead out of its folder.
fn check_name(name: &str) -> Result<()> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only.to_str() == Some(name) => Ok(()),
        _ => Err(Error::InvalidName { name: name.to_owned() }),
    }
}
