//! Softmax and its logarithm, of rows and of columns.

use crate::kernel::{
    FEW_LANES, Gradients, Kernel, Real, collect, dot, exp_all, for_lanes, for_slices, joined, multiversion, sum1,
};
use std::mem::MaybeUninit;

/// The softmax of `[outer, size, inner]` over its middle, rows of `inner` at a time.
pub(crate) struct ColumnSoftmax {
    pub(crate) size: usize,
    pub(crate) inner: usize,
    pub(crate) is_log: bool,
}

multiversion! {
    fn columns<T>(x: &[T], inner: usize, is_log: bool, shift: &mut [T], out: &mut [T]) {
        let (largest, rest) = shift.split_at_mut(inner);
        let (sums, ties) = rest.split_at_mut(inner);
        largest.fill(T::NEG_INFINITY);
        sums.fill(T::ZERO);
        // Of the largest element's powers, which are 1, one is left out of the sums for the logarithm.
        ties.fill(-T::ONE);
        for row in x.chunks_exact(inner) {
            for (m, &v) in largest.iter_mut().zip(row) {
                *m = if v > *m || Real::is_nan(v) { v } else { *m };
            }
        }
        for (row, out) in x.chunks_exact(inner).zip(out.chunks_exact_mut(inner)) {
            let sides = out.iter_mut().zip(row).zip(&*largest).zip(sums.iter_mut()).zip(ties.iter_mut());
            for ((((out, &v), &m), s), t) in sides {
                let power = Real::exp(v - m);
                *out = power;
                *s += if is_log && v >= m { T::ZERO } else { power };
                *t += if v >= m { T::ONE } else { T::ZERO };
            }
        }
        if is_log {
            for (s, &t) in sums.iter_mut().zip(&*ties) {
                *s = Real::ln_1p(t + *s);
            }
            for (row, out) in x.chunks_exact(inner).zip(out.chunks_exact_mut(inner)) {
                for (((out, &v), &m), &s) in out.iter_mut().zip(row).zip(&*largest).zip(&*sums) {
                    *out = (v - m) - s;
                }
            }
        } else {
            for s in sums.iter_mut() {
                *s = T::ONE / *s;
            }
            for out in out.chunks_exact_mut(inner) {
                for (out, &s) in out.iter_mut().zip(&*sums) {
                    *out = (*out * s).or_zero();
                }
            }
        }
    }
}

multiversion! {
    fn column_gradients<T>(y: &[T], inner: usize, is_log: bool, totals: &mut [T], grad: &mut [T]) {
        totals.fill(T::ZERO);
        for (y, grad) in y.chunks_exact(inner).zip(grad.chunks_exact(inner)) {
            for ((t, &y), &g) in totals.iter_mut().zip(y).zip(grad) {
                *t += if is_log { g } else { g * y };
            }
        }
        for (y, grad) in y.chunks_exact(inner).zip(grad.chunks_exact_mut(inner)) {
            for ((g, &y), &t) in grad.iter_mut().zip(y).zip(&*totals) {
                *g = if is_log { (-Real::exp(y)).mul_add(t, *g) } else { (y * (*g - t)).or_zero() };
            }
        }
    }
}

impl Kernel for ColumnSoftmax {
    const NAME: &'static str = "softmax-dim";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let part = self.size * self.inner;
        let mut out = vec![T::ZERO; x[0].len()];
        for_slices(&mut out, part, part * EXP_WORK, &|first, out| {
            let mut shift = vec![T::ZERO; 3 * self.inner];
            for (x, out) in x[0][first * part..].chunks_exact(part).zip(out.chunks_exact_mut(part)) {
                columns(x, self.inner, self.is_log, &mut shift, out);
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        self.backward_in_place(x, y, grad.to_vec(), needs)
    }

    fn backward_in_place<T: Real>(
        &self,
        _x: &[&[T]],
        y: &[T],
        mut grad: Vec<T>,
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let part = self.size * self.inner;
        for_slices(&mut grad, part, 2 * part, &|first, grad| {
            let mut totals = vec![T::ZERO; self.inner];
            for (y, grad) in y[first * part..].chunks_exact(part).zip(grad.chunks_exact_mut(part)) {
                column_gradients(y, self.inner, self.is_log, &mut totals, grad);
            }
        });
        Ok([Some(grad), None, None])
    }
}

/// The cost of an exponential, in multiply-adds.
pub(crate) const EXP_WORK: usize = 16;

/// Rows are treated together up to this many elements, so that short rows do not cut the exponentials into short loops, and
/// the intermediate values stay in the first-level cache.
const BLOCK: usize = 2048;

/// The largest element, −∞ of none; unspecified if one is not a number.
#[inline(always)]
pub(super) fn largest<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::NEG_INFINITY; FEW_LANES];
    for_lanes(x, T::NEG_INFINITY, |_, x| {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane = lane.larger(x);
        }
    });
    joined(lanes, |a, b| a.larger(b))
}

/// Writes the powers relative to the largest element; their sum.
#[inline(always)]
fn powers_and_sum<T: Real>(x: &[T], largest: T, powers: &mut [T]) -> T {
    let mut sums = [T::ZERO; FEW_LANES];
    let len = powers.len();
    for_lanes(x, T::NEG_INFINITY, |first, x| {
        let mut lanes = [T::ZERO; FEW_LANES];
        for ((lane, x), sum) in lanes.iter_mut().zip(x).zip(&mut sums) {
            *lane = Real::exp(x - largest);
            *sum += *lane;
        }
        if first % FEW_LANES == 0 && first + FEW_LANES <= len {
            powers[first..first + FEW_LANES].copy_from_slice(&lanes);
        } else {
            // Those that are new.
            let new = len % FEW_LANES;
            powers[len - new..].copy_from_slice(&lanes[(len - new) - first..(len - first).min(FEW_LANES)]);
        }
    });
    joined(sums, |a, b| a + b)
}

/// The logarithm of the sum of the powers relative to the largest element: of 1 + the others, which keep their digits.
#[inline(always)]
fn log_of_powers<T: Real>(x: &[T], largest: T) -> T {
    let (mut others, mut ties) = ([T::ZERO; FEW_LANES], [T::ZERO; FEW_LANES]);
    for_lanes(x, T::NEG_INFINITY, |_, x| {
        for ((other, tie), x) in others.iter_mut().zip(&mut ties).zip(x) {
            let power = Real::exp(x - largest);
            // Of the largest the power is 1, or not a number.
            *other += if x >= largest { power - T::ONE } else { power };
            *tie += if x >= largest { T::ONE } else { T::ZERO };
        }
    });
    let (others, ties) = (joined(others, |a, b| a + b), joined(ties, |a, b| a + b));
    ((ties - T::ONE) + others).ln_1p()
}

multiversion! {
    /// The largest element, and the powers relative to it with their sum.
    fn row_powers<T>(x: &[T], powers: &mut [T], maximum: &mut T, sum: &mut T) {
        *maximum = largest(x);
        *sum = powers_and_sum(x, *maximum, powers);
    }
}

multiversion! {
    fn softmax_rows<T>(x: &[T], powers: &mut [T], out: &mut [MaybeUninit<T>]) {
        let width = powers.len();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let factor = T::ONE / powers_and_sum(x, largest(x), powers);
            for (out, &power) in out.iter_mut().zip(&*powers) {
                out.write((power * factor).or_zero());
            }
        }
    }
}

multiversion! {
    fn log_softmax_rows<T>(x: &[T], width: usize, out: &mut [MaybeUninit<T>]) {
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let largest = largest(x);
            let log_sum = log_of_powers(x, largest);
            for (out, &x) in out.iter_mut().zip(x) {
                out.write((x - largest) - log_sum);
            }
        }
    }
}

/// Rows at least this long fill the vectors by themselves.
const LONG: usize = 16;

/// Calls `f(row number, row, powers relative to the row's maximum, their sum, that maximum)` for every row of `x` from `first` on,
/// each with its part of `out`.
pub(crate) fn for_exponential_rows<T: Real, O>(
    x: &[T],
    width: usize,
    first: usize,
    (out, out_width): (&mut [O], usize),
    mut f: impl FnMut(usize, &[T], &[T], T, T, &mut [O]),
) {
    if width >= LONG {
        let mut powers = vec![T::ZERO; width];
        for (at, (x, out)) in x[first * width..].chunks_exact(width).zip(out.chunks_exact_mut(out_width)).enumerate() {
            let (mut largest, mut sum) = (T::ZERO, T::ZERO);
            row_powers(x, &mut powers, &mut largest, &mut sum);
            f(first + at, x, &powers, sum, largest, out);
        }
        return;
    }
    let rows_per_block = (BLOCK / width).max(1);
    let mut powers = vec![T::ZERO; rows_per_block * width];
    let mut largest = vec![T::ZERO; rows_per_block];
    for (block, out) in out.chunks_mut(rows_per_block * out_width).enumerate() {
        let row = first + block * rows_per_block;
        let rows = out.len() / out_width;
        let (x, powers) = (&x[row * width..(row + rows) * width], &mut powers[..rows * width]);
        for ((x, powers), largest) in x.chunks_exact(width).zip(powers.chunks_exact_mut(width)).zip(&mut largest) {
            *largest = x.iter().fold(T::NEG_INFINITY, |m, &v| m.larger(v));
            for (power, &v) in powers.iter_mut().zip(x) {
                *power = v - *largest;
            }
        }
        exp_all(powers);
        let parts = x.chunks_exact(width).zip(powers.chunks_exact(width)).zip(&largest);
        for (at, (((x, powers), &largest), out)) in parts.zip(out.chunks_exact_mut(out_width)).enumerate() {
            let sum = powers.iter().fold(T::ZERO, |sum, &p| sum + p);
            f(row + at, x, powers, sum, largest, out);
        }
    }
}

/// The logarithm of the sum of powers relative to the largest: of 1 + the others, where those are small, so that they keep their digits.
pub(crate) fn log_of_sum<T: Real>(powers: &[T], sum: T) -> T {
    if sum <= T::of(1.5) { Real::ln_1p(sum1(powers, |p| if p < T::ONE { p } else { T::ZERO })) } else { Real::ln(sum) }
}

multiversion! {
    /// Turns `grad` into the gradient of rows.
    fn gradient_rows<T>(y: &[T], width: usize, is_log: bool, grad: &mut [T]) {
        for (y, grad) in y.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
            if is_log {
                let total = sum1(grad, |g| g);
                for (g, &y) in grad.iter_mut().zip(y) {
                    *g = (-Real::exp(y)).mul_add(total, *g);
                }
            } else {
                let total = dot(grad, y);
                for (g, &y) in grad.iter_mut().zip(y) {
                    *g = (y * (*g - total)).or_zero();
                }
            }
        }
    }
}

/// The softmax of rows, or its logarithm.
pub(crate) struct RowSoftmax {
    pub(crate) width: usize,
    pub(crate) is_log: bool,
}

impl RowSoftmax {
    pub(crate) fn values<T: Real>(&self, x: &[T]) -> Vec<T> {
        let Self { width, is_log } = *self;
        if width == 0 {
            return Vec::new();
        }
        // SAFETY: every row is written whole.
        unsafe {
            collect(x.len() / width, width, width * EXP_WORK, |first, out| {
                let x = &x[first * width..];
                if is_log { log_softmax_rows(x, width, out) } else { softmax_rows(x, &mut vec![T::ZERO; width], out) }
            })
        }
    }

    /// The gradient from the result and, in `grad`, the gradient of that.
    pub(crate) fn gradient<T: Real>(&self, y: &[T], mut grad: Vec<T>) -> Vec<T> {
        let Self { width, is_log } = *self;
        let work = if is_log { width * EXP_WORK } else { width };
        for_slices(&mut grad, width, work, &|first, grad| gradient_rows(&y[first * width..], width, is_log, grad));
        grad
    }
}
