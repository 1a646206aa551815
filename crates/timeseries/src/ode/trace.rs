//! What is kept of the steps: for dense output and for gradients.

use super::step::Mark;

/// What a solve keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    /// States and all slopes of every step.
    All,
    /// As much as fits into this many elements: slopes while they fit, then states, then every second state, ...
    Within(usize),
}

/// The accepted steps.
#[derive(Debug, Clone)]
pub(crate) struct Trace<T> {
    pub(crate) marks: Vec<Mark>,
    /// The states before the steps `0, stride, 2 · stride, …`.
    pub(crate) states: Vec<T>,
    /// All slopes of every step, while they fit.
    pub(crate) slopes: Option<Vec<T>>,
    pub(crate) stride: usize,
    limit: usize,
}

impl<T: Copy> Trace<T> {
    pub(crate) fn new(keep: Keep) -> Self {
        let limit = match keep {
            Keep::Nothing => 0,
            Keep::All => usize::MAX,
            Keep::Within(limit) => limit,
        };
        Self { marks: Vec::new(), states: Vec::new(), slopes: Some(Vec::new()), stride: 1, limit }
    }

    pub(crate) fn push(&mut self, mark: Mark, y: &[T], k: &[T]) {
        let number = self.marks.len();
        self.marks.push(mark);
        if number.is_multiple_of(self.stride) {
            self.states.extend_from_slice(y);
        }
        if let Some(slopes) = &mut self.slopes {
            match self.states.len() + slopes.len() + k.len() <= self.limit {
                true => slopes.extend_from_slice(k),
                false => self.slopes = None,
            }
        }
        let n = y.len();
        while n > 0 && self.states.len() > self.limit && self.states.len() >= 2 * n {
            let kept = self.states.len().div_ceil(2 * n);
            for at in 1..kept {
                self.states.copy_within(2 * at * n..(2 * at + 1) * n, at * n);
            }
            self.states.truncate(kept * n);
            self.stride *= 2;
        }
    }
}
