//! Norms with gradients at zero.

use crate::Result;
use candle_core::Tensor;

/// `√s` of a sum of squares, element by element, with gradient 0 at 0: the norm's least subgradient, where the formula's is 0/0.
pub(super) fn norm(sum_of_squares: &Tensor) -> Result<Tensor> {
    let is_positive = sum_of_squares.gt(0.0)?;
    let safe = is_positive.where_cond(sum_of_squares, &sum_of_squares.ones_like()?)?;
    Ok(is_positive.where_cond(&safe.sqrt()?, &sum_of_squares.zeros_like()?)?)
}

/// `x`, with 1 in place of 0 (and of less, which rounding can give).
pub(super) fn one_where_zero(x: &Tensor) -> Result<Tensor> {
    Ok(x.gt(0.0)?.where_cond(x, &x.ones_like()?)?)
}
