//! The thread that compresses and exchanges buckets.

use super::buckets::Hooks;
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
    Reduce { bucket: usize, id: u64, round: Round, gradients: Vec<f32>, answer: Sender<Answer> },
    State(Sender<Vec<HookState>>),
    LoadState(Vec<HookState>, Sender<Result<()>>),
}

/// A bucket that has been averaged.
pub(super) struct Answer {
    pub(super) bucket: usize,
    pub(super) result: Result<(Vec<f32>, Statistics)>,
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
    pub(super) fn send(&self, bucket: usize, id: u64, round: Round, gradients: Vec<f32>) -> Result<()> {
        let answer = self.answer.clone().ok_or_else(ended)?;
        self.jobs.send(Job::Reduce { bucket, id, round, gradients, answer }).map_err(|_| ended())
    }

    /// The next answer. No more jobs can be sent, so that the end of the thread is noticed.
    pub(super) fn receive(&mut self) -> Result<Answer> {
        self.answer = None;
        self.answers.recv().map_err(|_| ended())
    }
}

fn reduce(
    hook: &mut dyn Hook,
    gradients: &mut [f32],
    key: &Key,
    round: Round,
    communicator: &dyn Communicator,
) -> Result<Statistics> {
    let result = if round.is_dense {
        Allreduce.reduce(gradients, key, communicator)
    } else {
        round
            .ratio
            .map_or(Ok(()), |ratio| hook.set_ratio(ratio))
            .and_then(|()| hook.reduce(gradients, key, communicator))
    };
    // so that the others do not wait for a rank that has failed
    result.inspect_err(|error| communicator.abort(&error.to_string()))
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
