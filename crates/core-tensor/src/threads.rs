//! The number of threads that compute, and the size of their stacks.
//!
//! Candle and this crate's kernels compute on rayon's global pool. Candle has a second pool for element-wise operations, whose size it reads from the
//! environment. Both pools are created on first use and cannot be changed afterwards.

use crate::{Error, Result};

/// The environment variables that set the sizes of the pools.
const VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// How long Candle's idle threads spin before they sleep. By default they spin long enough after each element-wise operation to take cores from rayon's
/// threads.
const SPINNING: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";

/// The stack of a thread of rayon's pool, large because [`install`] runs whole training loops there. Memory is only reserved.
const STACK: usize = 64 << 20;

/// Sets the size of both pools to `count` threads. Call it at the start of `main`. If the environment can be changed and `CANDLE_BARRIER_POOL_SPIN_LIMIT` is not
/// set, it is set to 0: Candle's idle threads then sleep at once instead of spinning on cores that rayon's threads need.
///
/// # Errors
///
/// When `count` is zero, or rayon's pool already exists with another size. The size of Candle's pool can be set only through the environment, which is safe to
/// change only while the process has a single thread; only on Linux can this be checked. On other systems, or once there are more threads, it is an error unless
/// `RAYON_NUM_THREADS` and `CANDLE_NUM_THREADS` are already set to `count`.
pub fn configure(count: usize) -> Result<()> {
    if count == 0 {
        return Err(Error::Threads("at least one thread is needed".to_string()));
    }
    let is_set = environment_says(count);
    if !is_set || (std::env::var_os(SPINNING).is_none() && is_single_threaded()) {
        set_environment(count)?;
    }
    // fails if the pool exists, which does not matter if it has the right size
    let _ = rayon::ThreadPoolBuilder::new().num_threads(count).stack_size(STACK).build_global();
    let actual = current();
    if actual == count {
        return Ok(());
    }
    Err(Error::Threads(format!(
        "rayon's pool already runs with {actual} threads instead of {count}; call `threads::configure` before anything uses it"
    )))
}

/// The number of threads that kernels use when called from this thread. Starts rayon's pool if it does not run yet.
pub fn current() -> usize {
    rayon::current_num_threads()
}

/// Runs `f`, for example a whole training loop, on a thread of rayon's pool.
///
/// A kernel called from outside the pool has to wake its threads and wait for them, which takes some tens of microseconds; inside, the calling thread does part of the
/// work. With one thread there is no difference. `f` must not wait for something that needs the pool.
///
/// ```
/// let sum = core_tensor::threads::install(|| 1 + 1);
/// assert_eq!(sum, 2);
/// ```
pub fn install<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| f())
}

/// Runs `f` on a thread with a stack of `bytes`.
///
/// Candle traverses and drops the graph of operations recursively: a chain of 10 000 operations overflows the 2 MiB of a spawned thread, one of 40 000 the usual
/// 8 MiB of the main thread. 64 MiB are enough for 300 000. The stack is only reserved; memory is used as it grows.
///
/// # Errors
///
/// When the thread cannot be started. A panic in `f` continues in the caller.
///
/// ```
/// let sum = core_tensor::threads::with_big_stack(64 << 20, || 1 + 1)?;
/// assert_eq!(sum, 2);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn with_big_stack<R: Send>(bytes: usize, f: impl FnOnce() -> R + Send) -> Result<R> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("big-stack".to_string())
            .stack_size(bytes)
            .spawn_scoped(scope, f)
            .map_err(|e| Error::Threads(format!("cannot start a thread with a stack of {bytes} bytes: {e}")))?;
        match thread.join() {
            Ok(result) => Ok(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn environment_says(count: usize) -> bool {
    let is_set = |name: &str| std::env::var(name).is_ok_and(|value| value.parse() == Ok(count));
    VARIABLES.iter().all(|name| is_set(name))
}

fn set_environment(count: usize) -> Result<()> {
    if !is_single_threaded() {
        return Err(Error::Threads(format!(
            "the environment cannot be changed safely because the process already has several threads; \
             set RAYON_NUM_THREADS={count} and CANDLE_NUM_THREADS={count} before starting it"
        )));
    }
    for name in VARIABLES {
        // SAFETY: this is the only thread of the process, so no other thread reads the environment.
        unsafe { std::env::set_var(name, count.to_string()) };
    }
    if std::env::var_os(SPINNING).is_none() {
        // SAFETY: as above.
        unsafe { std::env::set_var(SPINNING, "0") };
    }
    Ok(())
}

/// Whether this is known to be the only thread of the process.
fn is_single_threaded() -> bool {
    cfg!(target_os = "linux") && std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn no_threads_are_an_error() {
        assert!(configure(0).is_err());
    }

    #[test]
    fn a_long_tape_fits_a_big_stack() {
        let gradient = with_big_stack(256 << 20, || {
            let x = Var::new(1f64, &Device::Cpu).unwrap();
            let y = (0..50_000).fold(x.as_tensor().clone(), |y, _| (y + 0.0).unwrap());
            let grads = y.backward().unwrap();
            grads.get(&x).unwrap().to_scalar::<f64>().unwrap()
        });
        assert_eq!(gradient.unwrap(), 1.);
    }
}
