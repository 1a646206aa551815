//! The error of this crate.

/// What can go wrong in this crate. Every variant says where it happened, what was given and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number was outside of its domain.
    #[error("{operation}: {what} is {got}, expected {expected}")]
    Value {
        /// The operation that was called.
        operation: &'static str,
        /// What the number is.
        what: String,
        /// The number.
        got: f64,
        /// The numbers that are possible.
        expected: &'static str,
    },
    /// A list had another length than the operation needs.
    #[error("{operation}: {what} has {got} elements, expected {expected}")]
    Length {
        /// The operation that was called.
        operation: &'static str,
        /// The list.
        what: String,
        /// Its length.
        got: usize,
        /// The length that was needed.
        expected: usize,
    },
    /// An index pointed outside of what it indexes.
    #[error("{operation}: {what} is {index}, which is not below {bound}")]
    OutOfRange {
        /// The operation that was called.
        operation: &'static str,
        /// What holds the index.
        what: String,
        /// The offending index.
        index: u64,
        /// The number of things that can be indexed.
        bound: usize,
    },
    /// A mask, weight or score had another shape than what it belongs to.
    #[error("{operation}: {what} has shape {got:?}, expected {expected:?}")]
    Shape {
        /// The operation that was called.
        operation: &'static str,
        /// What had it.
        what: String,
        /// Its shape.
        got: Vec<usize>,
        /// The shape that was needed.
        expected: Vec<usize>,
    },
    /// There is no parameter of this name.
    #[error("{operation}: there is no parameter `{name}`{}", .nearest.as_ref().map_or(String::new(), |nearest| format!("; is `{nearest}` meant?")))]
    UnknownParameter {
        /// The operation that was called.
        operation: &'static str,
        /// The name that was given.
        name: String,
        /// The most similar name that there is.
        nearest: Option<String>,
    },
    /// Input that contradicts itself.
    #[error("{operation}: {reason}")]
    InvalidData {
        /// The operation that was called.
        operation: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What happened.
        reason: String,
    },
    /// An error of core-tensor.
    #[error(transparent)]
    Core(#[from] core_tensor::Error),
    /// An error of Candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of a fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn value(operation: &'static str, what: impl Into<String>, got: f64, expected: &'static str) -> Self {
        Self::Value { operation, what: what.into(), got, expected }
    }

    pub(crate) fn length(operation: &'static str, what: impl Into<String>, got: usize, expected: usize) -> Self {
        Self::Length { operation, what: what.into(), got, expected }
    }

    pub(crate) fn invalid(operation: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidData { operation, reason: reason.into() }
    }
}

/// An error that came from Candle goes back unchanged, any other is wrapped.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            Error::Core(inner) => inner.into(),
            other => candle_core::Error::wrap(other),
        }
    }
}
