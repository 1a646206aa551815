//! Ranks that are threads of one process.

use super::collective::Collective;
use super::deadline::Deadline;
use super::frame::{Message, Transport};
use super::mailbox::{Event, Mailbox};
use crate::{Error, Result};
use std::sync::mpsc::Sender;

/// The transport between threads.
#[derive(Debug)]
pub struct ThreadTransport {
    rank: usize,
    /// A sender to each rank; this rank's own is not used.
    to: Vec<Sender<(usize, Event)>>,
    mailbox: Mailbox,
}

/// A communicator between threads.
pub type ThreadCommunicator = Collective<ThreadTransport>;

/// The largest number of ranks of one process.
pub const MAX_RANKS: usize = 1024;

/// The communicators of a group of threads, in the order of ranks: one for each thread. [`launch`](crate::launch()) starts the threads too.
///
/// # Errors
///
/// When `ranks` is 0 or above [`MAX_RANKS`].
pub fn world(ranks: usize) -> Result<Vec<ThreadCommunicator>> {
    if !(1..=MAX_RANKS).contains(&ranks) {
        return Err(Error::config(
            "ranks",
            format!("{ranks} is not from 1 to {MAX_RANKS}, the most threads of a group"),
        ));
    }
    let (mailboxes, senders): (Vec<_>, Vec<_>) = (0..ranks).map(|rank| Mailbox::new(rank, ranks)).unzip();
    let transport = |(rank, mailbox)| Collective::new(ThreadTransport { rank, to: senders.clone(), mailbox });
    Ok(mailboxes.into_iter().enumerate().map(transport).collect())
}

impl ThreadTransport {
    /// Sends to all other ranks. Ranks that are gone are skipped.
    fn tell(&self, event: impl Fn() -> Event) {
        for to in self.to.iter().enumerate().filter(|(rank, _)| *rank != self.rank).map(|(_, to)| to) {
            let _ = to.send((self.rank, event()));
        }
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
        self.mailbox.announced(operation)?;
        for (to, message) in outgoing {
            // a rank that is gone is noticed when a message from it is needed
            let _ = self.to[to].send((self.rank, Event::Message(message)));
        }
        let (rank, senders) = (self.rank, &self.to);
        self.mailbox.complete(operation, from, deadline, |_, to, message| {
            let _ = senders[to].send((rank, Event::Message(message.clone())));
        })
    }

    fn announce(&mut self, message: &Message) {
        self.tell(|| Event::Message(message.clone()));
    }
}

impl Drop for ThreadTransport {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() { "its thread panicked" } else { "its thread has left the group" };
        self.tell(|| Event::Gone(reason.to_owned()));
    }
}
