//! Communication between ranks: one trait, and three ways to be connected.
//!
//! | communicator | ranks are | for |
//! |---|---|---|
//! | [`threads`] | threads of this process | trying things out, tests, one machine |
//! | [`tcp`] | processes, on any machines | several machines without more set-up |
//! | `mpi` (feature `mpi`) | processes started by `mpirun` | clusters |
//! | `nccl` (feature `nccl`) | processes with one GPU each | GPUs |
//!
//! The first three share their collective operations and differ in how bytes travel alone. Sums are made in the order of ranks on one rank for each part of a tensor and
//! then handed to all, so they have the same bits everywhere, on every rank, with any of the three. Each rank talks to each other one directly, in at most two rounds; a rank's traffic in a
//! sum of `n` floats is `2 (N − 1) / N · 4 n` bytes, as in a ring.
//!
//! A rank that dies, leaves, fails or falls silent ends the operation on all others with an error that names it ([`Error::RankLost`](crate::Error::RankLost), [`Error::Timeout`](crate::Error::Timeout)); ranks that do different
//! things find out ([`Error::Mismatch`](crate::Error::Mismatch)). After an error every later call fails with the same error.

mod collective;
mod frame;
mod mailbox;
#[cfg(feature = "mpi")]
pub mod mpi;
#[cfg(feature = "nccl")]
pub mod nccl;
pub mod tcp;
pub mod threads;

pub use collective::Collective;
pub use frame::{Deadline, Message, Transport};

use crate::Result;
use std::time::Duration;

/// How long an operation waits for other ranks when nothing else is said: 5 minutes.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// A group of ranks that call the same operations in the same order.
pub trait Communicator: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn world_size(&self) -> usize;

    /// Replaces `values` by their sum over all ranks.
    ///
    /// # Errors
    ///
    /// When a rank is lost, late, or does something else.
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
    /// As [`Communicator::allreduce_sum`], or when there is no such rank.
    fn broadcast(&self, bytes: &mut Vec<u8>, root: usize) -> Result<()>;

    /// Returns when all ranks have called it.
    ///
    /// # Errors
    ///
    /// As [`Communicator::allreduce_sum`].
    fn barrier(&self) -> Result<()>;

    /// Tells all other ranks that this one fails, so that none waits for it.
    fn abort(&self, reason: &str);

    /// Payload bytes that this rank has sent so far.
    fn bytes_sent(&self) -> u64;
}

/// A group of one: nothing is sent.
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
        if root == 0 { Ok(()) } else { Err(crate::Error::options("root", format!("{root} of 1 rank"))) }
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }

    fn abort(&self, _: &str) {}

    fn bytes_sent(&self) -> u64 {
        0
    }
}
