//! Softmax and its logarithm, of rows and of columns.

use crate::kernel::{Gradients, Kernel, Real, exp_all, for_slices, multiversion, sum1, sum2};

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
                    *out *= s;
                }
            }
        }
    }
}

multiversion! {
    fn column_gradients<T>(y: &[T], grad: &[T], inner: usize, is_log: bool, totals: &mut [T], out: &mut [T]) {
        totals.fill(T::ZERO);
        for (y, grad) in y.chunks_exact(inner).zip(grad.chunks_exact(inner)) {
            for ((t, &y), &g) in totals.iter_mut().zip(y).zip(grad) {
                *t += if is_log { g } else { g * y };
            }
        }
        for ((y, grad), out) in y.chunks_exact(inner).zip(grad.chunks_exact(inner)).zip(out.chunks_exact_mut(inner)) {
            for (((out, &y), &g), &t) in out.iter_mut().zip(y).zip(grad).zip(&*totals) {
                *out = if is_log { g - Real::exp(y) * t } else { y * (g - t) };
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
        _x: &[&[T]],
        y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let part = self.size * self.inner;
        let mut out = vec![T::ZERO; y.len()];
        for_slices(&mut out, part, 2 * part, &|first, out| {
            let mut totals = vec![T::ZERO; self.inner];
            let parts = y[first * part..].chunks_exact(part).zip(grad[first * part..].chunks_exact(part));
            for ((y, grad), out) in parts.zip(out.chunks_exact_mut(part)) {
                column_gradients(y, grad, self.inner, self.is_log, &mut totals, out);
            }
        });
        Ok([Some(out), None, None])
    }
}

/// The cost of an exponential, in multiply-adds.
pub(crate) const EXP_WORK: usize = 16;

/// Rows are treated together up to this many elements, so that short rows do not cut the exponentials into short loops, and
/// the intermediate values stay in the first-level cache.
const BLOCK: usize = 2048;

multiversion! {
    /// The largest element, and the powers relative to it with their sum.
    fn row_powers<T>(x: &[T], powers: &mut [T], largest: &mut T, sum: &mut T) {
        let mut lanes = [T::NEG_INFINITY; 16];
        let mut chunks = x.chunks_exact(16);
        for chunk in &mut chunks {
            for (lane, &v) in lanes.iter_mut().zip(chunk) {
                *lane = lane.larger(v);
            }
        }
        for (lane, &v) in lanes.iter_mut().zip(chunks.remainder()) {
            *lane = lane.larger(v);
        }
        *largest = lanes.into_iter().fold(T::NEG_INFINITY, |m, v| m.larger(v));
        for (power, &v) in powers.iter_mut().zip(x) {
            *power = Real::exp(v - *largest);
        }
        *sum = sum1(powers, |p| p);
    }
}

/// Rows at least this long fill the vectors by themselves.
const LONG: usize = 48;

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
    fn scale_row<T>(x: &[T], factor: T, out: &mut [T]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x * factor;
        }
    }
}

multiversion! {
    fn shift_row<T>(x: &[T], largest: T, log_sum: T, out: &mut [T]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = (x - largest) - log_sum;
        }
    }
}

multiversion! {
    /// The gradient of rows; for the logarithm `out` is overwritten.
    fn gradient_rows<T>(y: &[T], grad: &[T], width: usize, is_log: bool, out: &mut [T]) {
        let rows = y.chunks_exact(width).zip(grad.chunks_exact(width));
        for ((y, grad), out) in rows.zip(out.chunks_exact_mut(width)) {
            if is_log {
                let total = sum1(grad, |g| g);
                for ((out, &g), &y) in out.iter_mut().zip(grad).zip(y) {
                    *out = g - Real::exp(y) * total;
                }
            } else {
                let total = sum2(grad, y, |g, y| g * y);
                for ((out, &g), &y) in out.iter_mut().zip(grad).zip(y) {
                    *out = y * (g - total);
                }
            }
        }
    }
}

/// The softmax of rows of `width` elements, or its logarithm.
pub(crate) fn rows<T: Real>(x: &[T], width: usize, is_log: bool) -> Vec<T> {
    let mut out = vec![T::ZERO; x.len()];
    if x.is_empty() {
        return out;
    }
    for_slices(&mut out, width, width * EXP_WORK, &|first, out| {
        for_exponential_rows(x, width, first, (out, width), |_, x, powers, sum, largest, out| {
            if is_log {
                shift_row(x, largest, log_of_sum(powers, sum), out);
            } else {
                scale_row(powers, T::ONE / sum, out);
            }
        });
    });
    out
}

/// The gradient of [`rows`] from its result and the gradient of that.
pub(crate) fn gradient<T: Real>(y: &[T], grad: &[T], width: usize, is_log: bool) -> Vec<T> {
    let mut out = vec![T::ZERO; y.len()];
    let work = if is_log { width * EXP_WORK } else { width };
    for_slices(&mut out, width, work, &|first, out| {
        let range = first * width..first * width + out.len();
        gradient_rows(&y[range.clone()], &grad[range], width, is_log, out);
    });
    out
}
