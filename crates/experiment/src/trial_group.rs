//! Runs the trials of a group that have no result yet.

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use report::Shard;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result, file_error};
use crate::interruption::Interruption;
use crate::progress::{GroupProgress, Progress};
use crate::run_directory::RunDirectory;
use crate::stored_value;
use crate::trial::{Trial, TrialContext};
use crate::trial_store::{StoredTrial, TrialStore, file_name, fingerprint, trial_seed};

/// Bytes of a file name that every common file system accepts, less the room for `.json` and a temporary suffix.
const LONGEST_NAME: usize = 180;

/// Threads of trials get the room of a main thread; what a paper does in a trial must not depend on `--jobs`.
const STACK_BYTES: usize = 16 << 20;

/// What a group needs to know of the run.
pub(crate) struct GroupRun<'a> {
    pub(crate) group: &'a str,
    pub(crate) directory: &'a RunDirectory,
    pub(crate) seed: u64,
    pub(crate) is_synthetic: bool,
    pub(crate) device: &'a str,
    pub(crate) commit: Option<&'a str>,
    pub(crate) jobs: usize,
    pub(crate) shard: Option<Shard>,
    pub(crate) interruption: &'a Interruption,
    pub(crate) progress: &'a Progress,
}

/// A trial's name on disk and what decides its result.
struct Identity {
    params: Value,
    fingerprint: String,
}

/// A trial of a group and what is known of it: its result as stored, when there is one.
pub(crate) type Slots = Vec<Option<StoredTrial>>;

impl GroupRun<'_> {
    /// Runs what is missing and returns all stored trials in the order of `trials`.
    pub(crate) fn run<P, R>(
        &self,
        trials: &[Trial<P>],
        work: impl Fn(&P, &TrialContext) -> Result<R> + Sync,
    ) -> Result<Slots, Error>
    where
        P: Serialize + Sync,
        R: Serialize + DeserializeOwned + Send,
    {
        let store = TrialStore::new(self.directory.path());
        let identities = self.identities(trials)?;
        let load = |index: usize| store.load(self.group, &trials[index].id, &identities[index].fingerprint);
        let is_own = |index: usize| self.shard.is_none_or(|shard| shard.owns(self.group, index));
        let is_kept = |index: &usize| !(self.directory.reruns_own_trials && is_own(*index));
        let mut slots: Slots = (0..trials.len())
            .map(|index| Some(index).filter(is_kept).and_then(load).filter(is_readable::<R>))
            .collect();
        let to_do: Vec<usize> = (0..trials.len()).filter(|&index| slots[index].is_none() && is_own(index)).collect();
        let done_before = slots.iter().flatten().count();
        let progress = self.progress.group(self.group, trials.len(), done_before, to_do.len());
        let finished = self.run_side_by_side(&to_do, &progress, |index| {
            self.run_one(&trials[index], &identities[index], &store, &progress, &work)
        })?;
        progress.finish();
        for (index, trial) in finished {
            slots[index] = Some(trial);
        }
        // Other shards may have finished trials in the meantime.
        for (index, slot) in slots.iter_mut().enumerate() {
            if slot.is_none() && !is_own(index) {
                *slot = load(index).filter(is_readable::<R>);
            }
        }
        Ok(slots)
    }

    fn identities<P: Serialize>(&self, trials: &[Trial<P>]) -> Result<Vec<Identity>, Error> {
        let wrong = |reason: String| Error::TrialGroup { group: self.group.to_owned(), reason };
        if self.group.is_empty() || file_name(self.group).len() > LONGEST_NAME {
            return Err(wrong(format!("its name must have 1 to {LONGEST_NAME} bytes")));
        }
        let mut seen = HashMap::new();
        let identify = |(index, trial): (usize, &Trial<P>)| {
            let name = file_name(&trial.id);
            if name.is_empty() || name.len() > LONGEST_NAME {
                return Err(wrong(format!("the id of trial {index} must have 1 to {LONGEST_NAME} bytes")));
            }
            if let Some(first) = seen.insert(name, index) {
                return Err(wrong(format!("trials {first} and {index} have the same id `{}`", trial.id)));
            }
            let what = format!("the parameters of trial `{}/{}`", self.group, trial.id);
            let params = stored_value::to_json(&what, &trial.params)?;
            let fingerprint = fingerprint(self.group, &trial.id, &params, self.seed, self.is_synthetic);
            Ok(Identity { params, fingerprint })
        };
        trials.iter().enumerate().map(identify).collect()
    }

    /// Runs `work` for each index on `jobs` threads. The first error keeps further trials from starting.
    fn run_side_by_side(
        &self,
        to_do: &[usize],
        progress: &GroupProgress,
        work: impl Fn(usize) -> Result<Option<StoredTrial>, Error> + Sync,
    ) -> Result<Vec<(usize, StoredTrial)>, Error> {
        let next = AtomicUsize::new(0);
        let has_failed = AtomicBool::new(false);
        let finished = Mutex::new(Vec::new());
        let first_error = Mutex::new(None);
        let take_trials = || {
            while let Some(&index) = to_do.get(next.fetch_add(1, Ordering::SeqCst)) {
                if self.interruption.is_requested() || has_failed.load(Ordering::SeqCst) {
                    break;
                }
                match work(index) {
                    Ok(Some(trial)) => {
                        progress.trial_done(&trial.id, trial.seconds);
                        lock(&finished).push((index, trial));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        has_failed.store(true, Ordering::SeqCst);
                        lock(&first_error).get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| -> std::io::Result<()> {
            for job in 0..self.jobs.min(to_do.len()) {
                let thread = std::thread::Builder::new().name(format!("job-{job}")).stack_size(STACK_BYTES);
                thread.spawn_scoped(scope, take_trials)?;
            }
            Ok(())
        })
        .map_err(file_error("start a thread for", self.directory.path()))?;
        match lock(&first_error).take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut *lock(&finished))),
        }
    }

    /// Runs and stores one trial; `None` when it was told to stop.
    fn run_one<P, R: Serialize + DeserializeOwned>(
        &self,
        trial: &Trial<P>,
        identity: &Identity,
        store: &TrialStore,
        progress: &GroupProgress,
        work: &(impl Fn(&P, &TrialContext) -> Result<R> + Sync),
    ) -> Result<Option<StoredTrial>, Error> {
        let context = TrialContext {
            id: trial.id.clone(),
            run_seed: self.seed,
            seed: trial_seed(self.seed, self.group, &trial.id),
            checkpoint_path: self.checkpoint_path(&trial.id, &identity.fingerprint)?,
            interruption: self.interruption.clone(),
            saw_interruption: Arc::new(AtomicBool::new(false)),
            progress: progress.trial(&trial.id),
        };
        if self.directory.reruns_own_trials {
            remove_checkpoints(&context.checkpoint_path)?;
        }
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&trial.params, &context)));
        let seconds = started.elapsed().as_secs_f64();
        if context.saw_interruption.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let (group, id) = (self.group.to_owned(), trial.id.clone());
        let result = match outcome {
            Ok(Ok(result)) => result,
            Ok(Err(source)) => return Err(Error::TrialFailed { group, id, source }),
            Err(panic) => return Err(Error::TrialPanicked { group, id, message: panic_message(&*panic) }),
        };
        let what = format!("the result of trial `{group}/{id}`");
        let result = stored_value::to_json(&what, &result)?;
        // A type that cannot be read back would make every resumed run start this trial again.
        stored_value::from_json::<R>(&what, result.clone())?;
        let stored = StoredTrial {
            fingerprint: identity.fingerprint.clone(),
            trial_seed: context.seed,
            device: self.device.to_owned(),
            commit: self.commit.map(str::to_owned),
            seconds,
            params: identity.params.clone(),
            result,
            ..StoredTrial::new(&group, &id)
        };
        store.save(&stored)?;
        Ok(Some(stored))
    }

    /// Part of the fingerprint is in the name, so that a checkpoint of other parameters is never taken up.
    fn checkpoint_path(&self, id: &str, fingerprint: &str) -> Result<PathBuf, Error> {
        let folder = self.directory.path().join("checkpoints").join(file_name(self.group));
        fs::create_dir_all(&folder).map_err(file_error("create", &folder))?;
        // Without dots: `set_extension` would take what follows the last one for an extension and cut it off.
        let name = file_name(id).replace('.', "%2e");
        Ok(folder.join(format!("{name}-{}", fingerprint.get(..12).unwrap_or(fingerprint))))
    }
}

/// Removes a checkpoint under any extension: a trial that starts again from nothing must not take it up.
fn remove_checkpoints(path: &Path) -> Result<(), Error> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    for entry in fs::read_dir(folder).map_err(file_error("read", folder))? {
        let path = entry.map_err(file_error("read", folder))?.path();
        if path.file_stem() != Some(name) && path.file_name() != Some(name) {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(file_error("remove", &path))?;
    }
    Ok(())
}

/// Reads the results back from their stored form. New results take the same way as old ones, so that a resumed run sees
/// exactly what an uninterrupted one sees.
pub(crate) fn results<R: DeserializeOwned>(slots: &Slots) -> Result<Vec<Option<R>>, Error> {
    let read = |trial: &StoredTrial| {
        let what = format!("the result of trial `{}/{}`", trial.group, trial.id);
        stored_value::from_json(&what, trial.result.clone())
    };
    slots.iter().map(|slot| slot.as_ref().map(read).transpose()).collect()
}

/// A result of another version of the program may have another shape; it is then made again.
fn is_readable<R: DeserializeOwned>(trial: &StoredTrial) -> bool {
    stored_value::from_json::<R>("", trial.result.clone()).is_ok()
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

/// A thread that panicked while it held one of these short locks left whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
