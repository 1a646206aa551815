//! Ctrl-C and signals to terminate: the first asks the trials to stop, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::terminal::tell;

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
        let listening = ctrlc::set_handler(move || {
            if heard.is_requested.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(report::exit::INTERRUPTED));
            }
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
