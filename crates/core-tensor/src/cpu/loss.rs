//! Cross-entropy and the mean squared error.

use super::softmax::{EXP_WORK, largest};
use crate::kernel::{FEW_LANES, Real, collect, for_lanes, for_slices, joined, multiversion};
use std::mem::MaybeUninit;

/// What the loss of a row leaves for its gradient.
#[derive(Clone, Copy, Default)]
pub(crate) struct LossRow {
    pub(crate) loss: f64,
    /// The largest logit.
    largest: f64,
    /// 1 over the sum of the powers relative to the largest.
    inverse: f64,
    /// The share of the classes that are not the target in that sum.
    others: f64,
}

/// Rows whose losses are computed together.
const LOSS_BLOCK: usize = 32;

multiversion! {
    fn loss_rows<T>(logits: &[T], targets: &[u32], classes: usize, rows: &mut [LossRow]) {
        // The sums of some rows, and then all their logarithms together.
        let blocks = logits.chunks(LOSS_BLOCK * classes).zip(targets.chunks(LOSS_BLOCK)).zip(rows.chunks_mut(LOSS_BLOCK));
        for ((logits, targets), rows) in blocks {
            let (mut gaps, mut maxima) = ([T::ZERO; LOSS_BLOCK], [T::ZERO; LOSS_BLOCK]);
            let (mut own, mut others, mut losses) = ([T::ONE; LOSS_BLOCK], [T::ZERO; LOSS_BLOCK], [T::ZERO; LOSS_BLOCK]);
            for (at, (x, &target)) in logits.chunks_exact(classes).zip(targets).enumerate() {
                let largest = largest(x);
                let mut sums = [T::ZERO; FEW_LANES];
                for_lanes(x, T::NEG_INFINITY, |first, x| {
                    let first = first as u32;
                    for (lane, (sum, x)) in sums.iter_mut().zip(x).enumerate() {
                        let power = Real::exp(x - largest);
                        *sum += if first + lane as u32 == target { T::ZERO } else { power };
                    }
                });
                others[at] = joined(sums, |a, b| a + b);
                (maxima[at], gaps[at]) = (largest, largest - x[target as usize]);
            }
            for (own, &gap) in own.iter_mut().zip(&gaps) {
                *own = Real::exp(-gap);
            }
            for (((loss, &gap), &own), &others) in losses.iter_mut().zip(&gaps).zip(&own).zip(&others) {
                // log(1 + others / own), where the others may be tiny
                let (near, far) = ((others / own).ln_1p(), gap + Real::ln(own + others));
                *loss = if own >= others { near } else { far };
            }
            for (at, row) in rows.iter_mut().enumerate() {
                let inverse = T::ONE / (own[at] + others[at]);
                *row = LossRow {
                    loss: losses[at].to_f64(),
                    largest: maxima[at].to_f64(),
                    inverse: inverse.to_f64(),
                    others: (others[at] * inverse).to_f64(),
                };
            }
        }
    }
}

multiversion! {
    /// `factors` has one number, or one for each row.
    fn loss_gradients<T>(logits: &[T], targets: &[u32], rows: &[LossRow], factors: &[T], classes: usize, out: &mut [MaybeUninit<T>]) {
        let parts = logits.chunks_exact(classes).zip(out.chunks_exact_mut(classes));
        for (at, (((x, out), row), &target)) in parts.zip(rows).zip(targets).enumerate() {
            let factor = if factors.len() == 1 { factors[0] } else { factors[at] };
            let (largest, scale) = (T::of(row.largest), T::of(row.inverse) * factor);
            for (out, &x) in out.iter_mut().zip(x) {
                out.write((Real::exp(x - largest) * scale).or_zero());
            }
            // p − 1 without cancellation, for targets that are nearly certain
            out[target as usize].write(T::of(-row.others) * factor);
        }
    }
}

/// The loss of each row. Targets are below `classes`.
pub(crate) fn cross_entropy_rows<T: Real>(logits: &[T], targets: &[u32], classes: usize) -> Vec<LossRow> {
    let mut rows = vec![LossRow::default(); targets.len()];
    if classes > 0 {
        for_slices(&mut rows, 1, classes * EXP_WORK, &|first, rows| {
            loss_rows(&logits[first * classes..], &targets[first..], classes, rows);
        });
    }
    rows
}

/// The gradient of the logits; `factors` are those of each row's loss, or of all.
pub(crate) fn cross_entropy_gradient<T: Real>(
    logits: &[T],
    targets: &[u32],
    rows: &[LossRow],
    factors: &[T],
    classes: usize,
) -> Vec<T> {
    // SAFETY: every row is written whole.
    unsafe {
        collect(targets.len(), classes, classes * EXP_WORK, |first, out| {
            let factors = if factors.len() == 1 { factors } else { &factors[first..] };
            loss_gradients(&logits[first * classes..], &targets[first..], &rows[first..], factors, classes, out);
        })
    }
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
