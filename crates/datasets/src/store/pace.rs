//! Whether a transfer goes on fast enough.

use std::time::{Duration, Instant};

/// Watches the bytes of a connection, one window after the other.
pub(super) struct Pace {
    least_rate: u64,
    window: Duration,
    start: Instant,
    received: u64,
}

impl Pace {
    /// Watches for `least_rate` bytes per second in each `window`, from now on.
    pub(super) fn new(least_rate: u64, window: Duration) -> Self {
        Self { least_rate, window, start: Instant::now(), received: 0 }
    }

    /// Counts bytes; the reason to give up, once a window has gone by with too few.
    pub(super) fn count(&mut self, bytes: u64) -> Option<String> {
        self.count_at(bytes, Instant::now())
    }

    fn count_at(&mut self, bytes: u64, now: Instant) -> Option<String> {
        self.received = self.received.saturating_add(bytes);
        let elapsed = now.saturating_duration_since(self.start);
        if elapsed < self.window {
            return None;
        }
        let rate = self.received as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        (self.start, self.received) = (now, 0);
        let is_slow = rate < self.least_rate as f64;
        is_slow.then(|| {
            format!("{rate:.0} bytes per second over {:.1} s, fewer than {}", elapsed.as_secs_f64(), self.least_rate)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_given_up_after_one_window_and_a_stream_is_not() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut pace = Pace { least_rate: 1000, window: Duration::from_millis(500), start, received: 0 };
        assert!(pace.count_at(1, at(300)).is_none());
        assert!(pace.count_at(1, at(600)).unwrap().contains("3 bytes per second over 0.6 s, fewer than 1000"));
        let mut pace = Pace { least_rate: 1000, window: Duration::from_millis(500), start, received: 0 };
        for step in 1..100 {
            assert!(pace.count_at(100, at(step * 99)).is_none(), "{step}");
        }
        // A burst before does not make up for a trickle after it.
        assert!(pace.count_at(1_000_000, at(10_100)).is_none());
        assert!(pace.count_at(1, at(10_700)).is_some());
    }

    #[test]
    fn no_rate_and_no_window_are_allowed() {
        let mut pace = Pace::new(0, Duration::ZERO);
        assert!(pace.count(0).is_none());
        let mut pace = Pace::new(u64::MAX, Duration::MAX);
        assert!(pace.count(1).is_none());
    }
}
