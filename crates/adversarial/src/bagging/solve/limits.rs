//! When a solver stops before it has an optimum.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// When a solver stops before it has an optimum, and what it may start from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits<'a> {
    /// Time. Default: none.
    pub time: Option<Duration>,
    /// Stops when bound and attack are this close. Default: 0, at the optimum.
    pub target_gap: u64,
    /// Stops soon after this becomes true. Default: none.
    pub cancel: Option<&'a AtomicBool>,
    /// Sub-classifiers of a known attack, which the solver does not fall behind; ignored if the budget does not allow them. Default: none.
    pub start: Option<&'a [usize]>,
}

/// A started clock with the limits.
pub(crate) struct Watch<'a> {
    start: Instant,
    time: Option<Duration>,
    cancel: Option<&'a AtomicBool>,
}

impl<'a> Watch<'a> {
    pub(crate) fn start(limits: &Limits<'a>) -> Self {
        Self { start: Instant::now(), time: limits.time, cancel: limits.cancel }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
            || self.time.is_some_and(|time| self.start.elapsed() >= time)
    }

    /// What is left of the time.
    #[cfg(any(feature = "highs", feature = "microlp"))]
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.time.map(|time| time.saturating_sub(self.start.elapsed()))
    }
}
