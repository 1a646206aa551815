//! One verified download: resumed after a cut, retried after a failure, placed whole or not at all.
//!
//! The bytes are collected in `<destination>.part`, verified, and renamed. A validator of the server's file (its ETag, else
//! its date) is kept in `<destination>.part.validator`: a later attempt, also of a later process, continues only if the
//! server confirms that its file is still the same one. `<destination>.lock` keeps two processes from doing it at once. None
//! of these files is written through a link.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::plain_file::{self, Links};
use super::{checksum, lock, validator};
use crate::error::{Error, Result};
use crate::registry::Checksum;
use crate::text::quoted;

/// What a file of unknown length may have at most: 4 GiB.
const MAX_BYTES: u64 = 4 << 30;

/// No wait is longer than this: about three years. A clock cannot be asked for the end of an endless one.
const MAX_WAIT: Duration = Duration::from_secs(100_000_000);

/// Redirections that are followed.
const MAX_REDIRECTIONS: u32 = 8;

/// What to download.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The address, `http` or `https`.
    pub url: &'a str,
    /// What the file must have.
    pub checksum: Checksum,
    /// For gzip files: SHA-256 of the content, accepted instead of `checksum`.
    pub contents_sha256: Option<&'static str>,
    /// Length of the file, where known: shown as progress, and bounds what is accepted.
    pub bytes: Option<u64>,
}

/// How to download.
#[derive(Debug, Clone)]
pub struct DownloadConfig {
    /// Longest wait for a connection, for the answer to begin, and for further bytes. Default: 30 s.
    pub patience: Duration,
    /// How often it is tried. Default: 5.
    pub max_attempts: u32,
    /// The pause before the second attempt; it doubles with each further one. Default: 1 s.
    pub first_pause: Duration,
    /// The least rate, in bytes per second averaged over [`patience`](Self::patience): a slower connection is given up, and
    /// counts as a failed attempt. 0 for none. Default: 1024.
    pub least_rate: u64,
    /// The longest time that a download may take in all, with every attempt and pause, and with waiting for another process
    /// that downloads the same file. Default: 6 h.
    pub deadline: Duration,
    /// Told about the progress. Default: nobody.
    pub progress: Option<ProgressCallback>,
}

impl Default for DownloadConfig {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            max_attempts: 5,
            first_pause: Duration::from_secs(1),
            least_rate: 1024,
            deadline: Duration::from_secs(6 * 3600),
            progress: None,
        }
    }
}

/// State of a download.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Where the file will be.
    pub destination: &'a Path,
    /// The address.
    pub url: &'a str,
    /// Bytes that are on this machine, including those of earlier attempts.
    pub received: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
    /// The attempt, from 1.
    pub attempt: u32,
    /// True in the last report of a file: it is verified and in its place.
    pub is_finished: bool,
}

/// A function that is told about progress: at each attempt's start, every 64 KiB or less, and at the end.
#[derive(Clone)]
pub struct ProgressCallback(Arc<dyn Fn(Progress<'_>) + Send + Sync>);

impl ProgressCallback {
    /// Wraps a function. It is called on the downloading thread, so it must be quick.
    pub fn new(report: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }
}

impl std::fmt::Debug for ProgressCallback {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ProgressCallback")
    }
}

/// Downloads a file, verifies it and puts it at `destination`, whose folders are created. If a file with the right
/// checksum is there already (because another process was quicker), nothing is downloaded.
///
/// # Errors
/// [`Error::Status`] for an answer that no repetition will better; [`Error::Network`] when the attempts or the time are used
/// up; [`Error::WrongChecksum`], [`Error::TooLong`], [`Error::DiskFull`]; [`Error::Io`], also where something else than a
/// regular file has the name of one of the files beside the destination.
pub fn download(request: &Request<'_>, destination: &Path, config: &DownloadConfig) -> Result<()> {
    let folder = destination.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
    let deadline = Instant::now() + config.deadline.min(MAX_WAIT);
    let lock = lock::acquire(&with_suffix(destination, ".lock"), Some(deadline))?;
    let is_wanted = |path: &Path| checksum::verify(path, request.checksum, request.contents_sha256);
    if destination.is_file() && is_wanted(destination).is_ok() {
        return Ok(());
    }
    // Without a lock another process may write the same part: then each has its own, and nothing is resumed.
    let part = match lock.is_exclusive {
        true => with_suffix(destination, ".part"),
        false => with_suffix(destination, &format!(".{}.part", std::process::id())),
    };
    let agent = agent(request.url, config);
    let mut transfer = Transfer { request, destination, config, deadline, agent, part, attempts: 0 };
    let was_resumed = transfer.run()?;
    if let Err(error) = is_wanted(&transfer.part) {
        transfer.forget();
        if !was_resumed {
            return Err(renamed(error, destination));
        }
        // The beginning may stem from another version of the server's file: once more, from the start.
        transfer.run()?;
        is_wanted(&transfer.part).map_err(|error| {
            transfer.forget();
            renamed(error, destination)
        })?;
    }
    transfer.place()
}

/// One file's way from the server to its place.
struct Transfer<'a> {
    request: &'a Request<'a>,
    destination: &'a Path,
    config: &'a DownloadConfig,
    deadline: Instant,
    agent: ureq::Agent,
    part: PathBuf,
    /// Connections that were made so far.
    attempts: u32,
}

/// How one attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Passing(String),
    /// It will not.
    Lasting(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Lasting(error)
    }
}

impl Transfer<'_> {
    /// Attempts until the part is complete. Returns whether any of its bytes are of an earlier connection.
    fn run(&mut self) -> Result<bool> {
        let mut failed_in_a_row = 0;
        let mut pause = self.config.first_pause;
        loop {
            self.attempts += 1;
            let before = plain_file::length(&self.part);
            let reason = match self.attempt() {
                Ok(was_resumed) => return Ok(was_resumed),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(reason)) => reason,
            };
            // A connection that brought something is worth another, however often a long file is cut.
            if plain_file::length(&self.part) > before.saturating_add(1 << 20) {
                (failed_in_a_row, pause) = (0, self.config.first_pause);
            }
            failed_in_a_row += 1;
            if failed_in_a_row >= self.config.max_attempts {
                return Err(self.network_error(reason));
            }
            if self.time_left() <= pause {
                let limit = self.config.deadline.as_secs_f64();
                return Err(self.network_error(format!("not done within {limit:.1} s; the last attempt: {reason}")));
            }
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2);
        }
    }

    fn attempt(&self) -> Result<bool, Failure> {
        let mut have = plain_file::length(&self.part);
        let validator = validator::read(&self.validator_path())?.filter(|_| have > 0);
        let mut call = self.agent.get(self.request.url).config().timeout_global(Some(self.time_left())).build();
        match &validator {
            Some(validator) => {
                call = call.header("Range", format!("bytes={have}-")).header("If-Range", validator.as_str());
            }
            None => have = 0,
        }
        let response = call.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TooManyRedirects => {
                Failure::Lasting(self.network_error(error.to_string()))
            }
            passing => Failure::Passing(passing.to_string()),
        })?;
        let status = response.status().as_u16();
        let starts_at = response
            .headers()
            .get("content-range")
            .and_then(|value| value.to_str().ok()?.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
        match status {
            206 if starts_at == Some(have) => {}
            200 => have = 0,
            // A range that the server cannot serve: the part is longer than its file, the answer is confused, or the server
            // does not like what was remembered.
            206 | 400 | 412 | 416 if validator.is_some() || status == 206 || status == 416 => {
                self.forget();
                return Err(Failure::Passing(format!("the server refused to continue at byte {have}")));
            }
            408 | 425 | 429 | 500..=599 => return Err(Failure::Passing(format!("the server answered {status}"))),
            _ => return Err(Error::Status { url: self.request.url.to_owned(), status }.into()),
        }
        let remaining: Option<u64> =
            response.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let mut part = self.open_part(have)?;
        match validator::of(response.headers()) {
            Some(validator) => validator::write(&self.validator_path(), validator)?,
            None => validator::remove(&self.validator_path())?,
        }
        let total = remaining.map(|remaining| have.saturating_add(remaining));
        let mut reader = response.into_body().into_reader();
        // A compressed file from another program may have another length than the registry's.
        let total = total.or(self.request.bytes.filter(|_| self.request.contents_sha256.is_none()));
        let received = self.copy(&mut reader, &mut part, have, total)?;
        if total.is_some_and(|total| received < total) {
            return Err(Failure::Passing(format!("the connection ended after {received} bytes")));
        }
        part.sync_all().map_err(|source| Error::io("write", &self.part, source))?;
        Ok(have > 0)
    }

    /// Copies the body to the end of the part. Returns the part's length.
    fn copy(
        &self,
        reader: &mut impl Read,
        part: &mut impl Write,
        have: u64,
        total: Option<u64>,
    ) -> Result<u64, Failure> {
        let limit = self.limit();
        let mut received = have;
        let mut buffer = vec![0; 1 << 16];
        let mut pace = Pace::new(self.config.least_rate, self.config.patience);
        self.report(received, total, false);
        loop {
            if self.time_left().is_zero() {
                return Err(Failure::Passing("the time is used up".to_owned()));
            }
            let length = match reader.read(&mut buffer) {
                Ok(0) => return Ok(received),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Passing(error.to_string())),
            };
            received += length as u64;
            if received > limit {
                self.forget();
                return Err(Error::TooLong { url: self.request.url.to_owned(), limit }.into());
            }
            part.write_all(&buffer[..length]).map_err(|source| Error::io("write", &self.part, source))?;
            self.report(received, total, false);
            if let Some(reason) = pace.count(length as u64) {
                return Err(Failure::Passing(reason));
            }
        }
    }

    /// The most bytes that are accepted.
    fn limit(&self) -> u64 {
        match (self.request.bytes, self.request.contents_sha256) {
            (Some(bytes), None) => bytes,
            // The same content, compressed by another program, may be somewhat longer.
            (Some(bytes), Some(_)) => bytes.saturating_mul(2).saturating_add(1 << 20),
            (None, _) => MAX_BYTES,
        }
    }

    fn network_error(&self, reason: String) -> Error {
        Error::Network { url: self.request.url.to_owned(), reason: quoted(&reason), attempts: self.attempts }
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Opens the part for writing at `length`, cutting off what is behind.
    fn open_part(&self, length: u64) -> Result<File> {
        let mut file = plain_file::open(&self.part, Links::Removed)?;
        let mut start_at = |length| {
            file.set_len(length)?;
            file.seek(SeekFrom::Start(length))
        };
        start_at(length).map_err(|source| Error::io("write", &self.part, source))?;
        Ok(file)
    }

    fn validator_path(&self) -> PathBuf {
        with_suffix(&self.part, ".validator")
    }

    /// Drops what was received. A part that cannot be removed is overwritten by the next attempt.
    fn forget(&self) {
        let _ = fs::remove_file(&self.part);
        let _ = fs::remove_file(self.validator_path());
    }

    /// Gives the verified part its name.
    fn place(&self) -> Result<()> {
        // A link in its place now would be renamed as a link.
        let received = match plain_file::look(&self.part)? {
            plain_file::Found::File(metadata) => metadata.len(),
            _ => {
                return Err(Error::io(
                    "rename",
                    &self.part,
                    io::Error::other("it is no longer the file that was written"),
                ));
            }
        };
        fs::rename(&self.part, self.destination).map_err(|source| Error::io("rename", self.destination, source))?;
        let _ = fs::remove_file(self.validator_path());
        self.report(received, Some(received), true);
        Ok(())
    }

    fn report(&self, received: u64, total: Option<u64>, is_finished: bool) {
        if let Some(ProgressCallback(report)) = &self.config.progress {
            report(Progress {
                destination: self.destination,
                url: self.request.url,
                received,
                total,
                attempt: self.attempts,
                is_finished,
            });
        }
    }
}

fn agent(url: &str, config: &DownloadConfig) -> ureq::Agent {
    let patience = Some(config.patience.min(MAX_WAIT));
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(MAX_REDIRECTIONS)
        .timeout_resolve(patience)
        .timeout_connect(patience)
        .timeout_send_request(patience)
        .timeout_recv_response(patience)
        .timeout_per_read(patience)
        // What is pinned is the file itself, not a form that the server compressed for the way.
        .accept_encoding("identity")
        .user_agent(concat!("datasets/", env!("CARGO_PKG_VERSION")));
    // A proxy leads out of this machine: never what a loopback address means.
    if url.starts_with("http://127.0.0.1") || url.starts_with("http://localhost") {
        config = config.proxy(None);
    }
    config.build().into()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The same error about the file that the user asked for, rather than about its part.
fn renamed(error: Error, destination: &Path) -> Error {
    match error {
        Error::WrongChecksum { expected, got, .. } => {
            Error::WrongChecksum { path: destination.to_owned(), expected, got }
        }
        other => other,
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_reported_as_such() {
        let request = Request { url: "", checksum: Checksum::Sha256(""), contents_sha256: None, bytes: None };
        let config = DownloadConfig::default();
        let transfer = Transfer {
            request: &request,
            destination: Path::new("file"),
            config: &config,
            deadline: Instant::now() + Duration::from_secs(60),
            agent: agent("", &config),
            part: PathBuf::from("file.part"),
            attempts: 1,
        };
        // /dev/full answers every write as a full file system does.
        let mut part = File::options().write(true).open("/dev/full").unwrap();
        match transfer.copy(&mut &[0; 1000][..], &mut part, 0, None) {
            Err(Failure::Lasting(error @ Error::DiskFull { .. })) => {
                assert!(error.to_string().contains("file.part: no space left"), "{error}");
            }
            _ => panic!("a full disk went unseen"),
        }
    }
}
