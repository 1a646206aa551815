//! When an operation stops waiting.

use std::time::{Duration, Instant};

/// When an operation stops waiting.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// The point in time.
    pub at: Instant,
    /// The time-out it came from, for the error.
    pub limit: Duration,
}

/// What no clock can hold ends after this long: 30 years.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 86_400);

impl Deadline {
    /// This long from now; time-outs beyond 30 years end after 30 years.
    pub fn after(limit: Duration) -> Self {
        let now = Instant::now();
        Self { at: now.checked_add(limit.min(FOREVER)).unwrap_or(now), limit }
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}
