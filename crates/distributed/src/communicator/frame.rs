//! Messages between two ranks, and the transport that carries them.

use crate::{Error, Result};
use std::sync::Arc;
use std::time::Instant;

/// Carries messages between ranks. Messages from one rank to another arrive complete and in order.
pub trait Transport: Send {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn world_size(&self) -> usize;

    /// Sends all of `outgoing` (rank and message) and returns one message from each rank of `from`, in this order. Sending must not wait for a receiver that is itself sending, or two ranks would
    /// wait for each other.
    ///
    /// # Errors
    ///
    /// [`Error::RankLost`], or [`Error::Timeout`] after the deadline.
    fn exchange(
        &mut self,
        operation: &'static str,
        outgoing: Vec<(usize, Message)>,
        from: &[usize],
        deadline: Deadline,
    ) -> Result<Vec<Message>>;

    /// Sends a last message to all others without waiting for answers.
    fn announce(&mut self, message: &Message);
}

/// The bytes of a message, shared when it goes to several ranks.
pub type Message = Arc<Vec<u8>>;

/// When an operation stops waiting.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// The point in time.
    pub at: Instant,
    /// The time-out it came from, for the error.
    pub limit: std::time::Duration,
}

/// The operation that a message is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scatter,
    Collect,
    Allgather,
    Broadcast,
    Barrier,
    Abort,
}

impl Kind {
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Scatter | Self::Collect => "allreduce",
            Self::Allgather => "allgather",
            Self::Broadcast => "broadcast",
            Self::Barrier => "barrier",
            Self::Abort => "abort",
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Scatter, Self::Collect, Self::Allgather, Self::Broadcast, Self::Barrier, Self::Abort];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Number of bytes before the payload: magic, kind, three zeros, number of the operation, size of the whole tensor.
pub(crate) const HEADER: usize = 24;
const MAGIC: [u8; 4] = *b"GCM1";

/// `size` has to be equal on all ranks: the number of elements of an allreduce, the root of a broadcast, 0 where lengths may differ.
pub(crate) fn message(kind: Kind, sequence: u64, size: u64, payload: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[kind as u8, 0, 0, 0]);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(payload);
    Arc::new(bytes)
}

/// A message that ends all operations and names the rank at fault.
pub(crate) fn abort_message(culprit: usize, reason: &str) -> Message {
    message(Kind::Abort, 0, culprit as u64, reason.as_bytes())
}

/// The failure that a message announces, if it is such a message.
pub(crate) fn abort_error(bytes: &[u8], operation: &'static str) -> Option<Error> {
    if bytes.len() < HEADER || bytes[..4] != MAGIC || bytes[4] != Kind::Abort as u8 {
        return None;
    }
    let rank = bytes[16..24].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let reason = String::from_utf8_lossy(&bytes[HEADER..]).into_owned();
    Some(Error::RankLost { rank: usize::try_from(rank).unwrap_or(usize::MAX), operation, reason })
}

/// The payload of a message, if the message belongs to the operation that this rank is in.
pub(crate) fn payload(bytes: &[u8], from: usize, kind: Kind, sequence: u64, size: u64) -> Result<&[u8]> {
    let operation = kind.operation();
    let broken = |reason: &str| Error::RankLost { rank: from, operation, reason: reason.to_owned() };
    if bytes.len() < HEADER || bytes[..4] != MAGIC {
        return Err(broken("it sent bytes that are not a message"));
    }
    let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let (their_sequence, their_size) = (number(8), number(16));
    let payload = &bytes[HEADER..];
    match Kind::from_byte(bytes[4]) {
        None => Err(broken("it sent a message of an unknown kind")),
        Some(theirs) if theirs != kind || their_sequence != sequence || their_size != size => {
            let describe = |kind: Kind, sequence: u64, size: u64| match kind {
                Kind::Scatter | Kind::Collect => {
                    format!("is in its operation {sequence}, allreduce of {size} elements")
                }
                _ => format!("is in its operation {sequence}, {}", kind.operation()),
            };
            Err(Error::Mismatch {
                operation,
                rank: from,
                theirs: describe(theirs, their_sequence, their_size),
                ours: describe(kind, sequence, size),
            })
        }
        Some(_) => Ok(payload),
    }
}
