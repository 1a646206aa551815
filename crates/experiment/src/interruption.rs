//! Ctrl-C and signals to terminate: the first asks the trials to stop, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::terminal::tell;

/// Signals that come together are one: `timeout` and some job systems send theirs to a process and again to its group.
const TOGETHER: Duration = Duration::from_millis(200);

/// Whether the user asked to stop. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interruption {
    is_requested: Arc<AtomicBool>,
}

impl Interruption {
    /// Listens to Ctrl-C, SIGTERM and SIGHUP from now on.
    pub(crate) fn listen() -> Self {
        let interruption = Self::default();
        let heard = interruption.clone();
        let mut first = None;
        let listening = ctrlc::set_handler(move || {
            if let Some(first) = first {
                if Instant::now().saturating_duration_since(first) < TOGETHER {
                    return;
                }
                std::process::exit(i32::from(report::exit::INTERRUPTED));
            }
            first = Some(Instant::now());
            heard.is_requested.store(true, Ordering::SeqCst);
            tell("\nstopping: trials under way are told to end; press Ctrl-C again to end at once");
        });
        if let Err(error) = listening {
            tell(&format!("warning: Ctrl-C ends the run at once: {error}"));
        }
        interruption
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.is_requested.load(Ordering::SeqCst)
    }
}
