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
    /// Input that contradicts itself or what it is used with.
    #[error("{operation}: {reason}")]
    InvalidData {
        /// The operation that was called.
        operation: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// An architecture is not one of the space.
    #[error("{operation}: {architecture} is not in the space: {reason}")]
    Foreign {
        /// The operation that was called.
        operation: &'static str,
        /// The architecture.
        architecture: String,
        /// Why not.
        reason: String,
    },
    /// An operator gives another shape than its neighbours in the layer.
    #[error("layer {layer}: `{operator}` gives {got:?} where `{other}` gives {expected:?}")]
    Shape {
        /// The layer.
        layer: usize,
        /// The operator.
        operator: String,
        /// What it gave.
        got: Vec<usize>,
        /// An operator of the same layer.
        other: String,
        /// What that gave.
        expected: Vec<usize>,
    },
    /// No architecture meets the limits, or none was found that does.
    #[error("no architecture has {limit} of at most {most}: the least that was seen is {least}, of {architecture}")]
    Infeasible {
        /// The limit that is missed by most.
        limit: String,
        /// Its value.
        most: f64,
        /// The least cost that was seen.
        least: f64,
        /// The architecture that has it.
        architecture: String,
    },
    /// A loss or gradient is not finite.
    #[error("step {step}, path {path}: the loss is {loss}{}", .operator.as_ref().map_or(String::new(), |operator| format!("; the first output that is not finite is that of {operator}")))]
    NotFinite {
        /// The step of the training.
        step: u64,
        /// The architecture.
        path: String,
        /// The loss.
        loss: f64,
        /// Layer and operator whose output is not finite first.
        operator: Option<String>,
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
