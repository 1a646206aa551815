//! One process at a time per file.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::plain_file::{self, Links};
use crate::error::{Error, Result};

/// How often a lock that another process holds is tried.
const PAUSE: Duration = Duration::from_millis(50);

/// Holds the lock of a destination until dropped.
pub(super) struct Lock {
    /// The lock belongs to the open file and ends with it.
    _file: File,
    /// False on file systems that cannot lock: then nothing may rely on being alone.
    pub(super) is_exclusive: bool,
}

/// Waits until no other process (or thread) works on the file that `path` is the lock file of, at most until `deadline`.
pub(super) fn acquire(path: &Path, deadline: Option<Instant>) -> Result<Lock> {
    // A link is not removed here: another process may hold the lock of what we would remove.
    let file = plain_file::open(path, Links::Refused)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file, is_exclusive: true }),
            Err(TryLockError::WouldBlock) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                let source = std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    "another process has been working on this file until the deadline",
                );
                return Err(Error::io("lock", path, source));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                return Ok(Lock { _file: file, is_exclusive: false });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", path, source)),
        }
    }
}
