//! The one error type of this crate.

/// What can go wrong; each variant names the operation, what was wrong and where, and what was expected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
        expected: usize,
    },
    /// An index or a label outside of what it points into.
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
    /// A class with fewer members than there are folds, so that some training set or test fold lacks it.
    #[error(
        "{operation}: class {class} has {count} of {folds} members that {folds} folds need; use fewer folds, or `allow_rare`"
    )]
    RareClass {
        /// The function that was called.
        operation: &'static str,
        /// The class.
        class: u32,
        /// How many members it has.
        count: usize,
        /// How many folds were asked for.
        folds: usize,
    },
    /// Training rows of one class only, from which nothing can be told apart.
    #[error("{operation}: all {count} training rows are of class {class}, expected two classes or more")]
    OneClass {
        /// The function that was called.
        operation: &'static str,
        /// The class.
        class: u32,
        /// How many rows there are.
        count: usize,
    },
    /// A minimum that was not reached.
    #[error(
        "{operation}: after {iterations} iterations the optimality conditions are violated by {violation:e}, expected {tolerance:e}; scale the features, lower `c`, raise `max_iterations` or `tolerance`"
    )]
    NotConverged {
        /// The function that was called.
        operation: &'static str,
        /// After how many iterations.
        iterations: usize,
        /// The largest violation that is left.
        violation: f64,
        /// How much was allowed.
        tolerance: f64,
    },
    /// A failure inside of cross-validation.
    #[error("in {place}: {source}")]
    Fold {
        /// Which fold, of which loop, and with which setting.
        place: String,
        /// What went wrong there.
        source: Box<Error>,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn value(operation: &'static str, what: impl Into<String>, got: f64, expected: &'static str) -> Self {
        Self::Value { operation, what: what.into(), got, expected }
    }

    pub(crate) fn out_of_range(operation: &'static str, what: impl Into<String>, index: u64, bound: usize) -> Self {
        Self::OutOfRange { operation, what: what.into(), index, bound }
    }

    pub(crate) fn fold(place: String) -> impl FnOnce(Self) -> Self {
        move |source| Self::Fold { place, source: Box::new(source) }
    }
}

/// Checks that none of these counts is 0.
pub(crate) fn check_counts(operation: &'static str, counts: &[(&'static str, usize)]) -> Result<()> {
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((what, _)) => Err(Error::Empty { operation, what }),
        None => Ok(()),
    }
}

/// Checks that these settings are finite and above 0.
pub(crate) fn check_above_zero(operation: &'static str, settings: &[(&'static str, f64)]) -> Result<()> {
    match settings.iter().find(|(_, value)| !(value.is_finite() && *value > 0.)) {
        Some((what, value)) => Err(Error::value(operation, *what, *value, "a finite number above 0")),
        None => Ok(()),
    }
}

/// Checks that these settings are finite and not below 0.
pub(crate) fn check_not_negative(operation: &'static str, settings: &[(&'static str, f64)]) -> Result<()> {
    match settings.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.)) {
        Some((what, value)) => Err(Error::value(operation, *what, *value, "a finite number of 0 or more")),
        None => Ok(()),
    }
}
