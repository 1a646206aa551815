//! Signals to the programs that run, and Ctrl-Z, where there are such things.

use std::process::Command;
use std::sync::Mutex;

/// Makes the program the first of a process group of its own.
pub(crate) fn in_own_group(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}

/// Tells a process group to end. Elsewhere than on Unix, the console tells all programs itself.
pub(crate) fn terminate(group: u32) {
    #[cfg(unix)]
    unix::send(group, nix::sys::signal::Signal::SIGTERM);
    #[cfg(not(unix))]
    let _ = group;
}

/// Makes Ctrl-Z stop the programs of `groups` too, and `fg` or `bg` continue them. Call it before any thread is started.
pub(crate) fn hand_stops_on(groups: &'static Mutex<Vec<u32>>) {
    #[cfg(unix)]
    if let Err(error) = unix::hand_stops_on(groups) {
        complain!("warning: Ctrl-Z stops this process alone, not what it runs: {error}");
    }
    #[cfg(not(unix))]
    let _ = groups;
}

#[cfg(unix)]
mod unix {
    use std::sync::{Mutex, PoisonError};

    use nix::sys::signal::{self, SigSet, Signal};
    use nix::unistd::Pid;

    /// Sends a signal to a process group. One that has ended in the meantime needs none.
    pub(super) fn send(group: u32, signal: Signal) {
        if let Ok(group) = i32::try_from(group) {
            let _ = signal::killpg(Pid::from_raw(group), signal);
        }
    }

    pub(super) fn hand_stops_on(groups: &'static Mutex<Vec<u32>>) -> std::io::Result<()> {
        let mut stops = SigSet::empty();
        stops.add(Signal::SIGTSTP);
        // Threads that start later inherit this, so that the signal is left to the one that waits for it.
        stops.thread_block()?;
        let to_all = move |signal| {
            let groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.iter().for_each(|&group| send(group, signal));
        };
        let wait = move || {
            while stops.wait().is_ok() {
                to_all(Signal::SIGTSTP);
                // Here this process stands still, until it is continued.
                if signal::raise(Signal::SIGSTOP).is_ok() {
                    to_all(Signal::SIGCONT);
                }
            }
        };
        std::thread::Builder::new().name("stops".to_owned()).spawn(wait).map(drop)
    }
}
