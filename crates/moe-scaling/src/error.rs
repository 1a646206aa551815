//! The one error type of this crate.

/// What can go wrong. Each variant says what was wrong, where, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong, or contradicts another one.
    #[error("invalid {what}: {reason}")]
    InvalidConfig {
        /// The setting.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A number in the caller's data is outside its range, or is not a number.
    #[error("{operation}: {item} {position}: {what} is {got}, expected {expected}")]
    InvalidData {
        /// The operation that was called.
        operation: &'static str,
        /// What is counted by `position`, such as a point.
        item: &'static str,
        /// Its index, from 0.
        position: usize,
        /// The quantity.
        what: &'static str,
        /// What was found.
        got: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// A cell of a table is outside its range, or is not a number.
    #[error("line {line}: {quantity} is {got}, expected {expected} (column {column:?})")]
    InvalidCell {
        /// The line of the file, from 1.
        line: usize,
        /// The name of the column in the header.
        column: String,
        /// The quantity that the column holds.
        quantity: &'static str,
        /// What was found.
        got: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// A table has two columns of a name that is read.
    #[error("the table has {count} columns named {name:?}")]
    DuplicateColumn {
        /// The name.
        name: String,
        /// How often it occurs.
        count: usize,
    },
    /// A table lacks a required column.
    #[error("the table has no column named {expected}; it has {got}")]
    MissingColumn {
        /// The accepted names.
        expected: String,
        /// The names in the header.
        got: String,
    },
    /// Comma-separated values could not be parsed or written.
    #[error("the table cannot be read or written: {0}")]
    Csv(#[from] csv::Error),
    /// There are fewer points than the form has parameters.
    #[error("{got} points have a weight above 0, but {expected} parameters need at least as many")]
    TooFewPoints {
        /// The number of points with a weight.
        got: usize,
        /// The smallest possible number.
        expected: usize,
    },
    /// The points do not determine every coefficient.
    #[error("the points do not determine the law: {reason}")]
    Undetermined {
        /// What is missing.
        reason: String,
    },
    /// An argument is outside its range.
    #[error("{operation}: {what} is {got}, expected {expected}")]
    Value {
        /// The operation that was called.
        operation: &'static str,
        /// The argument.
        what: &'static str,
        /// Its value.
        got: f64,
        /// What is accepted.
        expected: &'static str,
    },
    /// A number that must be finite is not.
    #[error("{operation}: {what} {position} is {got}, expected a finite number")]
    NotFinite {
        /// The operation that was called.
        operation: &'static str,
        /// The quantity and what `position` counts, such as "a logit of token".
        what: &'static str,
        /// Which one.
        position: u64,
        /// Its value.
        got: f64,
    },
    /// A list has the wrong length.
    #[error("{operation}: {what} has {got} elements, expected {expected}")]
    Length {
        /// The operation that was called.
        operation: &'static str,
        /// The list.
        what: &'static str,
        /// Its length.
        got: usize,
        /// What is accepted.
        expected: String,
    },
    /// A tensor has the wrong shape.
    #[error("{operation}: {what} has shape {got:?}, expected {expected}")]
    Shape {
        /// The operation that was called.
        operation: &'static str,
        /// The tensor.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// What is accepted.
        expected: String,
    },
    /// An index is outside what it indexes.
    #[error("{operation}: {what} is {index}, which is not below {bound}")]
    OutOfRange {
        /// The operation that was called.
        operation: &'static str,
        /// The index.
        what: &'static str,
        /// Its value.
        index: u64,
        /// The smallest value that is too large.
        bound: usize,
    },
    /// An error of core-tensor.
    #[cfg(feature = "layers")]
    #[error(transparent)]
    Core(#[from] core_tensor::Error),
    /// An error of Candle.
    #[cfg(feature = "layers")]
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn config(what: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidConfig { what, reason: reason.into() }
    }

    #[cfg(feature = "layers")]
    pub(crate) fn length(operation: &'static str, what: &'static str, got: usize, expected: impl Into<String>) -> Self {
        Self::Length { operation, what, got, expected: expected.into() }
    }

    #[cfg(feature = "layers")]
    pub(crate) fn shape(
        operation: &'static str,
        what: &'static str,
        got: &candle_core::Shape,
        expected: impl Into<String>,
    ) -> Self {
        Self::Shape { operation, what, got: got.dims().to_vec(), expected: expected.into() }
    }
}

/// An error that came from Candle goes back unchanged; others are wrapped.
#[cfg(feature = "layers")]
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            Error::Core(error) => error.into(),
            other => Self::wrap(other),
        }
    }
}
