//! Communication between ranks: one trait and four ways to connect them.
//!
//! | communicator | ranks are | for |
//! |---|---|---|
//! | [`threads`] | threads of this process | experiments and tests on one machine |
//! | [`tcp`] | processes on any machines | several machines without further software |
//! | `mpi` (feature `mpi`) | processes started by `mpirun` | clusters |
//! | `nccl` (feature `nccl`) | processes with one GPU each | GPUs |
//!
//! The first three share their collective operations and differ only in how bytes travel. Each part of a tensor is summed by one rank in the order of ranks and then sent to all, so sums have the
//! same bits on every rank and with any of the three. Every rank talks to every other one directly, in at most two rounds. A rank sends `2 (N − 1) / N · 4 n` bytes for a sum of `n` floats, as in
//! a ring.
//!
//! An operation has one deadline for all ranks together. A rank that dies, leaves, fails or stalls ends the operation on all others with an error that names it ([`Error::RankLost`](crate::Error::RankLost), [`Error::Timeout`](crate::Error::Timeout)). Ranks
//! that call different operations get [`Error::Mismatch`](crate::Error::Mismatch). After an error, every later call fails with the same error.

mod blame;
mod collective;
mod deadline;
mod element;
mod frame;
mod mailbox;
#[cfg(feature = "mpi")]
pub mod mpi;
#[cfg(feature = "nccl")]
pub mod nccl;
mod operations;
pub mod tcp;
pub mod threads;

pub use collective::Collective;
pub use deadline::Deadline;
pub use frame::{Expected, HEADER, Message, Transport};
pub use operations::{Alone, Communicator, DEFAULT_TIMEOUT};
