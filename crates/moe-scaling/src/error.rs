//! The one error type of this crate.

/// What can go wrong; each variant names what was wrong, where, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number outside what its place allows.
    #[error("{place}: {column} is {value}, expected {expected}")]
    Value {
        /// Which point, line or setting.
        place: String,
        /// What the number is.
        column: &'static str,
        /// The number.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// A table without a column that is needed.
    #[error("the table has no column named {wanted}; it has {got}")]
    MissingColumn {
        /// The names that would do.
        wanted: String,
        /// The names that are there.
        got: String,
    },
    /// A cell that is not a number.
    #[error("line {line}: {column} is {text:?}, expected a number")]
    NotANumber {
        /// The line of the file, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// What stands there.
        text: String,
    },
    /// A table that is not comma-separated values.
    #[error("the table cannot be read or written: {0}")]
    Csv(#[from] csv::Error),
    /// Fewer points than the form has parameters.
    #[error("{points} points with a weight, but {needed} are needed to fit {needed} parameters")]
    TooFewPoints {
        /// How many points count.
        points: usize,
        /// How many there must be at least.
        needed: usize,
    },
    /// Points that leave a coefficient open.
    #[error("the points do not determine the law: {reason}")]
    Undetermined {
        /// What is missing.
        reason: String,
    },
    /// Options that contradict each other or the form.
    #[error("{what}: {reason}")]
    Options {
        /// Which option.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor of another shape than the operation needs.
    #[cfg(feature = "layers")]
    #[error("{operation}: {what} has shape {actual:?}, expected {expected}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The tensor.
        what: &'static str,
        /// Its shape.
        actual: candle_core::Shape,
        /// What it should be.
        expected: String,
    },
    /// An index outside of what it points into.
    #[error("{operation}: {what} {index} is outside 0..{len}")]
    OutOfRange {
        /// The operation.
        operation: &'static str,
        /// What the index is.
        what: &'static str,
        /// The index.
        index: u64,
        /// How many there are.
        len: usize,
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

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn csv(error: csv::Error) -> Self {
        Self::Csv(error)
    }

    pub(crate) fn missing(wanted: &[&str], header: &csv::StringRecord) -> Self {
        let got = header.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        Self::MissingColumn { wanted: wanted.join(" or "), got }
    }

    pub(crate) fn options(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Options { what, reason: reason.into() }
    }
}

#[cfg(feature = "layers")]
impl Error {
    pub(crate) fn shape(
        operation: &'static str,
        what: &'static str,
        actual: &candle_core::Shape,
        expected: impl Into<String>,
    ) -> Self {
        Self::Shape { operation, what, actual: actual.clone(), expected: expected.into() }
    }
}

#[cfg(feature = "layers")]
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            other => Self::wrap(other),
        }
    }
}
