//! The error type of this crate.

use std::time::Duration;

/// What can go wrong. Every variant says what was wrong, where, and what was expected.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside its range.
    #[error("{what}: {reason}")]
    InvalidConfig {
        /// The setting.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A gradient is not finite. Compressing it would hide that.
    #[error("{operation}: element {position} of the gradient is {got}, expected a finite number")]
    NotFinite {
        /// The operation that was called.
        operation: &'static str,
        /// Index of the element.
        position: usize,
        /// NaN or an infinity.
        got: f32,
    },
    /// Two lengths that must be equal are not.
    #[error("{operation}: {what} has {got} elements, expected {expected}")]
    Length {
        /// The operation that was called.
        operation: &'static str,
        /// What was measured.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length that was needed.
        expected: usize,
    },
    /// An index points outside of what it indexes.
    #[error("{operation}: {what} is {index}, which is not below {bound}")]
    OutOfRange {
        /// The operation that was called.
        operation: &'static str,
        /// What the index is.
        what: &'static str,
        /// The index.
        index: usize,
        /// The number of things that can be indexed.
        bound: usize,
    },
    /// Something is larger than its representation allows.
    #[error("{operation}: {what} is {got}, expected at most {limit}")]
    TooLarge {
        /// The operation that was called.
        operation: &'static str,
        /// What was counted.
        what: &'static str,
        /// Its size.
        got: usize,
        /// The largest possible size.
        limit: usize,
    },
    /// Data from another rank, or from a file, is wrong.
    #[error("{what}: {reason}")]
    InvalidData {
        /// The data.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A rank is gone: its process died, it left early, or it failed and said so.
    #[error("rank {rank} is lost ({operation}): {reason}")]
    RankLost {
        /// The rank that is gone.
        rank: usize,
        /// The operation that was waiting for it.
        operation: &'static str,
        /// What is known about it.
        reason: String,
    },
    /// Some ranks did not answer in time.
    #[error("{operation}: no answer from rank {} within {} s", list(.ranks), .limit.as_secs_f64())]
    Timeout {
        /// The operation that was waiting.
        operation: &'static str,
        /// The ranks that did not answer.
        ranks: Vec<usize>,
        /// How long it waited.
        limit: Duration,
    },
    /// The ranks do different things.
    #[error(
        "{operation}: rank {rank} {theirs}, this rank {ours}; all ranks must make the same calls with tensors of the same size"
    )]
    Mismatch {
        /// What this rank does.
        operation: &'static str,
        /// The other rank.
        rank: usize,
        /// What the other rank does or has.
        theirs: String,
        /// What this rank does or has.
        ours: String,
    },
    /// The ranks cannot be connected.
    #[error("{what}: {reason}")]
    Connection {
        /// The connection or setting.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// A stored state does not belong to this trainer, hook, memory or compressor.
    #[error("the stored state does not fit: {reason}")]
    State {
        /// What does not fit.
        reason: String,
    },
    /// The model computes a gradient in another way than in its first step.
    #[error(
        "the gradient of `{name}` is computed in another way than in the first step; set `overlap: false` for models that change"
    )]
    DynamicGraph {
        /// The parameter.
        name: String,
    },
    /// A thread of this crate ended without an answer.
    #[error("{reason}")]
    Thread {
        /// Which thread, and what is known about it.
        reason: String,
    },
    /// An error of core-tensor or Candle.
    #[cfg(feature = "trainer")]
    #[error(transparent)]
    Core(std::sync::Arc<core_tensor::Error>),
}

fn list(ranks: &[usize]) -> String {
    ranks.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// The result of a fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn config(what: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidConfig { what, reason: reason.into() }
    }

    pub(crate) fn connection(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Connection { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn state(reason: impl Into<String>) -> Self {
        Self::State { reason: reason.into() }
    }

    pub(crate) fn thread(reason: impl Into<String>) -> Self {
        Self::Thread { reason: reason.into() }
    }
}

/// An error when the two lengths differ.
pub(crate) fn same_length(operation: &'static str, what: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Length { operation, what, got, expected }) }
}

#[cfg(feature = "trainer")]
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        core_tensor::Error::from(error).into()
    }
}

/// An error that came from Candle goes back unchanged, unless it is held elsewhere too; any other is wrapped.
#[cfg(feature = "trainer")]
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(inner) => match std::sync::Arc::try_unwrap(inner) {
                Ok(inner) => inner.into(),
                Err(shared) => Self::wrap(Error::Core(shared)),
            },
            other => Self::wrap(other),
        }
    }
}
