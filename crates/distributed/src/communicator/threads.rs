//! Ranks that are threads of one process.

use super::Collective;
use super::frame::{Deadline, Message, Transport};
use crate::{Error, Result};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

/// The transport between threads: a channel for each pair.
#[derive(Debug)]
pub struct ThreadTransport {
    rank: usize,
    /// To each rank; the own one is not used.
    to: Vec<Sender<Message>>,
    from: Vec<Receiver<Message>>,
}

/// A communicator of threads.
pub type ThreadCommunicator = Collective<ThreadTransport>;

/// The communicators of a group of threads, in the order of ranks; give one to each thread. [`launch`](crate::launch()) does that for you.
///
/// # Errors
///
/// When there is no rank.
pub fn world(ranks: usize) -> Result<Vec<ThreadCommunicator>> {
    if ranks == 0 {
        return Err(Error::options("ranks", "there must be at least one"));
    }
    let mut senders: Vec<Vec<Sender<Message>>> = (0..ranks).map(|_| Vec::new()).collect();
    let mut receivers: Vec<Vec<Receiver<Message>>> = (0..ranks).map(|_| Vec::new()).collect();
    for from in &mut senders {
        for to in &mut receivers {
            let (sender, receiver) = channel();
            from.push(sender);
            to.push(receiver);
        }
    }
    let parts = senders.into_iter().zip(receivers).enumerate();
    Ok(parts.map(|(rank, (to, from))| Collective::new(ThreadTransport { rank, to, from })).collect())
}

/// Receives a message from each of these ranks out of their channels; what the deadline finds missing is named together.
pub(super) fn receive(
    operation: &'static str,
    channels: &[Receiver<Message>],
    from: &[usize],
    deadline: Deadline,
    gone: impl Fn(usize) -> String,
) -> Result<Vec<Message>> {
    let mut messages = Vec::with_capacity(from.len());
    let mut missing = Vec::new();
    for &rank in from {
        let wait = deadline.at.saturating_duration_since(Instant::now());
        match channels[rank].recv_timeout(wait) {
            Ok(message) => messages.push(message),
            Err(RecvTimeoutError::Timeout) => missing.push(rank),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::RankLost { rank, operation, reason: gone(rank) });
            }
        }
    }
    if missing.is_empty() {
        Ok(messages)
    } else {
        Err(Error::Timeout { operation, ranks: missing, limit: deadline.limit })
    }
}

impl Transport for ThreadTransport {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.to.len()
    }

    fn exchange(
        &mut self,
        operation: &'static str,
        outgoing: Vec<(usize, Message)>,
        from: &[usize],
        deadline: Deadline,
    ) -> Result<Vec<Message>> {
        for (to, message) in outgoing {
            // who is gone is found by receiving, which knows what it said last
            let _ = self.to[to].send(message);
        }
        receive(operation, &self.from, from, deadline, |_| "its thread has left the group".to_owned())
    }

    fn announce(&mut self, message: &Message) {
        for (rank, to) in self.to.iter().enumerate() {
            if rank != self.rank {
                let _ = to.send(message.clone());
            }
        }
    }
}
