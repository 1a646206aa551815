//! The one error type of this crate.

use candle_core::Tensor;

/// What can go wrong. Each variant names the operation, what was wrong with what, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range.
    #[error("{operation}: {what} is {got}, expected {expected}")]
    InvalidConfig {
        /// What is configured.
        operation: &'static str,
        /// The setting.
        what: String,
        /// Its value.
        got: f64,
        /// The values that are possible.
        expected: String,
    },
    /// A number is out of range.
    #[error("{operation}: {what} is {got}, expected {expected}")]
    Value {
        /// The operation.
        operation: &'static str,
        /// The number.
        what: String,
        /// Its value.
        got: f64,
        /// The values that are possible.
        expected: String,
    },
    /// A tensor has another shape than the operation needs.
    #[error("{operation}: {what} has shape {got:?}, expected {expected}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The tensor.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// The shape that is needed, in symbols.
        expected: String,
    },
    /// A list has another length than the operation needs.
    #[error("{operation}: {what} has {got} elements, expected {expected}")]
    Length {
        /// The operation.
        operation: &'static str,
        /// The list.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length that is needed.
        expected: usize,
    },
    /// Data from outside cannot be used.
    #[error("{operation}: {what} {reason}")]
    InvalidData {
        /// The operation.
        operation: &'static str,
        /// The data.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A differential equation could not be solved: where, why, and what was found until then.
    #[error(transparent)]
    Ode(Box<crate::ode::Failure>),
    /// An error of core-tensor.
    #[error(transparent)]
    Core(#[from] core_tensor::Error),
    /// An error of Candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of a fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn config(
        operation: &'static str,
        what: impl Into<String>,
        got: impl Into<f64>,
        expected: impl Into<String>,
    ) -> Self {
        Self::InvalidConfig { operation, what: what.into(), got: got.into(), expected: expected.into() }
    }

    pub(crate) fn value(
        operation: &'static str,
        what: impl Into<String>,
        got: impl Into<f64>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Value { operation, what: what.into(), got: got.into(), expected: expected.into() }
    }

    /// [`Error::value`] for counts.
    pub(crate) fn count(operation: &'static str, what: &str, got: usize, expected: impl Into<String>) -> Self {
        Self::value(operation, what, got as f64, expected)
    }

    pub(crate) fn shape(operation: &'static str, what: &'static str, x: &Tensor, expected: impl Into<String>) -> Self {
        Self::Shape { operation, what, got: x.dims().to_vec(), expected: expected.into() }
    }
}

/// Checks at a model's door that `x` has the element type of its parameters, so that no operation inside complains in its own name.
pub(crate) fn check_dtype(operation: &'static str, what: &'static str, x: &Tensor, parameter: &Tensor) -> Result<()> {
    match x.dtype() == parameter.dtype() {
        true => Ok(()),
        false => {
            let (got, expected) = (x.dtype(), "the dtype of the parameters");
            Err(core_tensor::Error::DType { operation, what, got, expected }.into())
        }
    }
}

/// Sizes above this have no use and could overflow products of sizes.
const LARGEST_SIZE: usize = 1 << 16;

/// Checks sizes in a configuration.
pub(crate) fn check_sizes<'a>(
    operation: &'static str,
    sizes: impl IntoIterator<Item = (&'a str, usize)>,
) -> Result<()> {
    match sizes.into_iter().find(|(_, size)| !(1..=LARGEST_SIZE).contains(size)) {
        Some((what, 0)) => Err(Error::config(operation, what, 0., "at least 1")),
        Some((what, size)) => Err(Error::config(operation, what, size as f64, format!("1 to {LARGEST_SIZE}"))),
        None => Ok(()),
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
