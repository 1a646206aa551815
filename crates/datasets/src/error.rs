//! The crate's error.

use std::io;
use std::path::{Path, PathBuf};

use crate::text;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No data set of that name is registered, and none of the data folders has it.
    #[error("unknown data set `{}`{}", text::quoted(.name), suggestion(.nearest))]
    UnknownDataSet {
        /// The name that was asked for.
        name: String,
        /// The registered name that is most like it, if one is.
        nearest: Option<&'static str>,
    },

    /// The data set is registered but has no such file.
    #[error("data set `{set}` has no file `{}`; it has {}", text::quoted(.file), .known.join(", "))]
    UnknownFile {
        /// Name of the data set.
        set: String,
        /// Name of the file that was asked for.
        file: String,
        /// The names that it has.
        known: Vec<&'static str>,
    },

    /// A data set's or a file's name is not one plain path component.
    #[error("`{}` is not a valid name of a data set or file: expected one plain path component", text::quoted(.name))]
    InvalidName {
        /// The refused name.
        name: String,
    },

    /// The file is nowhere on this machine, and the network may not be used.
    #[error(
        "data set `{set}`: `{file}` is not on this machine and the network is off\n  looked in: {}\n  get it with: cargo \
         xtask download {set}\n  or point --data-dir (or DATA_DIR) at a folder that holds {set}/{file}\n  or run with \
         --synthetic to use the generated stand-in",
        folders(.searched)
    )]
    Offline {
        /// Name of the data set.
        set: String,
        /// Name of the file.
        file: String,
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },

    /// The file is nowhere on this machine, and no address offers this exact file.
    #[error(
        "data set `{set}`: `{file}` is not on this machine and cannot be downloaded as such\n  looked in: {}\n  {how}\n  \
         then point --data-dir (or DATA_DIR) at the folder that holds {set}/{file}\n  or run with --synthetic to use the \
         generated stand-in; `cargo xtask download {set}` gets what can be downloaded",
        folders(.searched)
    )]
    NotDownloadable {
        /// Name of the data set.
        set: String,
        /// Name of the file.
        file: String,
        /// The folders that were searched.
        searched: Vec<PathBuf>,
        /// Where the original is and how to make this file from it.
        how: String,
    },

    /// A file's bytes are not the ones that are pinned in the registry.
    #[error("{}: wrong checksum: expected {expected}, got {got}; delete or replace the file", .path.display())]
    WrongChecksum {
        /// The file.
        path: PathBuf,
        /// What the registry says, with the algorithm's name.
        expected: String,
        /// What the file has.
        got: String,
    },

    /// The server answered with a status that is not a success.
    #[error("{url}: the server answered {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },

    /// The server sent more bytes than the registry (or the limit) allows.
    #[error("{url}: more than the {limit} bytes that were expected")]
    TooLong {
        /// The address.
        url: String,
        /// The most bytes that were accepted.
        limit: u64,
    },

    /// The connection failed, was cut or was too slow, also after all retries.
    #[error(
        "{url}: {reason} (tried {attempts} times)\n  run the same command again: the download continues where it stopped"
    )]
    Network {
        /// The address.
        url: String,
        /// What the connection reported.
        reason: String,
        /// How many times it was tried.
        attempts: u32,
    },

    /// A file could not be downloaded from its origin.
    #[error(
        "data set `{set}`: `{file}` could not be downloaded: {cause}\n  {how}\n  a copy from elsewhere is accepted if its \
         checksum is right: put it at {} or point --data-dir (or DATA_DIR) at a folder that holds {set}/{file}\n  or run with \
         --synthetic to use the generated stand-in",
        .path.display()
    )]
    DownloadFailed {
        /// Name of the data set.
        set: String,
        /// Name of the file.
        file: String,
        /// What is known about other sources; may be empty.
        how: String,
        /// Where the file would have been put.
        path: PathBuf,
        /// The cause.
        cause: Box<Error>,
    },

    /// The file system has no room left (or the user's quota is used up).
    #[error("{}: no space left on the device: free some, or choose another cache folder", .path.display())]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },

    /// Reading or writing failed for another reason.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// No folder for the cache is known on this system.
    #[error("no cache folder is known for this user: set --data-dir or DATA_DIR")]
    NoCacheFolder,

    /// The bytes are not what the format requires.
    #[error("{format}, {position}: {reason}")]
    InvalidData {
        /// Name of the format.
        format: &'static str,
        /// Where in the input: a line, an offset, an array, a member.
        position: String,
        /// What was found and what was expected.
        reason: String,
    },

    /// An archive holds something that must not be unpacked.
    #[error("archive, member `{member}`: {reason}")]
    UnsafeArchive {
        /// The member's name as stored, at most 200 characters of it.
        member: String,
        /// Why it is refused.
        reason: String,
    },

    /// A value would take more memory than the limit allows; the caller can raise the limit.
    #[error("{what}: {needed}, more than the limit of {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How much it needs, in words.
        needed: String,
        /// The most bytes that are allowed.
        limit: u64,
    },

    /// An argument or a setting is out of its range.
    #[error("{what}: {reason}")]
    InvalidConfig {
        /// Its name.
        what: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
}

impl Error {
    /// A [`Error::InvalidData`].
    pub(crate) fn invalid_data(format: &'static str, position: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::InvalidData { format, position: position.into(), reason: text::reason(&reason.into()) }
    }

    /// An [`Error::InvalidData`] with what another library says, which may quote anything at any length.
    pub(crate) fn refused(format: &'static str, position: impl Into<String>, error: &dyn std::fmt::Display) -> Self {
        Error::invalid_data(format, position, text::quoted(&error.to_string()))
    }

    /// An [`Error::UnsafeArchive`].
    pub(crate) fn unsafe_member(member: &str, reason: impl Into<String>) -> Self {
        Error::UnsafeArchive { member: text::quoted(member), reason: reason.into() }
    }

    /// An [`Error::InvalidConfig`].
    pub(crate) fn invalid_config(what: &'static str, reason: impl Into<String>) -> Self {
        Error::InvalidConfig { what, reason: reason.into() }
    }

    /// The error of a failed file operation: a full disk is told apart, since its remedy is another.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull { path: path.to_owned() },
            _ => Error::Io { action, path: path.to_owned(), source },
        }
    }
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

fn folders(searched: &[PathBuf]) -> String {
    let shown: Vec<String> = searched.iter().map(|folder| folder.display().to_string()).collect();
    if shown.is_empty() { "(no data folder is set)".to_owned() } else { shown.join(", ") }
}
