//! Adding a vector to every row.

use crate::kernel::{Real, collect};

/// `x + bias` of each row, with negative values zero if `has_relu`.
pub(crate) fn add<T: Real>(x: &[T], bias: &[T], has_relu: bool) -> Vec<T> {
    let width = bias.len();
    let rows = x.len() / width.max(1);
    // SAFETY: every row is written whole.
    unsafe {
        collect(rows, width, width, |first, out| {
            for (out, x) in out.chunks_exact_mut(width).zip(x[first * width..].chunks_exact(width)) {
                for ((out, &x), &b) in out.iter_mut().zip(x).zip(bias) {
                    let sum = x + b;
                    // A NaN stays one.
                    out.write(if has_relu && sum <= T::ZERO { T::ZERO } else { sum });
                }
            }
        })
    }
}
