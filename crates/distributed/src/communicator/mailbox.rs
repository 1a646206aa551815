//! Received messages of all other ranks.

use super::frame::{Deadline, Message, abort_error};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

/// What arrives from a rank.
#[derive(Debug)]
pub(super) enum Event {
    Message(Message),
    /// Nothing more will arrive, and why.
    Gone(String),
}

/// Messages by sender, in order. A rank that announces a failure is noticed at once, whichever rank is waited for. A rank that left is an error only when a message from it is needed.
#[derive(Debug)]
pub(super) struct Mailbox {
    arrivals: Receiver<(usize, Event)>,
    waiting: Vec<VecDeque<Message>>,
    gone: Vec<Option<String>>,
}

impl Mailbox {
    pub(super) fn new(ranks: usize) -> (Self, Sender<(usize, Event)>) {
        let (sender, arrivals) = channel();
        let waiting = (0..ranks).map(|_| VecDeque::new()).collect();
        (Self { arrivals, waiting, gone: vec![None; ranks] }, sender)
    }

    /// Sorts in what has arrived; with a deadline, waits until then for at least one arrival. Returns whether anything arrived.
    fn collect(&mut self, operation: &'static str, deadline: Option<Deadline>) -> Result<bool> {
        let mut has_any = false;
        if let Some(deadline) = deadline {
            let left = deadline.at.saturating_duration_since(Instant::now());
            match self.arrivals.recv_timeout(left) {
                Ok((from, event)) => self.put(operation, from, event)?,
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => {
                    for gone in &mut self.gone {
                        gone.get_or_insert_with(|| "no rank is connected any more".to_owned());
                    }
                }
            }
            has_any = true;
        }
        while let Ok((from, event)) = self.arrivals.try_recv() {
            self.put(operation, from, event)?;
            has_any = true;
        }
        Ok(has_any)
    }

    fn put(&mut self, operation: &'static str, from: usize, event: Event) -> Result<()> {
        match event {
            Event::Message(message) => match abort_error(&message, operation) {
                Some(error) => return Err(error),
                None => self.waiting[from].push_back(message),
            },
            Event::Gone(reason) => self.gone[from] = Some(reason),
        }
        Ok(())
    }

    /// The failure that some rank has announced, if one has.
    pub(super) fn announced(&mut self, operation: &'static str) -> Result<()> {
        self.collect(operation, None).map(drop)
    }

    /// One message from each of these ranks.
    pub(super) fn receive(
        &mut self,
        operation: &'static str,
        from: &[usize],
        deadline: Deadline,
    ) -> Result<Vec<Message>> {
        self.collect(operation, None)?;
        loop {
            let missing: Vec<usize> = from.iter().copied().filter(|&rank| self.waiting[rank].is_empty()).collect();
            if missing.is_empty() {
                return Ok(from.iter().filter_map(|&rank| self.waiting[rank].pop_front()).collect());
            }
            if let Some(&rank) = missing.iter().find(|&&rank| self.gone[rank].is_some()) {
                let reason = self.gone[rank].clone().unwrap_or_default();
                return Err(Error::RankLost { rank, operation, reason });
            }
            if !self.collect(operation, Some(deadline))? {
                return Err(Error::Timeout { operation, ranks: missing, limit: deadline.limit });
            }
        }
    }
}
