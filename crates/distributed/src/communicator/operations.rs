//! The operations of a group of ranks.

use crate::{Error, Result};
use std::time::Duration;

/// How long an operation waits for other ranks by default: 5 minutes.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// One rank's access to a group of ranks. All ranks must call the same operations in the same order.
pub trait Communicator: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn world_size(&self) -> usize;

    /// Replaces `values` by their sum over all ranks.
    ///
    /// # Errors
    ///
    /// When a rank is lost, does not answer in time, or calls another operation.
    fn allreduce_sum(&self, values: &mut [f32]) -> Result<()>;

    /// The bytes of every rank, in the order of ranks; lengths may differ.
    ///
    /// # Errors
    ///
    /// As [`Communicator::allreduce_sum`].
    fn allgather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Replaces `bytes` by those of `root`.
    ///
    /// # Errors
    ///
    /// As [`Communicator::allreduce_sum`], or when `root` is not a rank.
    fn broadcast(&self, bytes: &mut Vec<u8>, root: usize) -> Result<()>;

    /// Returns when all ranks have called it.
    ///
    /// # Errors
    ///
    /// As [`Communicator::allreduce_sum`].
    fn barrier(&self) -> Result<()>;

    /// Tells all other ranks that this one has failed, so that none waits for it.
    fn abort(&self, reason: &str);

    /// Payload bytes that this rank has sent so far.
    fn bytes_sent(&self) -> u64;
}

/// An error when `root` is not one of the ranks.
pub(super) fn check_root(root: usize, world_size: usize) -> Result<()> {
    if root < world_size {
        return Ok(());
    }
    Err(Error::OutOfRange { operation: "broadcast", what: "the root rank", index: root, bound: world_size })
}

/// A group of one rank: nothing is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Communicator for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        1
    }

    fn allreduce_sum(&self, _: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn allgather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![bytes.to_vec()])
    }

    fn broadcast(&self, _: &mut Vec<u8>, root: usize) -> Result<()> {
        check_root(root, 1)
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }

    fn abort(&self, _: &str) {}

    fn bytes_sent(&self) -> u64 {
        0
    }
}
