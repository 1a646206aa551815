//! Collective operations over any transport.

use super::deadline::Deadline;
use super::element::Element;
use super::frame::{self, Expected, Kind, Message, Transport, abort_message, message, payload};
use super::operations::{Communicator, DEFAULT_TIMEOUT, check_longest, check_root};
use crate::error::same_length;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
        let deadline = Deadline::after(self.timeout);
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
    /// `longest` is the length of the longest payload that may arrive.
    fn exchange(
        &mut self,
        kind: Kind,
        size: u64,
        longest: usize,
        outgoing: Vec<(usize, Message)>,
        from: &[usize],
    ) -> Result<Vec<Message>> {
        let header = frame::header(kind, self.sequence, size);
        self.transport.expect(Expected { header, longest: longest.saturating_add(frame::HEADER) });
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

/// The range of elements that a rank sums.
fn part(len: usize, world_size: usize, rank: usize) -> Range<usize> {
    let bound = |rank: usize| (len as u128 * rank as u128 / world_size as u128) as usize;
    bound(rank)..bound(rank + 1)
}

/// Replaces this rank's elements by the sum over ranks, in the order of ranks. `others` are the messages of all other ranks, ascending.
fn sum_in_order<E: Element>(own: &mut [E], rank: usize, others: &[Message]) -> Result<()> {
    for message in others {
        same_length("allreduce", "a message", body(message).len(), size_of_val(own))?;
    }
    let mut sum = vec![E::default(); own.len()];
    let (before, after) = others.split_at(rank.min(others.len()));
    before.iter().for_each(|message| E::add(&mut sum, body(message)));
    sum.iter_mut().zip(own.iter()).for_each(|(sum, own)| *sum += *own);
    after.iter().for_each(|message| E::add(&mut sum, body(message)));
    own.copy_from_slice(&sum);
    Ok(())
}

impl<T: Transport> Collective<T> {
    fn sum<E: Element>(&self, values: &mut [E]) -> Result<()> {
        let (others, size, world) = (self.others(), values.len() as u64, self.world_size);
        self.operation(|round| {
            if values.len() <= ONE_ROUND {
                let outgoing = round.to_all(&others, E::SCATTER, size, bytemuck::cast_slice(values));
                let received = round.exchange(E::SCATTER, size, size_of_val(values), outgoing, &others)?;
                return sum_in_order(values, round.rank, &received);
            }
            // the parts of ranks differ by one element at most
            let longest = values.len().div_ceil(world).saturating_mul(size_of::<E>());
            let outgoing = others.iter().map(|&to| {
                let piece = &values[part(values.len(), world, to)];
                (to, message(E::SCATTER, round.sequence, size, bytemuck::cast_slice(piece)))
            });
            let outgoing = outgoing.collect();
            let received = round.exchange(E::SCATTER, size, longest, outgoing, &others)?;
            let own = part(values.len(), world, round.rank);
            sum_in_order(&mut values[own.clone()], round.rank, &received)?;
            drop(received);
            let outgoing = round.to_all(&others, E::COLLECT, size, bytemuck::cast_slice(&values[own]));
            let received = round.exchange(E::COLLECT, size, longest, outgoing, &others)?;
            for (message, &from) in received.iter().zip(&others) {
                let piece = &mut values[part(size as usize, world, from)];
                same_length("allreduce", "a message", body(message).len(), size_of_val(piece))?;
                E::copy(piece, body(message));
            }
            Ok(())
        })
    }

    fn gather(&self, bytes: &[u8], longest: usize) -> Result<Vec<Vec<u8>>> {
        let others = self.others();
        self.operation(|round| {
            let outgoing = round.to_all(&others, Kind::Allgather, 0, bytes);
            let received = round.exchange(Kind::Allgather, 0, longest, outgoing, &others)?;
            let mut all: Vec<Vec<u8>> = received.iter().map(|message| body(message).to_vec()).collect();
            all.insert(round.rank, bytes.to_vec());
            check_longest(&all, longest)?;
            Ok(all)
        })
    }
}

impl<T: Transport> Communicator for Collective<T> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn allreduce_sum(&self, values: &mut [f32]) -> Result<()> {
        self.sum(values)
    }

    fn allreduce_sum_f64(&self, values: &mut [f64]) -> Result<()> {
        self.sum(values)
    }

    fn allgather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.gather(bytes, usize::MAX)
    }

    fn allgather_within(&self, bytes: &[u8], longest: usize) -> Result<Vec<Vec<u8>>> {
        self.gather(bytes, longest)
    }

    fn broadcast(&self, bytes: &mut Vec<u8>, root: usize) -> Result<()> {
        check_root(root, self.world_size)?;
        let others = self.others();
        // the root waits for a message of every other rank, so that it notices lost ranks and does not run ahead of a failure
        self.operation(|round| {
            if round.rank == root {
                let outgoing = round.to_all(&others, Kind::Broadcast, root as u64, bytes);
                round.exchange(Kind::Broadcast, root as u64, 0, outgoing, &others)?;
            } else {
                let outgoing = vec![(root, message(Kind::Broadcast, round.sequence, root as u64, &[]))];
                let received = round.exchange(Kind::Broadcast, root as u64, usize::MAX, outgoing, &[root])?;
                *bytes = received.first().map(|message| body(message).to_vec()).unwrap_or_default();
            }
            Ok(())
        })
    }

    fn barrier(&self) -> Result<()> {
        let others = self.others();
        self.operation(|round| {
            let outgoing = round.to_all(&others, Kind::Barrier, 0, &[]);
            round.exchange(Kind::Barrier, 0, 0, outgoing, &others).map(drop)
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
