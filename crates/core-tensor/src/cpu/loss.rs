//! Cross-entropy and the mean squared error.

use super::softmax::{EXP_WORK, for_exponential_rows, log_of_sum};
use crate::kernel::{Real, collect, for_slices, multiversion, sum1};

multiversion! {
    /// `exp(x − largest − log_sum) · factor`.
    fn scaled_powers<T>(x: &[T], largest: T, log_sum: T, factor: T, out: &mut [T]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = Real::exp((x - largest) - log_sum) * factor;
        }
    }
}

/// What the loss of a row leaves for its gradient.
#[derive(Clone, Copy, Default)]
pub(crate) struct LossRow {
    pub(crate) loss: f64,
    /// The largest logit.
    largest: f64,
    /// `log Σ exp` of the logits relative to the largest.
    log_sum: f64,
}

/// The loss of each row. Targets are below `classes`.
pub(crate) fn cross_entropy_rows<T: Real>(logits: &[T], targets: &[u32], classes: usize) -> Vec<LossRow> {
    let mut rows = vec![LossRow::default(); targets.len()];
    if classes > 0 {
        for_slices(&mut rows, 1, classes * EXP_WORK, &|first, rows| {
            for_exponential_rows(logits, classes, first, (rows, 1), |row, x, powers, sum, largest, out| {
                let log_sum = log_of_sum(powers, sum).to_f64();
                let target = targets[row] as usize;
                let power = powers[target];
                let loss = if power + power > sum {
                    // log(1 + others / own), where the others may be tiny
                    let others = sum1(&powers[..target], |p| p) + sum1(&powers[target + 1..], |p| p);
                    Real::ln_1p(others / power).to_f64()
                } else {
                    (largest.to_f64() - x[target].to_f64()) + log_sum
                };
                out[0] = LossRow { loss, largest: largest.to_f64(), log_sum };
            });
        });
    }
    rows
}

/// The gradient of the logits; `factor` is that of each row's loss.
pub(crate) fn cross_entropy_gradient<T: Real>(
    logits: &[T],
    targets: &[u32],
    rows: &[LossRow],
    factor: impl Fn(usize) -> T + Sync,
    classes: usize,
) -> Vec<T> {
    let mut out = vec![T::ZERO; logits.len()];
    if classes == 0 {
        return out;
    }
    for_slices(&mut out, classes, classes * EXP_WORK, &|first, out| {
        let start = first * classes;
        for (row, out) in out.chunks_exact_mut(classes).enumerate() {
            let factor = factor(first + row);
            let LossRow { loss, largest, log_sum } = rows[first + row];
            let logits = &logits[start + row * classes..];
            scaled_powers(logits, T::of(largest), T::of(log_sum), factor, out);
            // p − 1 without cancellation, for targets that are nearly certain.
            out[targets[first + row] as usize] = Real::exp_m1(T::of(-loss)) * factor;
        }
    });
    out
}

/// Elements that are added up by one task; fixed, so that the order of additions does not depend on threads.
const SUM_BLOCK: usize = 16 * 1024;

/// The mean of `(a − b)²`.
pub(crate) fn mean_squared_error<T: Real>(a: &[T], b: &[T]) -> T {
    let mut sums = vec![0f64; a.len().div_ceil(SUM_BLOCK)];
    for_slices(&mut sums, 1, SUM_BLOCK, &|first, sums| {
        let start = first * SUM_BLOCK;
        let blocks = a[start..].chunks(SUM_BLOCK).zip(b[start..].chunks(SUM_BLOCK));
        for (sum, (a, b)) in sums.iter_mut().zip(blocks) {
            let mut lanes = [T::ZERO; 16];
            for (a, b) in a.chunks(16).zip(b.chunks(16)) {
                for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
                    *lane += (a - b) * (a - b);
                }
            }
            *sum = lanes.iter().map(|lane| lane.to_f64()).sum();
        }
    });
    T::of(sums.iter().sum::<f64>() / a.len() as f64)
}

/// `factor · (a − b)`.
pub(crate) fn scaled_difference<T: Real>(a: &[T], b: &[T], factor: T) -> Vec<T> {
    // SAFETY: every element of each piece is written.
    unsafe {
        collect(a.len(), 1, 1, |first, out| {
            for ((out, &a), &b) in out.iter_mut().zip(&a[first..]).zip(&b[first..]) {
                out.write(factor * (a - b));
            }
        })
    }
}
