//! Cross-entropy and the mean squared error.

use super::softmax::{EXP_WORK, for_exponential_rows};
use crate::kernel::{Real, collect, for_slices, multiversion};

multiversion! {
    /// `exp(x − shift) · factor`.
    fn scaled_powers<T>(x: &[T], shift: T, factor: T, out: &mut [T]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = Real::exp(x - shift) * factor;
        }
    }
}

/// The loss of each row, and `log Σ exp` of its logits. Targets are below `classes`.
pub(crate) fn cross_entropy_rows<T: Real>(logits: &[T], targets: &[u32], classes: usize) -> (Vec<f64>, Vec<f64>) {
    let mut rows = vec![(0f64, 0f64); targets.len()];
    if classes > 0 {
        for_slices(&mut rows, 1, classes * EXP_WORK, &|first, rows| {
            for_exponential_rows(logits, classes, first, (rows, 1), |row, x, _, sum, largest, out| {
                let log_sum = largest.to_f64() + Real::ln(sum).to_f64();
                out[0] = (log_sum - x[targets[row] as usize].to_f64(), log_sum);
            });
        });
    }
    rows.into_iter().unzip()
}

/// The gradient of the logits; `factor` is that of each row's loss.
pub(crate) fn cross_entropy_gradient<T: Real>(
    logits: &[T],
    targets: &[u32],
    log_sums: &[f64],
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
            let log_sum = T::of(log_sums[first + row]);
            let logits = &logits[start + row * classes..];
            scaled_powers(logits, log_sum, factor, out);
            // p − 1 without cancellation, for targets that are nearly certain.
            let target = targets[first + row] as usize;
            out[target] = Real::exp_m1(logits[target] - log_sum) * factor;
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
