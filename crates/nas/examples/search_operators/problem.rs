//! What can be wrong with what the user gives.

use std::path::{Path, PathBuf};

pub(crate) type Fallible<T> = std::result::Result<T, Problem>;

/// Why the program ends early. Every message says what was given and what would do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("--{option} {value}: {reason}")]
    Option { option: &'static str, value: String, reason: String },
    #[error(
        "--max-parameters {most}: the smallest child has {least} parameters, {ends} of them in the stem and the head"
    )]
    TooSmall { most: u64, least: u64, ends: u64 },
    #[error(transparent)]
    Nas(#[from] nas::Error),
    #[error(transparent)]
    Core(#[from] core_tensor::Error),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Other(#[from] experiment::BoxError),
}

impl Problem {
    pub(crate) fn file(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn option(option: &'static str, value: impl std::fmt::Display, reason: impl Into<String>) -> Self {
        Self::Option { option, value: value.to_string(), reason: reason.into() }
    }
}
