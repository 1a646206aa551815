//! The one error type of this crate.

use std::time::Duration;

/// What can go wrong; each variant names what was wrong, where, and what was expected.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option outside what it allows.
    #[error("{what}: {reason}")]
    Options {
        /// Which option.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A gradient that is not finite: compressing it would hide it.
    #[error("{operation}: element {index} is {value}, expected a finite number")]
    NotFinite {
        /// The operation.
        operation: &'static str,
        /// Where it stands.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// Two lengths that must be equal and are not.
    #[error("{operation}: {what} has {actual} elements, expected {expected}")]
    Length {
        /// The operation.
        operation: &'static str,
        /// What was measured.
        what: &'static str,
        /// Its length.
        actual: usize,
        /// What it should be.
        expected: usize,
    },
    /// Bytes that are no encoded gradient of this version.
    #[error("{len} bytes are no encoded gradient: {reason}")]
    Wire {
        /// How many bytes there were.
        len: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// A rank is gone: it died, left early, or failed and said so.
    #[error("rank {rank} is lost ({operation}): {reason}")]
    RankLost {
        /// The rank that is gone.
        rank: usize,
        /// What was waiting for it.
        operation: &'static str,
        /// What is known of it.
        reason: String,
    },
    /// Ranks that did not answer in time.
    #[error("{operation}: no answer from rank {} within {} s", list(.ranks), .limit.as_secs_f64())]
    Timeout {
        /// What waited.
        operation: &'static str,
        /// The ranks that are missing.
        ranks: Vec<usize>,
        /// How long it waited.
        limit: Duration,
    },
    /// Ranks that do not do the same thing.
    #[error(
        "{operation}: rank {rank} {theirs}, this rank {ours}; all ranks must make the same calls with tensors of the same size"
    )]
    Mismatch {
        /// What this rank does.
        operation: &'static str,
        /// The other rank.
        rank: usize,
        /// What that one does.
        theirs: String,
        /// What this one does.
        ours: String,
    },
    /// The ranks cannot be connected.
    #[error("{what}: {reason}")]
    Connection {
        /// Which connection or setting.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// A state that does not belong to this trainer.
    #[error("the stored state does not fit: {0}")]
    State(String),
    /// The model finds a gradient in another way than in its first step.
    #[error(
        "the gradient of `{name}` is found in another way than in the first step; set `overlap: false` for models that change"
    )]
    DynamicGraph {
        /// The parameter.
        name: String,
    },
    /// A thread of this crate ended without an answer.
    #[error("{0}")]
    Thread(String),
    /// An error of core-tensor or Candle.
    #[cfg(feature = "trainer")]
    #[error("{0}")]
    Core(std::sync::Arc<core_tensor::Error>),
}

fn list(ranks: &[usize]) -> String {
    ranks.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn options(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Options { what, reason: reason.into() }
    }

    pub(crate) fn connection(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Connection { what: what.into(), reason: reason.to_string() }
    }
}

/// An error when the two lengths differ.
pub(crate) fn same_length(operation: &'static str, what: &'static str, actual: usize, expected: usize) -> Result<()> {
    if actual == expected { Ok(()) } else { Err(Error::Length { operation, what, actual, expected }) }
}

#[cfg(feature = "trainer")]
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        core_tensor::Error::from(error).into()
    }
}

#[cfg(feature = "trainer")]
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        Self::wrap(error)
    }
}
