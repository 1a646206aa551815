//! One program for ranks that are threads, or processes connected by TCP or MPI.

use crate::communicator::{Communicator, tcp, threads};
use crate::{Error, Result};
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many ranks [`launch`] starts when the environment does not say, and how long they wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The number of threads when the program was started once.
    pub threads: usize,
    /// How long an operation waits for other ranks.
    pub timeout: Duration,
}

impl Launch {
    /// This many threads, with [`DEFAULT_TIMEOUT`](crate::communicator::DEFAULT_TIMEOUT).
    pub fn threads(threads: usize) -> Self {
        Self { threads, timeout: crate::communicator::DEFAULT_TIMEOUT }
    }
}

/// Runs `train` once for each rank of this process and returns the results in the order of ranks.
///
/// Started by `mpirun` (with feature `mpi`), the process is one rank. With `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` set (by PyTorch's launcher, a script or a scheduler), it is one
/// rank connected by TCP; beyond one machine all ranks need a secret in `DISTRIBUTED_TOKEN` ([`TcpConfig::from_env`](crate::communicator::tcp::TcpConfig::from_env)). Otherwise all ranks are threads of this process.
///
/// It can be called again in the same process, by the same thread.
///
/// When a rank fails or panics, all others are told and end too. The error is the first that a rank returned.
///
/// # Errors
///
/// When the ranks cannot be connected, or `train` fails.
pub fn launch<R, E, F>(how: Launch, train: F) -> Result<Vec<R>, E>
where
    F: Fn(Arc<dyn Communicator>) -> Result<R, E> + Sync,
    R: Send,
    E: From<Error> + Display + Send,
{
    if let Some(under) = mpi_launcher() {
        return one(mpi_rank(under, how.timeout)?, train);
    }
    if let Some(config) = tcp::TcpConfig::from_env()? {
        let config = tcp::TcpConfig { timeout: how.timeout, ..config };
        return one(Arc::new(tcp::connect(&config)?), train);
    }
    let world = threads::world(how.threads)?;
    let first_error = Mutex::new(None);
    let results: Vec<Option<R>> = std::thread::scope(|scope| {
        let start = |(rank, communicator): (usize, threads::ThreadCommunicator)| {
            let (train, first_error) = (&train, &first_error);
            let communicator = communicator.with_timeout(how.timeout);
            let body = move || {
                let communicator: Arc<dyn Communicator> = Arc::new(communicator);
                match train(communicator.clone()) {
                    Ok(result) => Some(result),
                    Err(error) => {
                        // recorded before the others hear of it, since their errors only repeat it
                        let text = error.to_string();
                        if let Ok(mut first) = first_error.lock() {
                            first.get_or_insert(error);
                        }
                        communicator.abort(&text);
                        None
                    }
                }
            };
            std::thread::Builder::new().name(format!("rank {rank}")).spawn_scoped(scope, body)
        };
        let handles: Vec<_> = world.into_iter().enumerate().map(start).collect();
        let end = |handle: std::io::Result<std::thread::ScopedJoinHandle<'_, Option<R>>>| match handle {
            Ok(handle) => handle.join().unwrap_or_default(),
            Err(_) => None,
        };
        handles.into_iter().map(end).collect()
    });
    if let Some(error) = first_error.into_inner().unwrap_or_default() {
        return Err(error);
    }
    let complete: Option<Vec<R>> = results.into_iter().collect();
    complete.ok_or_else(|| Error::thread("a rank's thread panicked or could not be started").into())
}

fn one<R, E: Display>(
    communicator: Arc<dyn Communicator>,
    train: impl Fn(Arc<dyn Communicator>) -> Result<R, E>,
) -> Result<Vec<R>, E> {
    train(communicator.clone()).map(|result| vec![result]).inspect_err(|error| communicator.abort(&error.to_string()))
}

/// An environment variable that MPI launchers set, if one is set.
fn mpi_launcher() -> Option<&'static str> {
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some())
}

#[cfg(feature = "mpi")]
fn mpi_rank(_: &str, timeout: Duration) -> Result<Arc<dyn Communicator>> {
    Ok(Arc::new(crate::communicator::mpi::initialize()?.with_timeout(timeout)))
}

#[cfg(not(feature = "mpi"))]
fn mpi_rank(under: &str, _: Duration) -> Result<Arc<dyn Communicator>> {
    Err(Error::connection(
        under,
        "it is set by the MPI launcher that started this program, but the program was built without the feature `mpi`",
    ))
}
