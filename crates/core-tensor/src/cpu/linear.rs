//! Affine maps of rows.

use crate::kernel::{Matrix, Real, gemm, product};

/// Rows, inputs and outputs.
pub(crate) type Sizes = (usize, usize, usize);

/// `x · weightᵀ + bias`.
pub(crate) fn forward<T: Real>(x: &[T], weight: &[T], bias: Option<&[T]>, (rows, inputs, outputs): Sizes) -> Vec<T> {
    let (x, weight) = (Matrix::new(x, rows, inputs), Matrix::new(weight, outputs, inputs));
    let Some(bias) = bias else { return product(x, weight.t()) };
    let mut out = Vec::with_capacity(rows * outputs);
    (0..rows).for_each(|_| out.extend_from_slice(bias));
    gemm(x, weight.t(), &mut out, true);
    out
}

/// The gradient of `x`.
pub(crate) fn input_gradient<T: Real>(weight: &[T], grad: &[T], (rows, inputs, outputs): Sizes) -> Vec<T> {
    product(Matrix::new(grad, rows, outputs), Matrix::new(weight, outputs, inputs))
}

/// The gradient of `weight`, in its layout.
pub(crate) fn weight_gradient<T: Real>(x: &[T], grad: &[T], (rows, inputs, outputs): Sizes) -> Vec<T> {
    product(Matrix::new(grad, rows, outputs).t(), Matrix::new(x, rows, inputs))
}
