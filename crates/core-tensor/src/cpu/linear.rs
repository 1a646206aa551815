//! Affine maps of rows.

use crate::kernel::{Matrix, Real, gemm};

/// Rows, inputs and outputs.
pub(crate) type Sizes = (usize, usize, usize);

/// `x · weightᵀ + bias`.
pub(crate) fn forward<T: Real>(x: &[T], weight: &[T], bias: Option<&[T]>, (rows, inputs, outputs): Sizes) -> Vec<T> {
    let mut out = match bias {
        None => vec![T::ZERO; rows * outputs],
        Some(bias) => {
            let mut out = Vec::with_capacity(rows * outputs);
            (0..rows).for_each(|_| out.extend_from_slice(bias));
            out
        }
    };
    let (x, weight) = (Matrix::new(x, rows, inputs), Matrix::new(weight, outputs, inputs));
    gemm(x, weight.t(), &mut out, bias.is_some());
    out
}

/// The gradient of `x`.
pub(crate) fn input_gradient<T: Real>(weight: &[T], grad: &[T], (rows, inputs, outputs): Sizes) -> Vec<T> {
    let mut out = vec![T::ZERO; rows * inputs];
    gemm(Matrix::new(grad, rows, outputs), Matrix::new(weight, outputs, inputs), &mut out, false);
    out
}

/// The gradient of `weight`, in its layout.
pub(crate) fn weight_gradient<T: Real>(x: &[T], grad: &[T], (rows, inputs, outputs): Sizes) -> Vec<T> {
    let mut out = vec![T::ZERO; outputs * inputs];
    gemm(Matrix::new(grad, rows, outputs).t(), Matrix::new(x, rows, inputs), &mut out, false);
    out
}
