//! Loops over slices of f64, in the vectors of the processor at hand.

use nalgebra::{DMatrix, DMatrixViewMut};
use pulp::{Arch, Simd, WithSimd};

/// `out += Σ weights[k] · column[chosen[k]]`; columns lie `stride` apart and begin at `first`.
pub(crate) fn combine(
    columns: &[f64],
    stride: usize,
    first: usize,
    chosen: &[usize],
    weights: &[f64],
    out: &mut [f64],
) {
    Arch::new().dispatch(Combine { columns, stride, first, chosen, weights, out });
}

struct Combine<'a> {
    columns: &'a [f64],
    stride: usize,
    first: usize,
    chosen: &'a [usize],
    weights: &'a [f64],
    out: &'a mut [f64],
}

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { columns, stride, first, chosen, weights, out } = self;
        let n = out.len();
        let column = |at: usize| &columns[chosen[at] * stride + first..][..n];
        let mut at = 0;
        while at + 4 <= chosen.len() {
            let (a, b, c, d) = (column(at), column(at + 1), column(at + 2), column(at + 3));
            let (wa, wb, wc, wd) = (weights[at], weights[at + 1], weights[at + 2], weights[at + 3]);
            for i in 0..n {
                out[i] += (wa * a[i] + wb * b[i]) + (wc * c[i] + wd * d[i]);
            }
            at += 4;
        }
        while at < chosen.len() {
            let (a, w) = (column(at), weights[at]);
            for i in 0..n {
                out[i] += w * a[i];
            }
            at += 1;
        }
    }
}

/// The scalar product, in eight partial sums.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    Arch::new().dispatch(Dot { a, b })
}

struct Dot<'a> {
    a: &'a [f64],
    b: &'a [f64],
}

impl WithSimd for Dot<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f64 {
        let mut sums = [0.; 8];
        let (a, b) = (self.a.chunks_exact(8), self.b.chunks_exact(8));
        let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
        for (a, b) in a.zip(b) {
            for lane in 0..8 {
                sums[lane] += a[lane] * b[lane];
            }
        }
        let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
        ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)) + rest
    }
}

/// `Dᵀx` for several x `[n, d]` and columns `[atoms, d]`: `[n, atoms]`. Each number is a [`dot`], so its bits do not depend on how many there are; a column is read once for all of them.
pub(crate) fn correlate(columns: &[f64], xs: &[f64], d: usize) -> Vec<f64> {
    let atoms = columns.len() / d;
    let mut out = vec![0.; xs.len() / d * atoms];
    for (atom, column) in columns.chunks(d).enumerate() {
        for (at, x) in xs.chunks(d).enumerate() {
            out[at * atoms + atom] = dot(column, x);
        }
    }
    out
}

/// The Euclidean norm.
pub(crate) fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

/// Solves `A x = b` for a positive definite matrix, of which the lower triangle is read, `[n, n]` column by column; A is overwritten by its factor, b by x. False if A is not positive definite to working precision.
pub(crate) fn solve_positive(a: &mut [f64], b: &mut [f64]) -> bool {
    let n = b.len();
    let arch = Arch::new();
    let mut start = 0;
    while start < n {
        let width = WIDE.min(n - start);
        if !arch.dispatch(Panel { a: &mut *a, n, start, width }) {
            return false;
        }
        let end = start + width;
        if end < n {
            take_off(a, n, start, end);
        }
        start = end;
    }
    arch.dispatch(Substitute { a, b });
    true
}

/// Columns that are factored by themselves; the rest is brought up to date by matrix products.
const WIDE: usize = 96;

/// Takes the finished columns `start..end` off the lower triangle behind them.
fn take_off(a: &mut [f64], n: usize, start: usize, end: usize) {
    let (width, rest) = (end - start, n - end);
    let finished = DMatrix::from_fn(rest, width, |row, column| a[(start + column) * n + end + row]);
    let mut first = 0;
    while first < rest {
        let columns = WIDE.min(rest - first);
        let right = finished.rows(first, columns).transpose();
        let at = (end + first) * n + end + first;
        let mut target = DMatrixViewMut::from_slice_with_strides_mut(&mut a[at..], rest - first, columns, 1, n);
        target.gemm(-1., &finished.rows(first, rest - first), &right, 1.);
        first += columns;
    }
}

/// The factor of `width` columns, from the diagonal down, that need nothing of the columns before them any more.
struct Panel<'a> {
    a: &'a mut [f64],
    n: usize,
    start: usize,
    width: usize,
}

/// Columns that are brought up to date together.
const NARROW: usize = 4;

impl WithSimd for Panel<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> bool {
        let Self { a, n, start: first, width } = self;
        let end = first + width;
        let mut start = first;
        while start < end {
            let width = NARROW.min(end - start);
            let (done, panel) = a.split_at_mut(start * n);
            // all finished columns of the panel, four at a time, are taken off the next few
            for at in 0..width {
                let target = &mut panel[at * n + start..(at + 1) * n];
                let mut k = first;
                while k + 4 <= start {
                    let source = |k: usize| &done[k * n + start..(k + 1) * n];
                    let (p, q, r, s) = (source(k), source(k + 1), source(k + 2), source(k + 3));
                    let (wp, wq, wr, ws) = (p[at], q[at], r[at], s[at]);
                    for i in 0..target.len() {
                        target[i] -= (wp * p[i] + wq * q[i]) + (wr * r[i] + ws * s[i]);
                    }
                    k += 4;
                }
                while k < start {
                    let p = &done[k * n + start..(k + 1) * n];
                    let w = p[at];
                    for i in 0..target.len() {
                        target[i] -= w * p[i];
                    }
                    k += 1;
                }
            }
            for at in 0..width {
                let (before, rest) = panel.split_at_mut(at * n);
                let target = &mut rest[start + at..n];
                for k in 0..at {
                    let p = &before[k * n + start + at..(k + 1) * n];
                    let w = p[0];
                    for i in 0..target.len() {
                        target[i] -= w * p[i];
                    }
                }
                let pivot = target[0];
                if !(pivot > 0. && pivot.is_finite()) {
                    return false;
                }
                let scale = 1. / pivot.sqrt();
                target.iter_mut().for_each(|value| *value *= scale);
            }
            start += width;
        }
        true
    }
}

/// Forward and backward substitution with a factor.
struct Substitute<'a> {
    a: &'a [f64],
    b: &'a mut [f64],
}

impl WithSimd for Substitute<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { a, b } = self;
        let n = b.len();
        for k in 0..n {
            let column = &a[k * n + k..(k + 1) * n];
            let value = b[k] / column[0];
            b[k] = value;
            let rest = &mut b[k + 1..];
            for i in 0..rest.len() {
                rest[i] -= value * column[i + 1];
            }
        }
        for k in (0..n).rev() {
            let column = &a[k * n + k..(k + 1) * n];
            let mut sums = [0.; 8];
            let (below, solved) = (&column[1..], &b[k + 1..]);
            let chunks = below.len() / 8;
            for chunk in 0..chunks {
                for lane in 0..8 {
                    sums[lane] += below[chunk * 8 + lane] * solved[chunk * 8 + lane];
                }
            }
            let mut sum: f64 = sums.iter().sum();
            for i in chunks * 8..below.len() {
                sum += below[i] * solved[i];
            }
            b[k] = (b[k] - sum) / column[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_systems_are_solved() {
        for n in [1, 2, 3, 4, 5, 9, 30, 95, 96, 97, 200, 211] {
            let entry = |i: usize, j: usize| ((i * 7 + j * 3) % 11) as f64 / 11. - 0.3;
            // M Mᵀ + I
            let mut a = vec![0.; n * n];
            for i in 0..n {
                for j in 0..n {
                    a[j * n + i] = (0..n).map(|k| entry(i, k) * entry(j, k)).sum::<f64>() + f64::from(u8::from(i == j));
                }
            }
            let x: Vec<f64> = (0..n).map(|i| i as f64 - 2.).collect();
            let mut b: Vec<f64> = (0..n).map(|i| (0..n).map(|j| a[j * n + i] * x[j]).sum()).collect();
            assert!(solve_positive(&mut a, &mut b));
            assert!(b.iter().zip(&x).all(|(b, x)| (b - x).abs() < 1e-8), "{n}: {b:?}");
        }
        assert!(!solve_positive(&mut [-1.], &mut [1.]));
        assert!(!solve_positive(&mut [f64::NAN], &mut [1.]));
    }

    #[test]
    fn columns_are_combined() {
        let columns: Vec<f64> = (0..60).map(f64::from).collect();
        let mut out = vec![1.; 3];
        combine(&columns, 6, 2, &[0, 3, 9, 1, 2], &[1., 2., 0.5, -1., 4.], &mut out);
        let expected: Vec<f64> = (0..3)
            .map(|i| {
                1. + [(0, 1.), (3, 2.), (9, 0.5), (1, -1.), (2, 4.)]
                    .iter()
                    .map(|(c, w)| w * columns[c * 6 + 2 + i])
                    .sum::<f64>()
            })
            .collect();
        assert_eq!(out, expected);
        assert_eq!(dot(&columns, &columns), columns.iter().map(|v| v * v).sum::<f64>());
    }
}
