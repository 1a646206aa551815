//! The folder of a run: who may work in it, and what of an earlier run stays.
//!
//! A whole run holds an exclusive lock on `run.lock`. Shards hold it together, and each holds a lock of its own place
//! too. The operating system frees locks when a process ends in any way. Whoever starts holds `start.lock` while it
//! looks around, so that two processes cannot both believe to be the first.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use report::{REPORT_FILE, Shard};
use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::error::{Error, file_error};
use crate::regular_file;
use crate::terminal::tell;

/// What must be equal for shards to work on one result, and which of them have started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sharding {
    count: usize,
    seed: u64,
    is_synthetic: bool,
    commit: Option<String>,
    started: Vec<usize>,
}

/// How a run enters its folder.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) shard: Option<Shard>,
    pub(crate) resume: bool,
    pub(crate) seed: u64,
    pub(crate) is_synthetic: bool,
    pub(crate) commit: Option<String>,
}

/// A run's folder, held for as long as the value lives.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    /// Whether stored results of this process's own trials are to be made again.
    pub(crate) reruns_own_trials: bool,
    /// How long the run took that this one resumes, as far as its report says.
    pub(crate) earlier: Duration,
    _locks: Vec<File>,
}

impl RunDirectory {
    /// Enters the folder: takes its locks, and clears it unless the run resumes or joins shards of the same run.
    pub(crate) fn enter(path: &Path, entry: &Entry) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(file_error("create", path))?;
        let path = path.canonicalize().map_err(file_error("open", path))?;
        let _starting = wait_for_lock(&path.join("start.lock"))?;
        match entry.shard {
            None => Self::enter_alone(path, entry),
            Some(shard) => Self::enter_as_shard(path, entry, shard),
        }
    }

    fn enter_alone(path: PathBuf, entry: &Entry) -> Result<Self, Error> {
        let lock = try_lock(&path.join("run.lock"))?.ok_or_else(|| Error::DirectoryInUse {
            path: path.clone(),
            reason: "this paper is being reproduced at this scale; wait for it, or give another --out".into(),
        })?;
        let earlier = if entry.resume { reported_time(&path) } else { Duration::ZERO };
        remove_sharding_and_report(&path)?;
        if entry.resume {
            atomic_file::remove_partial_files(&path)?;
        } else {
            clear(&path)?;
        }
        Ok(Self { path, reruns_own_trials: false, earlier, _locks: vec![lock] })
    }

    fn enter_as_shard(path: PathBuf, entry: &Entry, shard: Shard) -> Result<Self, Error> {
        let place = format!("{}-of-{}", shard.index + 1, shard.count);
        let in_use = |reason: String| Error::DirectoryInUse { path: path.clone(), reason };
        let own_lock = try_lock(&path.join(format!("shard-{place}.lock")))?
            .ok_or_else(|| in_use(format!("shard {}/{} is running", shard.index + 1, shard.count)))?;
        let before = read_sharding(&path);
        let is_alone = try_lock(&path.join("run.lock"))?.is_some();
        let this = Sharding {
            count: shard.count,
            seed: entry.seed,
            is_synthetic: entry.is_synthetic,
            commit: entry.commit.clone(),
            started: vec![shard.index],
        };
        let joined = before.filter(|before| Sharding { started: this.started.clone(), ..before.clone() } == this);
        let has_started = joined.as_ref().is_some_and(|joined| joined.started.contains(&shard.index));
        let mut reruns_own_trials = false;
        let mut started = joined.map(|joined| joined.started);
        if entry.resume {
            if is_alone {
                remove_report(&path)?;
                atomic_file::remove_partial_files(&path)?;
            }
        } else if is_alone && (started.is_none() || has_started) {
            clear(&path)?;
            started = None;
        } else if started.is_none() {
            let reason = "other shards are running there with a different count, seed, data or commit";
            return Err(in_use(reason.into()));
        } else {
            reruns_own_trials = has_started;
        }
        let mut started = started.unwrap_or_default();
        if !started.contains(&shard.index) {
            started.push(shard.index);
        }
        write_sharding(&path, &Sharding { started, ..this })?;
        let shared_lock = try_lock_shared(&path.join("run.lock"))?
            .ok_or_else(|| in_use("a run without --shard is in progress there".into()))?;
        Ok(Self { path, reruns_own_trials, earlier: Duration::ZERO, _locks: vec![own_lock, shared_lock] })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` while no other process of this folder starts or writes a report.
    pub(crate) fn alone<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let _lock = wait_for_lock(&self.path.join("start.lock"))?;
        work()
    }
}

/// Removes everything that an earlier run left, except the locks.
fn clear(path: &Path) -> Result<(), Error> {
    for folder in ["trials", "checkpoints", "plots"].map(|name| path.join(name)) {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(file_error("remove", &folder))?;
        }
    }
    remove_sharding_and_report(path)?;
    atomic_file::remove_partial_files(path)
}

/// The time in the report that an earlier run left; 0 where there is none.
fn reported_time(path: &Path) -> Duration {
    #[derive(Deserialize)]
    struct Report {
        seconds: f64,
    }
    let text = regular_file::read(&path.join(REPORT_FILE)).ok();
    let report: Option<Report> = text.and_then(|text| serde_json::from_str(&text).ok());
    report.and_then(|report| Duration::try_from_secs_f64(report.seconds).ok()).unwrap_or_default()
}

fn remove_sharding_and_report(path: &Path) -> Result<(), Error> {
    remove_if_present(&path.join("sharding.json"))?;
    remove_report(path)
}

fn remove_report(path: &Path) -> Result<(), Error> {
    [REPORT_FILE, "report.md", "report.html"].iter().try_for_each(|name| remove_if_present(&path.join(name)))
}

fn remove_if_present(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file_error("remove", path)(error)),
        _ => Ok(()),
    }
}

fn read_sharding(path: &Path) -> Option<Sharding> {
    serde_json::from_str(&regular_file::read(&path.join("sharding.json")).ok()?).ok()
}

fn write_sharding(path: &Path, sharding: &Sharding) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(sharding)
        .map_err(|error| Error::Stored { what: "the list of shards".into(), reason: error.to_string() })?;
    atomic_file::write(&path.join("sharding.json"), text.as_bytes())
}

fn open_lock(path: &Path) -> Result<File, Error> {
    match regular_file::check(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file_error("open", path)(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).open(path).map_err(file_error("open", path))
}

fn wait_for_lock(path: &Path) -> Result<File, Error> {
    let file = open_lock(path)?;
    match file.lock() {
        Err(error) if !is_unsupported(&error) => Err(file_error("lock", path)(error)),
        _ => Ok(file),
    }
}

/// The lock, or `None` while another process holds it.
fn try_lock(path: &Path) -> Result<Option<File>, Error> {
    let file = open_lock(path)?;
    let outcome = file.try_lock();
    judge_lock(path, file, outcome)
}

fn try_lock_shared(path: &Path) -> Result<Option<File>, Error> {
    let file = open_lock(path)?;
    let outcome = file.try_lock_shared();
    judge_lock(path, file, outcome)
}

fn judge_lock(path: &Path, file: File, outcome: Result<(), TryLockError>) -> Result<Option<File>, Error> {
    match outcome {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) if is_unsupported(&error) => {
            tell(&format!(
                "warning: this file system has no locks; nothing keeps a second run out of {}",
                path.display()
            ));
            Ok(Some(file))
        }
        Err(TryLockError::Error(error)) => Err(file_error("lock", path)(error)),
    }
}

fn is_unsupported(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::Unsupported
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(shard: Option<(usize, usize)>, resume: bool) -> Entry {
        let shard = shard.map(|(place, count)| Shard { index: place - 1, count });
        Entry { shard, resume, seed: 0, is_synthetic: false, commit: Some("abc".into()) }
    }

    fn leave_trial(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join("trials/group").join(name);
        atomic_file::write_in_new_folder(&path, b"{}").unwrap();
        path
    }

    #[test]
    fn a_second_whole_run_is_refused_until_the_first_ends() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunDirectory::enter(folder.path(), &entry(None, false)).unwrap();
        let refused = RunDirectory::enter(folder.path(), &entry(None, true)).unwrap_err();
        assert!(matches!(refused, Error::DirectoryInUse { .. }), "{refused}");
        assert!(RunDirectory::enter(folder.path(), &entry(Some((1, 2)), false)).is_err());
        drop(first);
        assert!(RunDirectory::enter(folder.path(), &entry(None, true)).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn pipes_in_the_place_of_locks_and_lists_do_not_hang() {
        for name in ["start.lock", "run.lock", "shard-1-of-2.lock", "sharding.json", "trials", "report.json"] {
            let folder = tempfile::tempdir().unwrap();
            assert!(std::process::Command::new("mkfifo").arg(folder.path().join(name)).status().unwrap().success());
            let entered = RunDirectory::enter(folder.path(), &entry(Some((1, 2)), false));
            let is_data = matches!(name, "sharding.json" | "report.json");
            assert_eq!(entered.is_ok(), is_data, "{name}: {entered:?}");
        }
    }

    #[test]
    fn a_new_run_clears_the_folder_and_a_resumed_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let trial = leave_trial(folder.path(), "a.json");
        let partial = leave_trial(folder.path(), ".b.json.1-2.partial");
        drop(RunDirectory::enter(folder.path(), &entry(None, true)).unwrap());
        assert!(trial.exists() && !partial.exists());
        drop(RunDirectory::enter(folder.path(), &entry(None, false)).unwrap());
        assert!(!trial.exists());
    }

    #[test]
    fn a_resumed_run_knows_how_long_the_first_took() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join(REPORT_FILE);
        let resumed = |text: &str| {
            std::fs::write(&report, text).unwrap();
            RunDirectory::enter(folder.path(), &entry(None, true)).unwrap().earlier
        };
        assert_eq!(resumed(r#"{"schema": 1, "seconds": 2.5}"#), Duration::from_millis(2500));
        assert!(!report.exists());
        for text in ["", "{}", r#"{"seconds": -1}"#, r#"{"seconds": 1e300}"#, r#"{"seconds": "x"}"#] {
            assert_eq!(resumed(text), Duration::ZERO, "{text}");
        }
        std::fs::write(&report, r#"{"seconds": 2.5}"#).unwrap();
        assert_eq!(RunDirectory::enter(folder.path(), &entry(None, false)).unwrap().earlier, Duration::ZERO);
    }

    #[test]
    fn shards_of_one_run_join_at_once_or_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let stale = leave_trial(folder.path(), "stale.json");
        let first = RunDirectory::enter(folder.path(), &entry(Some((1, 3)), false)).unwrap();
        assert!(!stale.exists());
        let trial = leave_trial(folder.path(), "a.json");
        let second = RunDirectory::enter(folder.path(), &entry(Some((2, 3)), false)).unwrap();
        drop((first, second));
        let third = RunDirectory::enter(folder.path(), &entry(Some((3, 3)), false)).unwrap();
        assert!(trial.exists() && !third.reruns_own_trials);
    }

    #[test]
    fn a_shard_that_starts_again_begins_a_new_run_when_it_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(RunDirectory::enter(folder.path(), &entry(Some((1, 2)), false)).unwrap());
        let trial = leave_trial(folder.path(), "a.json");
        drop(RunDirectory::enter(folder.path(), &entry(Some((1, 2)), false)).unwrap());
        assert!(!trial.exists());
    }

    #[test]
    fn a_shard_that_starts_again_beside_others_makes_its_own_trials_again() {
        let folder = tempfile::tempdir().unwrap();
        drop(RunDirectory::enter(folder.path(), &entry(Some((1, 2)), false)).unwrap());
        let _second = RunDirectory::enter(folder.path(), &entry(Some((2, 2)), false)).unwrap();
        let trial = leave_trial(folder.path(), "a.json");
        let first = RunDirectory::enter(folder.path(), &entry(Some((1, 2)), false)).unwrap();
        assert!(trial.exists() && first.reruns_own_trials);
    }

    #[test]
    fn one_place_is_held_by_one_process_and_other_settings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = RunDirectory::enter(folder.path(), &entry(Some((1, 2)), false)).unwrap();
        assert!(RunDirectory::enter(folder.path(), &entry(Some((1, 2)), true)).is_err());
        assert!(RunDirectory::enter(folder.path(), &entry(Some((2, 3)), false)).is_err());
        let other_seed = Entry { seed: 1, ..entry(Some((2, 2)), false) };
        assert!(RunDirectory::enter(folder.path(), &other_seed).is_err());
        assert!(RunDirectory::enter(folder.path(), &entry(None, false)).is_err());
    }
}
