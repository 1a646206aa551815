//! One process at a time per file.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::error::{Error, Result};

/// Holds the lock of a destination until dropped.
pub(super) struct Lock {
    /// The lock belongs to the open file and ends with it.
    _file: File,
    /// False on file systems that cannot lock: then nothing may rely on being alone.
    pub(super) is_exclusive: bool,
}

/// Waits until no other process (or thread) works on the file that `path` is the lock file of.
pub(super) fn acquire(path: &Path) -> Result<Lock> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|source| Error::io("create the lock file", path, source))?;
    let outcome = match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => file.lock(),
        Err(TryLockError::Error(error)) => Err(error),
    };
    match outcome {
        Ok(()) => Ok(Lock { _file: file, is_exclusive: true }),
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Ok(Lock { _file: file, is_exclusive: false }),
        Err(source) => Err(Error::io("lock", path, source)),
    }
}
