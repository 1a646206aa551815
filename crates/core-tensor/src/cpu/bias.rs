//! Adding a vector to every row.

use super::reduce::with_row_sums;
use crate::kernel::{Real, collect, multiversion};
use std::mem::MaybeUninit;

/// `x + bias` of each row, with negative values zero if `has_relu`.
pub(crate) fn add<T: Real>(x: &[T], bias: &[T], has_relu: bool) -> Vec<T> {
    let width = bias.len();
    let rows = x.len() / width.max(1);
    // SAFETY: every row is written whole.
    unsafe { collect(rows, width, width, |first, out| add_piece(&x[first * width..], bias, has_relu, out)) }
}

multiversion! {
    fn add_piece<T>(x: &[T], bias: &[T], has_relu: bool, out: &mut [MaybeUninit<T>]) {
        for (out, x) in out.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
            for ((out, &x), &b) in out.iter_mut().zip(x).zip(bias) {
                let sum = x + b;
                // A NaN stays one.
                out.write(if has_relu && sum <= T::ZERO { T::ZERO } else { sum });
            }
        }
    }
}

multiversion! {
    /// Sets `grad` to zero where `y` is not positive, and adds its rows to `sums` if there are any.
    fn masked_sums<T>(y: &[T], width: usize, grad: &mut [T], sums: &mut [T]) {
        for (y, grad) in y.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
            for (g, &y) in grad.iter_mut().zip(y) {
                *g = if y > T::ZERO { *g } else { T::ZERO };
            }
            for (sum, &g) in sums.iter_mut().zip(&*grad) {
                *sum += g;
            }
        }
    }
}

/// The gradient where `y > 0`, and the sum of its rows if it is asked for.
pub(crate) fn relu_gradients<T: Real>(
    y: &[T],
    mut grad: Vec<T>,
    width: usize,
    has_sums: bool,
) -> (Vec<T>, Option<Vec<T>>) {
    let sums = with_row_sums(&mut grad, width, has_sums, 1, &|first, grad, sums| {
        masked_sums(&y[first..], width, grad, sums);
    });
    (grad, sums)
}
