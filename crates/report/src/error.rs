//! What can be wrong with text that comes from outside.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The place of this process among the shards is not given, or contradicts itself.
    #[error("shard: {reason}")]
    Shard {
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A text is not a `report.json` of this version.
    #[error("{reason}")]
    InvalidReport {
        /// What is wrong, and what was expected.
        reason: String,
    },
}
