//! The error of this crate, and how it travels through Candle's own.

use candle_core::{DType, Shape};

/// What can go wrong in this crate. Every variant names the operation, what it was given and what it expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of Candle itself.
    #[error(transparent)]
    Candle(Box<candle_core::Error>),

    /// A tensor had another shape than the operation needs.
    #[error("{operation}: {what} has shape {got:?}, expected {expected}")]
    Shape {
        /// The operation that was called.
        operation: &'static str,
        /// The argument.
        what: &'static str,
        /// The shape that was given.
        got: Vec<usize>,
        /// The shape that was needed, in words or symbols.
        expected: String,
    },

    /// A tensor had an element type that the operation does not work with.
    #[error("{operation}: {what} has dtype {got:?}, expected {expected}")]
    DType {
        /// The operation that was called.
        operation: &'static str,
        /// The argument.
        what: &'static str,
        /// The element type that was given.
        got: DType,
        /// The element types that are possible.
        expected: &'static str,
    },

    /// An index pointed outside of what it indexes.
    #[error("{operation}: {what}[{position}] is {index}, which is not below {bound}")]
    OutOfRange {
        /// The operation that was called.
        operation: &'static str,
        /// The list of indices.
        what: &'static str,
        /// Where in the list the offending index stands.
        position: usize,
        /// The offending index.
        index: u64,
        /// The number of things that can be indexed.
        bound: usize,
    },

    /// Two lists that must be equally long are not.
    #[error("{operation}: {what} has {got} elements, expected {expected}")]
    Length {
        /// The operation that was called.
        operation: &'static str,
        /// The list.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length that was needed.
        expected: usize,
    },

    /// A number was outside of its domain.
    #[error("{operation}: {what} is {got}, expected {expected}")]
    Value {
        /// The operation that was called.
        operation: &'static str,
        /// The argument.
        what: &'static str,
        /// The value that was given.
        got: f64,
        /// The values that are possible.
        expected: &'static str,
    },

    /// Something was too large for the 32-bit indices used here.
    #[error("{operation}: {what} is {got}, the most that 32-bit indices can address is {limit}")]
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

    /// A setting, or several together, make no sense.
    #[error("{what}: {reason}")]
    InvalidConfig {
        /// The setting.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// A [`GradientHook`](crate::train::GradientHook) failed; the source is its own error.
    #[error(transparent)]
    Hook(Box<dyn std::error::Error + Send + Sync>),

    /// A loop was told to stop; see [`Cancellation`](crate::train::Cancellation).
    #[error("cancelled")]
    Cancelled,

    /// A device specification could not be understood or is not available in this build or on this machine.
    #[error("device `{spec}`: {reason}")]
    Device {
        /// The specification that was given.
        spec: String,
        /// Why it cannot be used, and what to do about it.
        reason: String,
    },

    /// A named parameter was unknown, or did not fit what was asked for or loaded.
    #[error("parameter `{name}`: {reason}")]
    Parameter {
        /// The full name of the parameter.
        name: String,
        /// What does not fit.
        reason: String,
    },

    /// A set of named values did not match the parameters it is meant for.
    #[error("{source_name}: {}", .problems.join("; "))]
    Mismatch {
        /// Where the values come from, such as a path.
        source_name: String,
        /// One line for every value that is missing, unexpected or of another shape or type.
        problems: Vec<String>,
    },

    /// A checkpoint is absent, incomplete or damaged.
    #[error("checkpoint {path}: {reason}")]
    Checkpoint {
        /// The folder or file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A gradient computed by backpropagation differs from the one computed by finite differences.
    #[error(
        "gradient of input {input} at flat position {position}: backpropagation gives {analytic}, central differences give {numeric}"
    )]
    Gradient {
        /// Which input.
        input: usize,
        /// Which element of it, counted in row-major order.
        position: usize,
        /// The value of backpropagation.
        analytic: f64,
        /// The value of central differences.
        numeric: f64,
    },

    /// The thread pools cannot be configured any more, or not as asked.
    #[error("threads: {0}")]
    Threads(String),
}

/// The result of a fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn shape(operation: &'static str, what: &'static str, got: &Shape, expected: impl Into<String>) -> Self {
        Self::Shape { operation, what, got: got.dims().to_vec(), expected: expected.into() }
    }

    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Candle(Box::new(error))
    }
}

/// Inside `Module::forward` the error must be Candle's: an error that came from there goes back unchanged, one of ours is wrapped.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => *inner,
            other => candle_core::Error::wrap(other),
        }
    }
}
