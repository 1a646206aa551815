//! The one error type of this crate.

/// What can go wrong; each variant names the operation, what was wrong, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to work on.
    #[error("{operation}: there are no {what}, expected at least one")]
    Empty {
        /// The function that was called.
        operation: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// A list of another length than needed.
    #[error("{operation}: got {got} {what}, expected {expected}")]
    Length {
        /// The function that was called.
        operation: &'static str,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many are needed.
        expected: String,
    },
    /// An index or a class outside of what it points into.
    #[error("{operation}: {what} number {position} is {index}, which is not below {bound}")]
    OutOfRange {
        /// The function that was called.
        operation: &'static str,
        /// What the index is.
        what: &'static str,
        /// Which of them, from 0.
        position: usize,
        /// The index.
        index: u64,
        /// How many there are.
        bound: usize,
    },
    /// A setting that makes no sense.
    #[error("{operation}: {what} is {got}, expected {expected}")]
    InvalidConfig {
        /// The function that was called.
        operation: &'static str,
        /// Which setting.
        what: &'static str,
        /// Its value.
        got: String,
        /// The values that are possible.
        expected: &'static str,
    },
    /// Data that contradict themselves.
    #[error("{operation}: {what}: {reason}")]
    InvalidData {
        /// The function that was called.
        operation: &'static str,
        /// Which data.
        what: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// A number that is not finite, or outside of its domain.
    #[error("{operation}: {what} number {position} is {got}, expected {expected}")]
    Value {
        /// The function that was called.
        operation: &'static str,
        /// What has the value.
        what: &'static str,
        /// Which of them, from 0.
        position: usize,
        /// The value.
        got: f64,
        /// The values that are possible.
        expected: &'static str,
    },
    /// A tensor of another shape than needed.
    #[error("{operation}: {what} has shape {got:?}, expected {expected}")]
    Shape {
        /// The function that was called.
        operation: &'static str,
        /// Which tensor.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// An operation on tensors failed.
    #[error(transparent)]
    Core(#[from] core_tensor::Error),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Core(error.into())
    }
}

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn config(
        operation: &'static str,
        what: &'static str,
        got: impl ToString,
        expected: &'static str,
    ) -> Self {
        Self::InvalidConfig { operation, what, got: got.to_string(), expected }
    }

    pub(crate) fn shape(
        operation: &'static str,
        what: &'static str,
        got: &candle_core::Tensor,
        expected: impl Into<String>,
    ) -> Self {
        Self::Shape { operation, what, got: got.dims().to_vec(), expected: expected.into() }
    }

    pub(crate) fn length(operation: &'static str, what: &'static str, got: usize, expected: impl ToString) -> Self {
        Self::Length { operation, what, got, expected: expected.to_string() }
    }
}
