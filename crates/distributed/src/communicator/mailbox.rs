//! What has arrived from all other ranks, and what is still on its way to them.

use super::blame::blame;
use super::deadline::Deadline;
use super::frame::{Message, Standing, abort_error, standing, status_message};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// What happens at a rank's connection.
#[derive(Debug)]
pub(super) enum Event {
    Message(Message),
    /// A message to the rank has left.
    Sent,
    /// Messages to the rank cannot leave any more, and why.
    Unsent(String),
    /// Nothing more will arrive, and why.
    Gone(String),
}

/// Messages by sender, in order. A rank that announces a failure is noticed at once, whichever rank is waited for. A rank that left is an error only when a message from it is needed.
#[derive(Debug)]
pub(super) struct Mailbox {
    rank: usize,
    arrivals: Receiver<(usize, Event)>,
    waiting: Vec<VecDeque<Message>>,
    gone: Vec<Option<String>>,
    /// Messages to each rank that have not left.
    unsent: Vec<usize>,
    unsendable: Vec<Option<String>>,
    /// What each rank has said in this exchange.
    said: Vec<Option<Standing>>,
    /// Ranks that wait to hear what this one waits for.
    asking: Vec<bool>,
}

/// How long before a deadline ranks ask each other what they wait for, at most.
const QUESTION: Duration = Duration::from_secs(1);
/// How long a rank to which nothing can be sent may take to announce why.
const LAST_WORDS: Duration = Duration::from_millis(200);

impl Mailbox {
    pub(super) fn new(rank: usize, ranks: usize) -> (Self, Sender<(usize, Event)>) {
        let (sender, arrivals) = channel();
        let mailbox = Self {
            rank,
            arrivals,
            waiting: (0..ranks).map(|_| VecDeque::new()).collect(),
            gone: vec![None; ranks],
            unsent: vec![0; ranks],
            unsendable: vec![None; ranks],
            said: vec![None; ranks],
            asking: vec![false; ranks],
        };
        (mailbox, sender)
    }

    /// Sorts in what has arrived, and waits until then for at least one arrival.
    fn collect(&mut self, operation: &'static str, until: Option<Instant>) -> Result<()> {
        if let Some(until) = until {
            match self.arrivals.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((from, event)) => self.put(operation, from, event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    for gone in &mut self.gone {
                        gone.get_or_insert_with(|| "no rank is connected any more".to_owned());
                    }
                }
            }
        }
        while let Ok((from, event)) = self.arrivals.try_recv() {
            self.put(operation, from, event)?;
        }
        Ok(())
    }

    fn put(&mut self, operation: &'static str, from: usize, event: Event) -> Result<()> {
        let ranks = self.waiting.len();
        match event {
            Event::Message(message) => {
                if let Some(error) = abort_error(&message, from, ranks, operation) {
                    return Err(error);
                }
                match standing(&message, ranks) {
                    Some((standing, is_question)) => {
                        self.said[from] = Some(standing);
                        self.asking[from] |= is_question;
                    }
                    None => self.waiting[from].push_back(message),
                }
            }
            Event::Sent => self.unsent[from] = self.unsent[from].saturating_sub(1),
            Event::Unsent(reason) => self.unsendable[from] = Some(reason),
            Event::Gone(reason) => self.gone[from] = Some(reason),
        }
        Ok(())
    }

    /// The failure that some rank has announced, if one has.
    pub(super) fn announced(&mut self, operation: &'static str) -> Result<()> {
        self.collect(operation, None)
    }

    /// Counts a message that has been handed to a thread, which will report [`Event::Sent`].
    pub(super) fn count(&mut self, to: usize) {
        self.unsent[to] += 1;
    }

    /// Whether all messages to a rank have left.
    pub(super) fn is_idle(&self, to: usize) -> bool {
        self.unsent[to] == 0
    }

    /// Remembers that nothing can be sent to a rank.
    pub(super) fn cannot_send(&mut self, to: usize, reason: String) {
        self.unsent[to] += 1;
        self.unsendable[to] = Some(reason);
    }

    fn standing(&self, from: &[usize]) -> Standing {
        Standing {
            blocked: (0..self.unsent.len()).filter(|&rank| self.unsent[rank] > 0).collect(),
            waiting: from.iter().copied().filter(|&rank| self.waiting[rank].is_empty()).collect(),
        }
    }

    /// One message from each of these ranks, when all that was sent has left. `tell` sends a message to a rank without waiting; what it returns is what [`Mailbox::count`] and [`Mailbox::cannot_send`]
    /// have to know.
    pub(super) fn complete(
        &mut self,
        operation: &'static str,
        from: &[usize],
        deadline: Deadline,
        mut tell: impl FnMut(&mut Self, usize, &Message),
    ) -> Result<Vec<Message>> {
        self.said.fill(None);
        let question = deadline.at.checked_sub(QUESTION.min(deadline.limit / 4)).unwrap_or(deadline.at);
        let (mut has_asked, mut last_words) = (false, None);
        self.collect(operation, None)?;
        loop {
            let own = self.standing(from);
            if own.waiting.is_empty() && own.blocked.is_empty() {
                return Ok(from.iter().filter_map(|&rank| self.waiting[rank].pop_front()).collect());
            }
            let lost = |reasons: &[Option<String>], ranks: &[usize]| {
                let rank = ranks.iter().copied().find(|&rank| reasons[rank].is_some())?;
                Some(Error::RankLost { rank, operation, reason: reasons[rank].clone().unwrap_or_default() })
            };
            // who has left may have taken all that was sent, which is only not known yet
            if let Some(error) = lost(&self.gone, &own.waiting) {
                return Err(error);
            }
            let now = Instant::now();
            if let Some(error) = lost(&self.unsendable, &own.blocked) {
                // the rank may have announced why before it closed the connection
                let until = *last_words.get_or_insert(now + LAST_WORDS);
                if now >= until {
                    return Err(error);
                }
            }
            if now >= deadline.at {
                let ranks = blame(&own, &self.said, self.rank);
                return Err(Error::Timeout { operation, ranks, limit: deadline.limit });
            }
            for to in 0..self.asking.len() {
                if std::mem::take(&mut self.asking[to]) {
                    tell(self, to, &status_message(&own, false));
                }
            }
            if now >= question && !has_asked {
                has_asked = true;
                let question = status_message(&own, true);
                let rank = self.rank;
                (0..self.gone.len()).filter(|&to| to != rank).for_each(|to| tell(self, to, &question));
            }
            let next = if has_asked { deadline.at } else { question };
            self.collect(operation, Some(last_words.map_or(next, |until| next.min(until))))?;
        }
    }

    /// Waits until all messages have left, except those to one rank, but not longer than this.
    pub(super) fn flush(&mut self, except: Option<usize>, most: Duration) {
        let until = Instant::now() + most;
        loop {
            let is_waiting = |rank: usize| {
                Some(rank) != except
                    && self.unsent[rank] > 0
                    && self.unsendable[rank].is_none()
                    && self.gone[rank].is_none()
            };
            if !(0..self.unsent.len()).any(is_waiting) {
                return;
            }
            match self.arrivals.recv_timeout(until.saturating_duration_since(Instant::now())) {
                // what else they say comes too late
                Ok((from, event)) => drop(self.put("announce", from, event)),
                Err(_) => return,
            }
        }
    }
}
