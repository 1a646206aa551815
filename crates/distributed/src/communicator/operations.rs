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

    /// [`Communicator::allreduce_sum`] in double precision. By default every rank gathers all values and adds them in the order of ranks.
    ///
    /// # Errors
    ///
    /// As [`Communicator::allreduce_sum`].
    fn allreduce_sum_f64(&self, values: &mut [f64]) -> Result<()> {
        let all = self.allgather_within(bytemuck::cast_slice(values), size_of_val(values))?;
        let len = values.len();
        values.fill(0.);
        for (rank, bytes) in all.iter().enumerate() {
            let (chunks, rest) = bytes.as_chunks::<8>();
            if chunks.len() != len || !rest.is_empty() {
                let (theirs, ours) = (format!("sends {} bytes", bytes.len()), format!("sums {len} elements of f64"));
                return Err(Error::Mismatch { operation: "allreduce", rank, theirs, ours });
            }
            values.iter_mut().zip(chunks).for_each(|(sum, chunk)| *sum += f64::from_le_bytes(*chunk));
        }
        Ok(())
    }

    /// The bytes of every rank, in the order of ranks; lengths may differ.
    ///
    /// # Errors
    ///
    /// As [`Communicator::allreduce_sum`].
    fn allgather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// [`Communicator::allgather`] in which no rank may send more than `longest` bytes. Where the transport can, it refuses longer ones before they arrive.
    ///
    /// # Errors
    ///
    /// As [`Communicator::allreduce_sum`], or when a rank sends more.
    fn allgather_within(&self, bytes: &[u8], longest: usize) -> Result<Vec<Vec<u8>>> {
        let all = self.allgather(bytes)?;
        check_longest(&all, longest)?;
        Ok(all)
    }

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

/// An error when a rank has sent more than this many bytes.
pub(super) fn check_longest(all: &[Vec<u8>], longest: usize) -> Result<()> {
    match all.iter().map(Vec::len).max() {
        Some(got) if got > longest => {
            Err(Error::TooLarge { operation: "allgather", what: "the number of bytes of a rank", got, limit: longest })
        }
        _ => Ok(()),
    }
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

    fn allreduce_sum_f64(&self, _: &mut [f64]) -> Result<()> {
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
