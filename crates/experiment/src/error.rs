//! What can go wrong in the harness itself.

use std::path::PathBuf;

/// Any error: what the paper's code and the work of a trial may return with `?`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of a reproduction's code: every error type converts with `?`.
pub type Result<T, E = BoxError> = std::result::Result<T, E>;

/// An error of the harness.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder of the run could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb: `write`, `lock`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The paper's description contradicts itself.
    #[error("invalid description of paper `{slug}`: {reason}")]
    Paper {
        /// The paper's slug.
        slug: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A measured value was given for a claim that the paper does not list.
    #[error("there is no claim `{id}`; the paper lists: {known}")]
    UnknownClaim {
        /// The id that was given.
        id: String,
        /// The ids that exist, separated by commas.
        known: String,
    },
    /// Two measured values were given for one claim.
    #[error("claim `{id}` was measured twice; a claim has one measured value per run")]
    ClaimMeasuredTwice {
        /// The claim.
        id: String,
    },
    /// A group of trials cannot be run as it was given.
    #[error("trial group `{group}`: {reason}")]
    TrialGroup {
        /// The group.
        group: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// The work of a trial returned an error.
    #[error("trial `{group}/{id}` failed: {source}")]
    TrialFailed {
        /// The trial's group.
        group: String,
        /// The trial's id.
        id: String,
        /// The error that the work returned.
        source: BoxError,
    },
    /// The work of a trial panicked.
    #[error("trial `{group}/{id}` panicked: {message}")]
    TrialPanicked {
        /// The trial's group.
        group: String,
        /// The trial's id.
        id: String,
        /// The panic's message.
        message: String,
    },
    /// Some trials of a group have no result yet: the run was interrupted, or they belong to other shards.
    #[error("{missing} of {total} trials of group `{group}` have no result yet")]
    Incomplete {
        /// The group.
        group: String,
        /// Trials without a result.
        missing: usize,
        /// All trials of the group.
        total: usize,
    },
    /// The run was interrupted by Ctrl-C or by a signal to terminate.
    #[error("interrupted")]
    Interrupted,
    /// Another process is using the run's folder.
    #[error("{} is in use by another process: {reason}", path.display())]
    DirectoryInUse {
        /// The run's folder.
        path: PathBuf,
        /// Who uses it, and what can be done.
        reason: String,
    },
    /// A plot cannot be drawn from its data.
    #[error("plot `{name}`: {reason}")]
    Plot {
        /// The plot's name.
        name: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A value could not be written as JSON or read back from it.
    #[error("{what} cannot be stored: {reason}")]
    Stored {
        /// The value.
        what: String,
        /// Why not.
        reason: String,
    },
}

/// Names the file in an input or output error.
pub(crate) fn file_error(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
