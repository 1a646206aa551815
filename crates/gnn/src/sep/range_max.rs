//! Leaf depths under range decrement and range maximum, both in `O(log n)`.

/// A segment tree over `u32`. A node's value is the maximum below it, its own pending decrement included; ancestors' are not.
#[derive(Debug, Default)]
pub(super) struct RangeMax {
    size: usize,
    maxima: Vec<u32>,
    pending: Vec<u32>,
}

impl RangeMax {
    /// Forgets everything and holds `length` zeros.
    pub(super) fn reset(&mut self, length: usize) {
        self.size = length.max(1).next_power_of_two();
        for values in [&mut self.maxima, &mut self.pending] {
            values.clear();
            values.resize(2 * self.size, 0);
        }
    }

    /// Sets one value; [`RangeMax::build`] must follow before any query.
    pub(super) fn set(&mut self, index: usize, value: u32) {
        self.maxima[self.size + index] = value;
    }

    pub(super) fn build(&mut self) {
        for node in (1..self.size).rev() {
            self.maxima[node] = self.maxima[2 * node].max(self.maxima[2 * node + 1]);
        }
    }

    pub(super) fn max_all(&self) -> u32 {
        self.maxima[1]
    }

    /// Largest value in `start..end`, 0 if that is empty.
    pub(super) fn max(&self, start: u32, end: u32) -> u32 {
        self.max_below(1, 0, self.size as u32, start, end)
    }

    fn max_below(&self, node: usize, low: u32, high: u32, start: u32, end: u32) -> u32 {
        if end <= low || high <= start {
            return 0;
        }
        if start <= low && high <= end {
            return self.maxima[node];
        }
        let middle = (low + high) / 2;
        let left = self.max_below(2 * node, low, middle, start, end);
        let right = self.max_below(2 * node + 1, middle, high, start, end);
        left.max(right).saturating_sub(self.pending[node])
    }

    /// Lowers every value in `start..end` by one; they must all be positive.
    pub(super) fn decrement(&mut self, start: u32, end: u32) {
        self.decrement_below(1, 0, self.size as u32, start, end);
    }

    fn decrement_below(&mut self, node: usize, low: u32, high: u32, start: u32, end: u32) {
        if end <= low || high <= start {
            return;
        }
        if start <= low && high <= end {
            // padding leaves stay at zero: they are never above a real one
            self.maxima[node] = self.maxima[node].saturating_sub(1);
            self.pending[node] += 1;
            return;
        }
        let middle = (low + high) / 2;
        self.decrement_below(2 * node, low, middle, start, end);
        self.decrement_below(2 * node + 1, middle, high, start, end);
        let below = self.maxima[2 * node].max(self.maxima[2 * node + 1]);
        self.maxima[node] = below.saturating_sub(self.pending[node]);
    }
}

#[cfg(test)]
mod tests {
    use super::RangeMax;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_vector(
            values in prop::collection::vec(50u32..60, 1..40),
            steps in prop::collection::vec((0usize..40, 0usize..40), 0..40),
        ) {
            let mut plain = values.clone();
            let mut tree = RangeMax::default();
            tree.reset(plain.len());
            for (i, &value) in plain.iter().enumerate() {
                tree.set(i, value);
            }
            tree.build();
            for (a, b) in steps {
                let (start, end) = (a.min(b).min(plain.len()), a.max(b).min(plain.len()));
                plain[start..end].iter_mut().for_each(|value| *value -= 1);
                tree.decrement(start as u32, end as u32);
                prop_assert_eq!(tree.max_all(), *plain.iter().max().unwrap());
                let expected = plain[start..end].iter().max().copied().unwrap_or(0);
                prop_assert_eq!(tree.max(start as u32, end as u32), expected);
            }
        }
    }
}
