//! The thread that compresses and exchanges buckets.

use super::buckets::Hooks;
use super::elements::Elements;
use crate::communicator::Communicator;
use crate::hook::{Allreduce, Hook, HookState, Statistics};
use crate::key::Key;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// What all buckets of a step share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) key: Key,
    pub(super) is_dense: bool,
    pub(super) ratio: Option<f64>,
}

enum Job {
    Reduce {
        bucket: usize,
        id: u64,
        round: Round,
        gradients: Elements,
        answer: Sender<Answer>,
    },
    /// The marks that any rank has set.
    Union(Vec<u8>, Sender<Result<Vec<u8>>>),
    State(Sender<Vec<HookState>>),
    LoadState(Vec<HookState>, Sender<Result<()>>),
}

/// A bucket that has been averaged.
pub(super) struct Answer {
    pub(super) bucket: usize,
    pub(super) result: Result<(Elements, Statistics)>,
}

pub(super) struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Sends the buckets of one step and receives their means.
pub(super) struct Handle {
    jobs: Sender<Job>,
    /// Dropped when all jobs are sent.
    answer: Option<Sender<Answer>>,
    answers: Receiver<Answer>,
}

fn ended() -> Error {
    Error::thread("the communication thread has ended")
}

impl Worker {
    pub(super) fn start(mut hooks: Hooks, communicator: Arc<dyn Communicator>) -> Result<Self> {
        let (jobs, incoming) = channel::<Job>();
        let body = move || {
            for job in incoming {
                match job {
                    Job::Reduce { bucket, id, round, mut gradients, answer } => {
                        let key = Key { tensor: id, ..round.key };
                        let hook = hooks[bucket].as_mut();
                        let result = reduce(hook, &mut gradients, &key, round, communicator.as_ref());
                        let _ =
                            answer.send(Answer { bucket, result: result.map(|statistics| (gradients, statistics)) });
                    }
                    Job::Union(marks, answer) => {
                        let _ = answer.send(union(marks, communicator.as_ref()));
                    }
                    Job::State(answer) => {
                        let _ = answer.send(hooks.iter().map(|hook| hook.state()).collect());
                    }
                    Job::LoadState(states, answer) => {
                        let load = hooks.iter_mut().zip(&states).try_for_each(|(hook, state)| hook.load_state(state));
                        let _ = answer.send(load);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("gradients".to_owned()).spawn(body);
        let thread =
            thread.map_err(|error| Error::thread(format!("the communication thread could not be started: {error}")))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    fn jobs(&self) -> Result<&Sender<Job>> {
        self.jobs.as_ref().ok_or_else(ended)
    }

    pub(super) fn handle(&self) -> Result<Handle> {
        let (answer, answers) = channel();
        Ok(Handle { jobs: self.jobs()?.clone(), answer: Some(answer), answers })
    }

    pub(super) fn state(&self) -> Result<Vec<HookState>> {
        let (sender, receiver) = channel();
        self.jobs()?.send(Job::State(sender)).map_err(|_| ended())?;
        receiver.recv().map_err(|_| ended())
    }

    pub(super) fn load_state(&self, states: Vec<HookState>) -> Result<()> {
        let (sender, receiver) = channel();
        self.jobs()?.send(Job::LoadState(states, sender)).map_err(|_| ended())?;
        receiver.recv().map_err(|_| ended())?
    }
}

impl Handle {
    pub(super) fn send(&self, bucket: usize, id: u64, round: Round, gradients: Elements) -> Result<()> {
        let answer = self.answer.clone().ok_or_else(ended)?;
        self.jobs.send(Job::Reduce { bucket, id, round, gradients, answer }).map_err(|_| ended())
    }

    /// Starts to find the marks that any rank has set.
    pub(super) fn union(&self, marks: Vec<u8>) -> Result<Receiver<Result<Vec<u8>>>> {
        let (sender, receiver) = channel();
        self.jobs.send(Job::Union(marks, sender)).map_err(|_| ended())?;
        Ok(receiver)
    }

    /// The next answer. No more jobs can be sent, so that the end of the thread is noticed.
    pub(super) fn receive(&mut self) -> Result<Answer> {
        self.answer = None;
        self.answers.recv().map_err(|_| ended())
    }
}

fn reduce(
    hook: &mut dyn Hook,
    gradients: &mut Elements,
    key: &Key,
    round: Round,
    communicator: &dyn Communicator,
) -> Result<Statistics> {
    let result = if round.is_dense {
        gradients.reduce(&mut Allreduce, key, communicator)
    } else {
        round
            .ratio
            .map_or(Ok(()), |ratio| hook.set_ratio(ratio))
            .and_then(|()| gradients.reduce(hook, key, communicator))
    };
    // so that the others do not wait for a rank that has failed
    result.inspect_err(|error| communicator.abort(&error.to_string()))
}

/// One bit for each parameter, set where any rank has set it.
fn union(mut marks: Vec<u8>, communicator: &dyn Communicator) -> Result<Vec<u8>> {
    for (rank, theirs) in communicator.allgather_within(&marks, marks.len())?.iter().enumerate() {
        crate::error::same_length("backward", "the list of gradients of another rank", theirs.len(), marks.len())
            .inspect_err(|error| communicator.abort(&format!("rank {rank}: {error}")))?;
        marks.iter_mut().zip(theirs).for_each(|(mark, theirs)| *mark |= theirs);
    }
    Ok(marks)
}

/// The answer of [`Handle::union`].
pub(super) fn wait(answer: &Receiver<Result<Vec<u8>>>) -> Result<Vec<u8>> {
    answer.recv().map_err(|_| ended())?
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
