//! The one error type of this crate.

/// What can go wrong; each variant names what was wrong, where, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to work on.
    #[error("{what}: there are none, expected at least one")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// A length that does not fit.
    #[error("{what}: {actual}, expected {expected}")]
    Length {
        /// What has the length.
        what: String,
        /// The length.
        actual: usize,
        /// What would fit.
        expected: usize,
    },
    /// An index or a class outside of what it points into.
    #[error("{what}: {index} is outside 0..{len}")]
    OutOfRange {
        /// What the index is, and where.
        what: String,
        /// The index.
        index: u64,
        /// How many there are.
        len: usize,
    },
    /// A budget larger than the number of sub-classifiers.
    #[error("a budget of {budget} for {num_sub_classifiers} sub-classifiers, expected at most as many")]
    Budget {
        /// The budget.
        budget: usize,
        /// The number of sub-classifiers.
        num_sub_classifiers: usize,
    },
    /// A setting that makes no sense.
    #[error("{what}: {reason}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A number that is not finite, or outside what its place allows.
    #[error("{what}: {value}, expected {expected}")]
    Value {
        /// What has the value, and where.
        what: String,
        /// The value.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// A solver that gave up without a bound.
    #[error("{solver} failed: {reason}")]
    Solver {
        /// Its name.
        solver: &'static str,
        /// What it said.
        reason: String,
    },
    /// A problem larger than the solver takes.
    #[error("{solver} would look at {size:.1e} attacks, and its limit is {limit:.1e}; another solver is needed")]
    TooLarge {
        /// Its name.
        solver: &'static str,
        /// How many attacks there are.
        size: f64,
        /// How many it takes.
        limit: f64,
    },
    /// A base learner of the user that failed.
    #[error("sub-classifier {sub_classifier}: {source}")]
    Learner {
        /// Which one was trained.
        sub_classifier: usize,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An error of core-tensor.
    #[cfg(feature = "networks")]
    #[error(transparent)]
    Core(#[from] core_tensor::Error),
    /// An error of Candle.
    #[cfg(feature = "networks")]
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn length(what: impl Into<String>, actual: usize, expected: usize) -> Self {
        Self::Length { what: what.into(), actual, expected }
    }

    pub(crate) fn out_of_range(what: impl Into<String>, index: u64, len: usize) -> Self {
        Self::OutOfRange { what: what.into(), index, len }
    }

    pub(crate) fn setting(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting { what, reason: reason.into() }
    }

    pub(crate) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

#[cfg(feature = "networks")]
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            other => Self::wrap(other),
        }
    }
}
