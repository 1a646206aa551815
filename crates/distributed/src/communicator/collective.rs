//! Collective operations over any transport.

use super::frame::{self, Deadline, Kind, Message, Transport, abort_message, message, payload};
use super::operations::{Communicator, DEFAULT_TIMEOUT, check_root};
use crate::error::same_length;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Up to this many elements, every rank sends everything to all others and sums in one round.
const ONE_ROUND: usize = 2048;

/// The collective operations of a group of ranks connected by a [`Transport`].
#[derive(Debug)]
pub struct Collective<T> {
    rank: usize,
    world_size: usize,
    timeout: Duration,
    state: Mutex<State<T>>,
    bytes_sent: AtomicU64,
}

#[derive(Debug)]
struct State<T> {
    transport: T,
    sequence: u64,
    /// The error that every later operation returns.
    failure: Option<Error>,
}

impl<T: Transport> Collective<T> {
    /// Operations over this transport, with [`DEFAULT_TIMEOUT`].
    pub fn new(transport: T) -> Self {
        Self {
            rank: transport.rank(),
            world_size: transport.world_size(),
            timeout: DEFAULT_TIMEOUT,
            state: Mutex::new(State { transport, sequence: 0, failure: None }),
            bytes_sent: AtomicU64::new(0),
        }
    }

    /// Sets how long each operation waits for other ranks.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    fn others(&self) -> Vec<usize> {
        (0..self.world_size).filter(|&rank| rank != self.rank).collect()
    }

    /// Runs one operation. A failure is final and is announced to the others.
    fn operation<R>(&self, f: impl FnOnce(&mut Round<'_, T>) -> Result<R>) -> Result<R> {
        let mut state = self.state.lock().map_err(|_| Error::thread("an operation panicked"))?;
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        let sequence = state.sequence;
        state.sequence += 1;
        let deadline = Deadline { at: Instant::now() + self.timeout, limit: self.timeout };
        let mut round =
            Round { transport: &mut state.transport, sequence, deadline, rank: self.rank, sent: &self.bytes_sent };
        let result = f(&mut round);
        if let Err(error) = &result {
            self.fail(&mut state, error);
        }
        result
    }

    fn fail(&self, state: &mut State<T>, error: &Error) {
        let (culprit, reason) = match error {
            Error::RankLost { rank, reason, .. } => (*rank, reason.clone()),
            Error::Timeout { ranks, .. } => (ranks.first().copied().unwrap_or(self.rank), error.to_string()),
            Error::Mismatch { rank, .. } => (*rank, error.to_string()),
            _ => (self.rank, error.to_string()),
        };
        state.transport.announce(&abort_message(culprit, &reason));
        state.failure = Some(error.clone());
    }
}

struct Round<'a, T> {
    transport: &'a mut T,
    sequence: u64,
    deadline: Deadline,
    rank: usize,
    sent: &'a AtomicU64,
}

impl<T: Transport> Round<'_, T> {
    fn exchange(
        &mut self,
        kind: Kind,
        size: u64,
        outgoing: Vec<(usize, Message)>,
        from: &[usize],
    ) -> Result<Vec<Message>> {
        let bytes: usize = outgoing.iter().map(|(_, message)| message.len() - frame::HEADER).sum();
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        let received = self.transport.exchange(kind.operation(), outgoing, from, self.deadline)?;
        for (message, &rank) in received.iter().zip(from) {
            payload(message, rank, kind, self.sequence, size)?;
        }
        Ok(received)
    }

    fn to_all(&self, others: &[usize], kind: Kind, size: u64, payload: &[u8]) -> Vec<(usize, Message)> {
        let message = message(kind, self.sequence, size, payload);
        others.iter().map(|&to| (to, message.clone())).collect()
    }
}

fn body(message: &Message) -> &[u8] {
    &message[frame::HEADER..]
}

/// Adds the little-endian floats to `sum`.
fn add(sum: &mut [f32], bytes: &[u8]) {
    let read = |chunk: &[u8]| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
    sum.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(sum, chunk)| *sum += read(chunk));
}

fn copy(into: &mut [f32], bytes: &[u8]) {
    let read = |chunk: &[u8]| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
    into.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(into, chunk)| *into = read(chunk));
}

/// The range of elements that a rank sums.
fn part(len: usize, world_size: usize, rank: usize) -> Range<usize> {
    let bound = |rank: usize| (len as u128 * rank as u128 / world_size as u128) as usize;
    bound(rank)..bound(rank + 1)
}

/// Replaces this rank's elements by the sum over ranks, in the order of ranks. `others` are the messages of all other ranks, ascending.
fn sum_in_order(own: &mut [f32], rank: usize, others: &[Message]) -> Result<()> {
    for message in others {
        same_length("allreduce", "a message", body(message).len(), own.len() * 4)?;
    }
    let mut sum = vec![0f32; own.len()];
    let (before, after) = others.split_at(rank.min(others.len()));
    before.iter().for_each(|message| add(&mut sum, body(message)));
    sum.iter_mut().zip(own.iter()).for_each(|(sum, own)| *sum += own);
    after.iter().for_each(|message| add(&mut sum, body(message)));
    own.copy_from_slice(&sum);
    Ok(())
}

impl<T: Transport> Communicator for Collective<T> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn allreduce_sum(&self, values: &mut [f32]) -> Result<()> {
        let (others, size, world) = (self.others(), values.len() as u64, self.world_size);
        self.operation(|round| {
            if values.len() <= ONE_ROUND {
                let outgoing = round.to_all(&others, Kind::Scatter, size, bytemuck::cast_slice(values));
                let received = round.exchange(Kind::Scatter, size, outgoing, &others)?;
                return sum_in_order(values, round.rank, &received);
            }
            let outgoing = others.iter().map(|&to| {
                let piece = &values[part(values.len(), world, to)];
                (to, message(Kind::Scatter, round.sequence, size, bytemuck::cast_slice(piece)))
            });
            let outgoing = outgoing.collect();
            let received = round.exchange(Kind::Scatter, size, outgoing, &others)?;
            let own = part(values.len(), world, round.rank);
            sum_in_order(&mut values[own.clone()], round.rank, &received)?;
            drop(received);
            let outgoing = round.to_all(&others, Kind::Collect, size, bytemuck::cast_slice(&values[own]));
            let received = round.exchange(Kind::Collect, size, outgoing, &others)?;
            for (message, &from) in received.iter().zip(&others) {
                let piece = part(values.len(), world, from);
                same_length("allreduce", "a message", body(message).len(), piece.len() * 4)?;
                copy(&mut values[piece], body(message));
            }
            Ok(())
        })
    }

    fn allgather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let others = self.others();
        self.operation(|round| {
            let outgoing = round.to_all(&others, Kind::Allgather, 0, bytes);
            let received = round.exchange(Kind::Allgather, 0, outgoing, &others)?;
            let mut all: Vec<Vec<u8>> = received.iter().map(|message| body(message).to_vec()).collect();
            all.insert(round.rank, bytes.to_vec());
            Ok(all)
        })
    }

    fn broadcast(&self, bytes: &mut Vec<u8>, root: usize) -> Result<()> {
        check_root(root, self.world_size)?;
        let others = self.others();
        // the root waits for a message of every other rank, so that it notices lost ranks and does not run ahead of a failure
        self.operation(|round| {
            if round.rank == root {
                let outgoing = round.to_all(&others, Kind::Broadcast, root as u64, bytes);
                round.exchange(Kind::Broadcast, root as u64, outgoing, &others)?;
            } else {
                let outgoing = vec![(root, message(Kind::Broadcast, round.sequence, root as u64, &[]))];
                let received = round.exchange(Kind::Broadcast, root as u64, outgoing, &[root])?;
                *bytes = received.first().map(|message| body(message).to_vec()).unwrap_or_default();
            }
            Ok(())
        })
    }

    fn barrier(&self) -> Result<()> {
        let others = self.others();
        self.operation(|round| {
            let outgoing = round.to_all(&others, Kind::Barrier, 0, &[]);
            round.exchange(Kind::Barrier, 0, outgoing, &others).map(drop)
        })
    }

    fn abort(&self, reason: &str) {
        if let Ok(mut state) = self.state.lock()
            && state.failure.is_none()
        {
            let operation = "abort";
            let error = Error::RankLost { rank: self.rank, operation, reason: reason.to_owned() };
            self.fail(&mut state, &error);
        }
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }
}
