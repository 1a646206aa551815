//! What changes during training: the gain, and the part of the trajectory that is looked at.

use serde::{Deserialize, Serialize};

/// The growth of the gain as the paper's code has it (the code alone): after a step of an epoch up to `falling_epochs`, a fraction of violating pairs below `falls_below` lowers the gain while it is above `smallest`; later, a fraction above
/// `grows_above` raises it while it is below `largest`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GainSchedule {
    /// Epochs (from 0) up to which the gain may fall, 60.
    pub falling_epochs: usize,
    /// The fraction of violations below which it falls, 0.7.
    pub falls_below: f64,
    /// The fraction above which it grows, 0.1.
    pub grows_above: f64,
    /// The smallest gain, 1.
    pub smallest: f64,
    /// The largest gain, 100.
    pub largest: f64,
    /// The relative change in a step, 1e-4.
    pub change: f64,
}

impl Default for GainSchedule {
    fn default() -> Self {
        Self { falling_epochs: 60, falls_below: 0.7, grows_above: 0.1, smallest: 1., largest: 100., change: 1e-4 }
    }
}

impl GainSchedule {
    /// The gain after a step in which this fraction of the pairs violated the condition.
    pub fn after(&self, gain: f64, violating: f64, epoch: usize) -> f64 {
        let is_falling = epoch <= self.falling_epochs;
        if is_falling && violating < self.falls_below && gain > self.smallest {
            gain * (1. - self.change)
        } else if !is_falling && violating > self.grows_above && gain < self.largest {
            gain * (1. + self.change)
        } else {
            gain
        }
    }
}

/// The curriculum of the path-integral form: the end of the part that is looked at grows by `step` up to `last` whenever the number of violating samples was at most `enough` for `patience` steps in a row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PathCurriculum {
    /// The end now.
    pub end: f64,
    /// What it grows by.
    pub step: f64,
    /// Its largest value.
    pub last: f64,
    /// Violating samples up to which a step counts as done.
    pub enough: usize,
    /// Steps in a row that must be done.
    pub patience: usize,
    /// Steps in a row that were.
    pub done: usize,
}

impl PathCurriculum {
    /// Takes a step's number of violating samples into account.
    pub fn observe(&mut self, violating: usize) {
        self.done = if violating <= self.enough { self.done + 1 } else { 0 };
        if self.done >= self.patience {
            self.end = (self.end + self.step).min(self.last);
            self.done = 0;
        }
    }
}
