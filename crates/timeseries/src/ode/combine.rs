//! The solver's own arithmetic: linear combinations of slopes, and norms of errors, each in one pass.

use super::control::Tolerance;
use core_tensor::kernel::{Real, for_slices, multiversion};

/// A slope's number and its factor.
pub(crate) type Term<T> = (usize, T);

/// Elements that are summed in registers before they are written.
const WIDTH: usize = 32;

/// `out = y + Σ c k[j]` with slopes of `y.len()` elements one after the other in `k`.
pub(crate) fn combine<T: Real>(y: &[T], k: &[T], terms: &[Term<T>], out: &mut [T]) {
    let n = y.len();
    if n < 4 * WIDTH {
        return few(y, k, n, terms, out);
    }
    for_slices(out, 1, terms.len() + 1, &|first, out| piece(&y[first..], k, [n, first], terms, out));
}

/// [`combine`] of a few elements, where the choice of instructions would cost more than it gives.
#[inline(always)]
fn few<T: Real>(y: &[T], k: &[T], n: usize, terms: &[Term<T>], out: &mut [T]) {
    for (at, (out, &y)) in out.iter_mut().zip(y).enumerate() {
        let mut sum = T::ZERO;
        for &(j, c) in terms {
            sum += c * k[j * n + at];
        }
        *out = y + sum;
    }
}

multiversion! {
    fn piece<T>(y: &[T], k: &[T], place: [usize; 2], terms: &[Term<T>], out: &mut [T]) {
        let [n, first] = place;
        let mut at = 0;
        while at + WIDTH <= out.len() {
            let mut sums = [T::ZERO; WIDTH];
            for &(j, c) in terms {
                let slope = &k[j * n + first + at..][..WIDTH];
                for (sum, &slope) in sums.iter_mut().zip(slope) {
                    *sum = c.mul_add(slope, *sum);
                }
            }
            for ((out, &y), &sum) in out[at..at + WIDTH].iter_mut().zip(&y[at..at + WIDTH]).zip(&sums) {
                *out = y + sum;
            }
            at += WIDTH;
        }
        for at in at..out.len() {
            let mut sum = T::ZERO;
            for &(j, c) in terms {
                sum = c.mul_add(k[j * n + first + at], sum);
            }
            out[at] = y[at] + sum;
        }
    }
}

/// The tolerances as the type of the state.
#[derive(Debug, Clone)]
pub(crate) struct Scale<T> {
    pub(crate) rtol: T,
    /// One, or one for each component of a row.
    pub(crate) atol: Vec<T>,
}

impl<T: Real> Scale<T> {
    pub(crate) fn new(rtol: f64, atol: &Tolerance) -> Self {
        let atol = match atol {
            Tolerance::Scalar(atol) => vec![T::of(*atol)],
            Tolerance::PerComponent(atol) => atol.iter().map(|&atol| T::of(atol)).collect(),
        };
        Self { rtol: T::of(rtol), atol }
    }

    /// The tolerance of an element.
    #[inline(always)]
    pub(crate) fn of(&self, at: usize, size: T) -> T {
        let atol = if self.atol.len() == 1 { self.atol[0] } else { self.atol[at % self.atol.len()] };
        // nothing may be divided by 0
        self.rtol.mul_add(size, atol).larger(T::of(1e-37))
    }
}

/// Elements of an error's norm that are summed at once, so that the sum does not depend on threads.
const BLOCK: usize = 4096;

/// The sum of `(Σ c k[j] / tolerance)²` over the elements `range`, where the tolerance follows from the larger of `|y0|` and `|y1|`.
pub(crate) fn error_sum<T: Real>(
    [y0, y1]: [&[T]; 2],
    k: &[T],
    terms: &[Term<T>],
    scale: &Scale<T>,
    range: std::ops::Range<usize>,
) -> f64 {
    let n = y0.len();
    if range.len() < 4 * WIDTH {
        let mut total = 0.;
        for at in range {
            let mut error = T::ZERO;
            for &(j, c) in terms {
                error += c * k[j * n + at];
            }
            let ratio = (error / scale.of(at, y0[at].abs().larger(y1[at].abs()))).to_f64();
            total += ratio * ratio;
        }
        return total;
    }
    let mut sums = vec![0.; range.len().div_ceil(BLOCK)];
    for_slices(&mut sums, 1, BLOCK * (terms.len() + 4), &|first, sums| {
        for (block, sum) in sums.iter_mut().enumerate() {
            let start = range.start + (first + block) * BLOCK;
            let end = (start + BLOCK).min(range.end);
            let mut out = [T::ZERO];
            error_piece([y0, y1], k, [n, start, end], terms, scale, &mut out);
            *sum = out[0].to_f64();
        }
    });
    sums.iter().sum()
}

multiversion! {
    fn error_piece<T>(ends: [&[T]; 2], k: &[T], range: [usize; 3], terms: &[Term<T>], scale: &Scale<T>, out: &mut [T; 1]) {
        let ([y0, y1], [n, start, end]) = (ends, range);
        let mut lanes = [T::ZERO; WIDTH];
        let is_scalar = scale.atol.len() == 1;
        let (rtol, atol) = (scale.rtol, scale.atol[0]);
        let mut at = start;
        while at < end {
            let width = WIDTH.min(end - at);
            let mut errors = [T::ZERO; WIDTH];
            for &(j, c) in terms {
                let slope = &k[j * n + at..][..width];
                for (error, &slope) in errors.iter_mut().zip(slope) {
                    *error = c.mul_add(slope, *error);
                }
            }
            for i in 0..width {
                let size = y0[at + i].abs().larger(y1[at + i].abs());
                let tolerance = if is_scalar { rtol.mul_add(size, atol).larger(T::of(1e-37)) } else { scale.of(at + i, size) };
                let ratio = errors[i] / tolerance;
                lanes[i] += ratio * ratio;
            }
            at += width;
        }
        let mut sum = T::ZERO;
        for &lane in &lanes {
            sum += lane;
        }
        out[0] = sum;
    }
}

/// The ratios of the error to its tolerance, one by one, for norms of one's own and for messages.
pub(crate) fn error_ratios<T: Real>([y0, y1]: [&[T]; 2], k: &[T], terms: &[Term<T>], scale: &Scale<T>) -> Vec<f64> {
    let n = y0.len();
    let ratio = |at: usize| {
        let error = terms.iter().fold(T::ZERO, |sum, &(j, c)| c.mul_add(k[j * n + at], sum));
        (error / scale.of(at, y0[at].abs().larger(y1[at].abs()))).to_f64()
    };
    (0..n).map(ratio).collect()
}

/// The largest over the parts of the root mean square of `x / tolerance of y`.
pub(crate) fn scaled_norm<T: Real>(x: &[T], y: &[T], scale: &Scale<T>, parts: &[usize]) -> f64 {
    let mut start = 0;
    let mut largest = 0f64;
    for &part in parts {
        let sum: f64 = (start..start + part)
            .map(|at| {
                let ratio = (x[at] / scale.of(at, y[at].abs())).to_f64();
                ratio * ratio
            })
            .sum();
        largest = larger((sum / part.max(1) as f64).sqrt(), largest);
        start += part;
    }
    largest
}

/// The larger number, or NaN if one is.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// Whether all are finite numbers.
pub(crate) fn is_finite<T: Real>(x: &[T]) -> bool {
    // a sum of zeros unless one is not finite
    let mut out = [T::ZERO];
    zeros(x, &mut out);
    out[0] == T::ZERO
}

multiversion! {
    fn zeros<T>(x: &[T], out: &mut [T; 1]) {
        let mut lanes = [T::ZERO; WIDTH];
        let mut chunks = x.chunks_exact(WIDTH);
        for chunk in &mut chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += x * T::ZERO;
            }
        }
        for &x in chunks.remainder() {
            lanes[0] += x * T::ZERO;
        }
        for &lane in &lanes {
            out[0] += lane;
        }
    }
}

/// The first element that is not finite.
pub(crate) fn first_not_finite<T: Real>(x: &[T]) -> Option<usize> {
    x.iter().position(|x| !x.to_f64().is_finite())
}

/// `out += x`.
pub(crate) fn add<T: Real>(x: &[T], out: &mut [T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out += x;
    }
}

/// The scalar product, in f64.
pub(crate) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum()
}
