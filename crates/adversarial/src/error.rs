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
        what: String,
        /// How many there are.
        got: usize,
        /// How many are needed.
        expected: usize,
    },
    /// An index or a class outside of what it points into.
    #[error("{operation}: {what} is {index}, which is not below {bound}")]
    OutOfRange {
        /// The function that was called.
        operation: &'static str,
        /// What the index is, and where.
        what: String,
        /// The index.
        index: u64,
        /// How many there are.
        bound: usize,
    },
    /// A budget larger than the number of sub-classifiers.
    #[error("the budget is {budget}, expected at most the number of sub-classifiers, {num_sub_classifiers}")]
    Budget {
        /// The budget.
        budget: usize,
        /// The number of sub-classifiers.
        num_sub_classifiers: usize,
    },
    /// A setting that makes no sense.
    #[error("{operation}: {what} {reason}")]
    InvalidConfig {
        /// The function that was called.
        operation: &'static str,
        /// Which setting.
        what: &'static str,
        /// What is wrong with it, such as "is 0, expected at least 1".
        reason: String,
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
    #[error("{operation}: {what} is {got}, expected {expected}")]
    Value {
        /// The function that was called.
        operation: &'static str,
        /// What has the value, and where.
        what: String,
        /// The value.
        got: f64,
        /// The values that are possible.
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
    /// A minimum that was not reached.
    #[error(
        "{operation}: after {iterations} iterations the duality gap is {gap:e}, expected {tolerance:e}; raise `max_iterations` or `tolerance`"
    )]
    NotConverged {
        /// The function that was called.
        operation: &'static str,
        /// How much lower the minimum may be.
        gap: f64,
        /// How much was allowed.
        tolerance: f64,
        /// After how many iterations.
        iterations: usize,
    },
    /// A problem larger than the solver takes.
    #[error("{solver}: the problem has {got:.1e} attacks, the limit is {limit:.1e}; choose another solver")]
    TooLarge {
        /// Its name.
        solver: &'static str,
        /// How many attacks there are.
        got: f64,
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
    pub(crate) fn length(operation: &'static str, what: impl Into<String>, got: usize, expected: usize) -> Self {
        Self::Length { operation, what: what.into(), got, expected }
    }

    pub(crate) fn out_of_range(operation: &'static str, what: impl Into<String>, index: u64, bound: usize) -> Self {
        Self::OutOfRange { operation, what: what.into(), index, bound }
    }

    pub(crate) fn value(operation: &'static str, what: impl Into<String>, got: f64, expected: &'static str) -> Self {
        Self::Value { operation, what: what.into(), got, expected }
    }

    pub(crate) fn config(operation: &'static str, what: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidConfig { operation, what, reason: reason.into() }
    }

    pub(crate) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

/// Checks that none of these counts is 0.
pub(crate) fn check_positive(operation: &'static str, counts: &[(&'static str, usize)]) -> Result<()> {
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((what, _)) => Err(Error::Empty { operation, what }),
        None => Ok(()),
    }
}

/// More sub-classifiers than memory has room for in any structure.
const MOST_SUB_CLASSIFIERS: usize = 1 << 24;

pub(crate) fn check_sub_classifiers(operation: &'static str, count: usize) -> Result<()> {
    match count > MOST_SUB_CLASSIFIERS {
        true => {
            let reason = format!("is {count}, expected at most {MOST_SUB_CLASSIFIERS}");
            Err(Error::config(operation, "num_sub_classifiers", reason))
        }
        false => Ok(()),
    }
}

/// So that `?` works inside Candle's traits: an error that came from Candle goes back unchanged.
#[cfg(feature = "networks")]
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            Error::Core(inner) => inner.into(),
            other => Self::wrap(other),
        }
    }
}
