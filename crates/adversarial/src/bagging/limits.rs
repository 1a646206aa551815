//! When a solver stops before it has an optimum.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// When a solver stops before it has an optimum, and what it may start from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits<'a> {
    /// Time, reading the votes included, for which there are always at least 50 milliseconds. Default: none.
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

/// Reading votes may take that long whatever the limit: what is not read has no bound but the trivial one.
const SETUP: Duration = Duration::from_millis(50);

impl<'a> Watch<'a> {
    /// A clock without limits.
    pub(crate) fn never() -> Self {
        Self { start: Instant::now(), time: None, cancel: None }
    }

    pub(crate) fn start(limits: &Limits<'a>) -> Self {
        Self { start: Instant::now(), time: limits.time, cancel: limits.cancel }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
            || self.time.is_some_and(|time| self.start.elapsed() >= time)
    }

    /// [`Self::is_over`] before there is a problem to solve.
    pub(crate) fn is_over_in_setup(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
            || self.time.is_some_and(|time| self.start.elapsed() >= time.max(SETUP))
    }

    /// What is left of the time.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.time.map(|time| time.saturating_sub(self.start.elapsed()))
    }
}
