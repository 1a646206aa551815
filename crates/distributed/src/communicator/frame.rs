//! Messages between two ranks, and the transport that carries them.

use super::deadline::Deadline;
use crate::quote::quote;
use crate::{Error, Result};
use std::sync::Arc;

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

    /// What the next [`Transport::exchange`] may receive, so that longer messages can be refused before their bytes arrive. By default nothing is refused.
    fn expect(&mut self, _: Expected) {}
}

/// The messages of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The first bytes of each of them, which name the operation.
    pub header: [u8; HEADER],
    /// The length of the longest, with its header; `usize::MAX` where the operation takes any.
    pub longest: usize,
}

/// The bytes of a message, shared when it goes to several ranks.
pub type Message = Arc<Vec<u8>>;

/// The operation that a message is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scatter,
    Collect,
    Allgather,
    Broadcast,
    Barrier,
    Abort,
    Status,
    ScatterF64,
    CollectF64,
}

impl Kind {
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Scatter | Self::Collect | Self::ScatterF64 | Self::CollectF64 => "allreduce",
            Self::Allgather => "allgather",
            Self::Broadcast => "broadcast",
            Self::Barrier => "barrier",
            Self::Abort => "abort",
            Self::Status => "status",
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Scatter,
            Self::Collect,
            Self::Allgather,
            Self::Broadcast,
            Self::Barrier,
            Self::Abort,
            Self::Status,
            Self::ScatterF64,
            Self::CollectF64,
        ];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Number of bytes before the payload of a message: magic, kind, three zeros, number of the operation, size of the whole tensor.
pub const HEADER: usize = 24;
const MAGIC: [u8; 4] = *b"GCM1";

/// `size` has to be equal on all ranks: the number of elements of an allreduce, the root of a broadcast, 0 where lengths may differ.
pub(crate) fn header(kind: Kind, sequence: u64, size: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = kind as u8;
    bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
    bytes[16..].copy_from_slice(&size.to_le_bytes());
    bytes
}

pub(crate) fn message(kind: Kind, sequence: u64, size: u64, payload: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&header(kind, sequence, size));
    bytes.extend_from_slice(payload);
    Arc::new(bytes)
}

/// The little-endian number at this place.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte))
}

/// Which operation of its rank a message belongs to.
pub(crate) fn sequence(header: &[u8; HEADER]) -> u64 {
    number(header, 8)
}

/// The kind of a message, if it is one.
fn kind(bytes: &[u8]) -> Option<Kind> {
    if bytes.len() < HEADER || bytes[..4] != MAGIC { None } else { Kind::from_byte(bytes[4]) }
}

/// The longest text of a failure that is sent.
const LONGEST_REASON: usize = 4096;

/// The longest message with this header that is no part of an operation.
pub(crate) fn longest_aside(header: &[u8; HEADER]) -> Option<usize> {
    match kind(header) {
        Some(Kind::Abort) => Some(HEADER + LONGEST_REASON),
        Some(Kind::Status) => Some(HEADER + (1 << 20)),
        _ => None,
    }
}

/// A message that ends all operations and names the rank at fault.
pub(crate) fn abort_message(culprit: usize, reason: &str) -> Message {
    let mut end = reason.len().min(LONGEST_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    message(Kind::Abort, 0, culprit as u64, &reason.as_bytes()[..end])
}

/// The rank at fault and the reason, if `from` has announced a failure.
pub(crate) fn abort_of(bytes: &[u8], from: usize, world_size: usize) -> Option<(usize, String)> {
    if kind(bytes) != Some(Kind::Abort) {
        return None;
    }
    let culprit = number(bytes, 16);
    Some(match usize::try_from(culprit) {
        Ok(culprit) if culprit < world_size => (culprit, quote(&String::from_utf8_lossy(&bytes[HEADER..]))),
        _ => (from, format!("it announced the loss of rank {culprit}, and this group has {world_size}")),
    })
}

/// [`abort_of`] as the error of an operation.
pub(crate) fn abort_error(bytes: &[u8], from: usize, world_size: usize, operation: &'static str) -> Option<Error> {
    abort_of(bytes, from, world_size).map(|(rank, reason)| Error::RankLost { rank, operation, reason })
}

/// What a rank that is in an operation still waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Ranks that do not take what this one sends.
    pub(crate) blocked: Vec<usize>,
    /// Ranks that have not sent all of their messages.
    pub(crate) waiting: Vec<usize>,
}

/// A message that says what this rank waits for, and maybe asks for the same.
pub(crate) fn status_message(standing: &Standing, is_question: bool) -> Message {
    let ranks = |ranks: &[usize]| ranks.iter().flat_map(|&rank| (rank as u32).to_le_bytes()).collect::<Vec<u8>>();
    let payload = [ranks(&[standing.blocked.len()]), ranks(&standing.blocked), ranks(&standing.waiting)].concat();
    message(Kind::Status, 0, u64::from(is_question), &payload)
}

/// What a rank waits for, and whether it asks, if this is such a message.
pub(crate) fn standing(bytes: &[u8], world_size: usize) -> Option<(Standing, bool)> {
    if kind(bytes) != Some(Kind::Status) {
        return None;
    }
    let read = |chunk: &[u8]| u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]) as usize;
    let mut ranks: Vec<usize> = bytes[HEADER..].chunks_exact(4).map(read).collect();
    let count = if ranks.is_empty() { 0 } else { ranks.remove(0) };
    let mut waiting = ranks.split_off(count.min(ranks.len()));
    waiting.retain(|&rank| rank < world_size);
    ranks.retain(|&rank| rank < world_size);
    Some((Standing { blocked: ranks, waiting }, number(bytes, 16) != 0))
}

/// The payload of a message, if the message belongs to the operation that this rank is in.
pub(crate) fn payload(bytes: &[u8], from: usize, kind: Kind, sequence: u64, size: u64) -> Result<&[u8]> {
    let operation = kind.operation();
    let broken = |reason: &str| Error::RankLost { rank: from, operation, reason: reason.to_owned() };
    if bytes.len() < HEADER || bytes[..4] != MAGIC {
        return Err(broken("it sent bytes that are not a message"));
    }
    let (their_sequence, their_size) = (number(bytes, 8), number(bytes, 16));
    let payload = &bytes[HEADER..];
    match Kind::from_byte(bytes[4]) {
        None => Err(broken("it sent a message of an unknown kind")),
        Some(theirs) if theirs != kind || their_sequence != sequence || their_size != size => {
            let describe = |kind: Kind, sequence: u64, size: u64| match kind {
                Kind::Scatter | Kind::Collect => {
                    format!("is in its operation {sequence}, allreduce of {size} elements")
                }
                Kind::ScatterF64 | Kind::CollectF64 => {
                    format!("is in its operation {sequence}, allreduce of {size} elements of f64")
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
