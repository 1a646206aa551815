//! Adding a vector to every row.

use super::reduce::with_row_sums;
use crate::kernel::{Real, collect, multiversion, written};
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

multiversion! {
    /// Writes the gradient of one number for all elements.
    fn constant_masked_sums<T>(y: &[T], number: T, width: usize, grad: &mut [T], sums: &mut [T]) {
        for (y, grad) in y.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
            for (g, &y) in grad.iter_mut().zip(y) {
                *g = if y > T::ZERO { number } else { T::ZERO };
            }
            for (sum, &g) in sums.iter_mut().zip(&*grad) {
                *sum += g;
            }
        }
    }
}

/// As [`relu_gradients`], of a gradient that is the same number everywhere.
pub(crate) fn constant_relu_gradients<T: Real>(
    y: &[T],
    number: T,
    width: usize,
    has_sums: bool,
) -> (Vec<T>, Option<Vec<T>>) {
    let mut sums = None;
    // SAFETY: every row is written before it is added to the sums.
    let grad = unsafe {
        written(y.len(), |grad| {
            sums = with_row_sums(grad, width, has_sums, 1, &|first, grad, sums| {
                constant_masked_sums(&y[first..], number, width, grad, sums);
            });
        })
    };
    (grad, sums)
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
