//! One trial: its parameters before it runs, its surroundings while it runs, its result afterwards.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::interruption::Interruption;
use crate::progress::TrialProgress;
use crate::trial_store::shared_seed;

/// A trial that has not run yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial<P> {
    /// Unique name in its group: `mutag-fold-3-seed-1`.
    pub id: String,
    /// Everything that decides its result, besides the run's seed. Other parameters make a stored result out of date.
    pub params: P,
}

impl<P> Trial<P> {
    /// A trial with this id and these parameters.
    pub fn new(id: impl Into<String>, params: P) -> Self {
        Self { id: id.into(), params }
    }
}

/// What a trial sees of the run while it works.
#[derive(Debug)]
pub struct TrialContext {
    pub(crate) id: String,
    pub(crate) run_seed: u64,
    pub(crate) seed: u64,
    pub(crate) checkpoint_path: PathBuf,
    pub(crate) interruption: Interruption,
    pub(crate) saw_interruption: Arc<AtomicBool>,
    pub(crate) progress: TrialProgress,
}

impl TrialContext {
    /// Tells the progress bar that `epoch` of `of` epochs are done, with a short message such as `loss 0.31`.
    pub fn epoch(&self, epoch: usize, of: usize, message: &str) {
        self.progress.epoch(epoch, of, message);
    }

    /// Whether the trial should stop as soon as it can. Whatever it returns after it was told so is thrown away; it runs
    /// again with `--resume`.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation()()
    }

    /// [`is_cancelled`](Self::is_cancelled) as a value of its own, for loops that take such a function.
    pub fn cancellation(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (interruption, saw) = (self.interruption.clone(), self.saw_interruption.clone());
        move || {
            let is_requested = interruption.is_requested();
            if is_requested {
                saw.store(true, Ordering::SeqCst);
            }
            is_requested
        }
    }

    /// [`is_cancelled`](Self::is_cancelled) for use with `?`.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the trial should stop.
    pub fn check_cancelled(&self) -> Result<(), Error> {
        if self.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Where the trial may keep a checkpoint between an interruption and `--resume`. The folder exists; the file does
    /// only when the trial wrote it. Another path is given when the trial's parameters or the run's seed change. The
    /// path has no extension; add one with [`PathBuf::set_extension`].
    pub fn checkpoint_path(&self) -> PathBuf {
        self.checkpoint_path.clone()
    }

    /// The trial's own seed, derived from the run's seed, the group and the trial's id.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The seed of something that several trials share, derived from the run's seed and `name` alone.
    ///
    /// Methods that are compared pair by pair take the same random numbers this way: each asks for
    /// `seed_of("repetition-3")`, whatever its own id is.
    pub fn seed_of(&self, name: &str) -> u64 {
        shared_seed(self.run_seed, name)
    }

    /// The trial's id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The results of a group of trials, in the order in which the trials were given.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<R> {
    pub(crate) group: String,
    pub(crate) slots: Vec<Option<R>>,
}

impl<R> Outcome<R> {
    /// Whether every trial has a result. With `--shard` or after Ctrl-C some may be missing.
    pub fn is_complete(&self) -> bool {
        self.slots.iter().all(Option::is_some)
    }

    /// The results that exist, each with the index of its trial.
    pub fn results(&self) -> Vec<(usize, &R)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?))).collect()
    }

    /// All results in the order of the trials.
    ///
    /// Run every group first and ask for results afterwards: a shard whose results are not complete ends here, and a
    /// group that comes later would not get its share of work from it.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when one is missing. Passed out of the paper's code with `?`, it ends the run as
    /// interrupted (exit code 130) or as a finished shard (exit code 4) instead of as a failure.
    pub fn all(self) -> Result<Vec<R>, Error> {
        let total = self.slots.len();
        let results: Vec<R> = self.slots.into_iter().flatten().collect();
        if results.len() < total {
            return Err(Error::Incomplete { group: self.group, missing: total - results.len(), total });
        }
        Ok(results)
    }
}
