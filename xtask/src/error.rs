//! Everything that stops a command, with the exit code it ends in.

use std::path::PathBuf;

use report::text::quoted;

use crate::exit;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command stopped. Each message says what to do where that is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no paper is called `{}`; {nearest} (`cargo xtask list` shows all)", quoted(.name))]
    UnknownPaper { name: String, nearest: String },

    #[error("no data set and no paper is called `{}`; {nearest} (`cargo xtask data list` shows all)", quoted(.name))]
    UnknownData { name: String, nearest: String },

    #[error("no crate of this workspace is called `{}`; {nearest}", quoted(.name))]
    UnknownPackage { name: String, nearest: String },

    #[error("no paper or crate with a benchmark is called `{}`; {nearest}", quoted(.name))]
    UnknownBench { name: String, nearest: String },

    #[error("{0}")]
    Usage(String),

    #[error("`{slug}` is not implemented yet: {example} does not exist. `cargo xtask list` shows which papers are.")]
    NotImplemented { slug: &'static str, example: String },

    #[error("cannot {action} {}: {source}", .path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },

    #[error("cannot start `{program}`: {source}")]
    Start { program: String, source: std::io::Error },

    #[error("`{program}` failed{detail}")]
    Program { program: String, detail: String },

    #[error("`{program}` answered with something unexpected: {}", quoted(&.source.to_string()))]
    Answer { program: String, source: serde_json::Error },

    #[error("{} is not a report of this version: {reason}", .path.display())]
    Report { path: PathBuf, reason: String },

    #[error("{} {reason}", .path.display())]
    Readme { path: PathBuf, reason: String },

    #[error("benchmark `{bench}`: {reason}")]
    Bench { bench: String, reason: String },

    #[error(transparent)]
    Data(#[from] datasets::Error),

    #[error("{0}")]
    Failed(String),

    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The exit code of a command that stops with this error.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownPaper { .. }
            | Self::UnknownData { .. }
            | Self::UnknownPackage { .. }
            | Self::UnknownBench { .. }
            | Self::Usage(_) => exit::USAGE,
            Self::NotImplemented { .. } => exit::NOT_IMPLEMENTED,
            Self::Interrupted => exit::INTERRUPTED,
            _ => exit::ERROR,
        }
    }
}

/// Turns an [`std::io::Error`] into one that names the file and what was being done to it.
pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { action, path, source }
}
