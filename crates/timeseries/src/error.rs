//! The one error type of this crate.

use candle_core::Tensor;

/// What can go wrong; each variant names what was wrong, where, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number outside what its place allows.
    #[error("{place}: {what} is {value}, expected {expected}")]
    Value {
        /// The operation or the configuration.
        place: &'static str,
        /// Which number.
        what: String,
        /// The number.
        value: f64,
        /// What would be right.
        expected: String,
    },
    /// A tensor of another shape than the operation needs.
    #[error("{operation}: {what} has shape {actual:?}, expected {expected}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The tensor.
        what: &'static str,
        /// Its shape.
        actual: Vec<usize>,
        /// What it should be.
        expected: String,
    },
    /// Two lists that must be equally long are not.
    #[error("{operation}: {what} has {actual} elements, expected {expected}")]
    Length {
        /// The operation.
        operation: &'static str,
        /// The list.
        what: &'static str,
        /// How many elements it has.
        actual: usize,
        /// How many it should have.
        expected: usize,
    },
    /// Too little data for what is asked.
    #[error("{operation}: {what} has {actual}, at least {needed} are needed: {reason}")]
    TooLittle {
        /// The operation.
        operation: &'static str,
        /// What there is too little of.
        what: &'static str,
        /// How much there is.
        actual: usize,
        /// How much is needed.
        needed: usize,
        /// What for.
        reason: &'static str,
    },
    /// Text that is not what it should be.
    #[error("{what}: {text:?} is not {expected}")]
    Text {
        /// What was read.
        what: &'static str,
        /// The text.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// An error of core-tensor.
    #[error(transparent)]
    Core(#[from] core_tensor::Error),
    /// An error of Candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn value(
        place: &'static str,
        what: impl Into<String>,
        value: impl Into<f64>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Value { place, what: what.into(), value: value.into(), expected: expected.into() }
    }

    /// [`Error::value`] for counts.
    pub(crate) fn count(place: &'static str, what: &str, value: usize, expected: impl Into<String>) -> Self {
        Self::value(place, what, value as f64, expected)
    }

    pub(crate) fn shape(operation: &'static str, what: &'static str, x: &Tensor, expected: impl Into<String>) -> Self {
        Self::Shape { operation, what, actual: x.dims().to_vec(), expected: expected.into() }
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            Error::Core(error) => error.into(),
            other => Self::wrap(other),
        }
    }
}
