//! The one error type of this crate.

/// What can go wrong; each variant names the operation, what was wrong, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of a network or an augmentation that makes no sense.
    #[error("{operation}: {what} {reason}")]
    InvalidConfig {
        /// The function that was called.
        operation: &'static str,
        /// The setting.
        what: &'static str,
        /// What is wrong with it, such as "is 0, expected at least 1".
        reason: String,
    },
    /// A tensor of another shape than the operation needs.
    #[error("{operation}: {what} has shape {got:?}, expected {expected}")]
    Shape {
        /// The function that was called.
        operation: &'static str,
        /// The tensor.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// The shape that was needed, in words or symbols.
        expected: String,
    },
    /// A slice of another length than the operation needs.
    #[error("{operation}: {what} has {got} elements, expected {expected}")]
    Length {
        /// The function that was called.
        operation: &'static str,
        /// The slice.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length that was needed, in words or as a number.
        expected: String,
    },
    /// An error of core-tensor, or of Candle in it.
    #[error(transparent)]
    Core(#[from] core_tensor::Error),
}

/// The result of a fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn config(operation: &'static str, what: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidConfig { operation, what, reason: reason.into() }
    }
}

/// Checks that no setting is 0.
pub(crate) fn check_positive(operation: &'static str, settings: &[(&'static str, usize)]) -> Result<()> {
    match settings.iter().find(|(_, value)| *value == 0) {
        Some((what, _)) => Err(Error::config(operation, what, "is 0, expected at least 1")),
        None => Ok(()),
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Core(error.into())
    }
}

/// So that `?` works inside Candle's traits: an error that came from Candle goes back unchanged.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(inner) => inner.into(),
            other => Self::wrap(other),
        }
    }
}
