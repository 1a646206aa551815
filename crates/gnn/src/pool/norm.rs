//! Norms with gradients at zero.

use crate::Result;
use candle_core::Tensor;
use core_tensor::ops;

/// `√s` of a sum of squares, element by element, with gradient 0 at 0: the norm's least subgradient, where the formula's is 0/0.
pub(super) fn norm(sum_of_squares: &Tensor) -> Result<Tensor> {
    let is_positive = sum_of_squares.gt(0.0)?;
    let safe = ops::where_cond(&is_positive, sum_of_squares, &sum_of_squares.ones_like()?)?;
    Ok(ops::where_cond(&is_positive, &ops::sqrt(&safe)?, &sum_of_squares.zeros_like()?)?)
}

/// `x`, with 1 in place of 0 (and of less, which rounding can give).
pub(super) fn one_where_zero(x: &Tensor) -> Result<Tensor> {
    Ok(ops::where_cond(&x.gt(0.0)?, x, &x.ones_like()?)?)
}
