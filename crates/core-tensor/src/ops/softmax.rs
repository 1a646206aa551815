//! Softmax and its logarithm over the last dimension.

use crate::cpu::{
    Real, contiguous, dispatch_real, dispatch_tensor, exp_all, for_slices, into_storage, slice, with_slice,
};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp1, D, Layout, Shape, Tensor};

/// `y[…, j] = exp(x[…, j]) / Σ_k exp(x[…, k])`, computed relative to the largest element of each row.
///
/// Candle's fused `softmax_last_dim` silently has no gradient; this one has.
///
/// # Errors
///
/// When `x` is a scalar.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    apply(x, false)
}

/// `y[…, j] = x[…, j] − log Σ_k exp(x[…, k])`, computed relative to the largest element of each row.
///
/// # Errors
///
/// When `x` is a scalar.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    apply(x, true)
}

fn apply(x: &Tensor, is_log: bool) -> Result<Tensor> {
    let op = Softmax { is_log };
    if x.rank() == 0 {
        return Err(Error::shape(op.name(), "x", x.shape(), "[…, classes]"));
    }
    if x.device().is_cpu() {
        Ok(contiguous(x)?.apply_op1(op)?)
    } else if is_log {
        Ok(candle_nn::ops::log_softmax(x, D::Minus1)?)
    } else {
        Ok(candle_nn::ops::softmax(x, D::Minus1)?)
    }
}

/// The cost of an exponential, in multiply-adds.
const EXP_WORK: usize = 16;

/// Rows are treated together up to this many elements, so that short rows do not cut the exponentials into short loops, and
/// the intermediate values stay in the first-level cache.
const BLOCK: usize = 2048;

/// Calls `f(row number, row, powers relative to the row's maximum, that maximum)` for every row of `x` from `first` on, each
/// with its part of `out`.
pub(super) fn for_exponential_rows<T: Real, O>(
    x: &[T],
    width: usize,
    first: usize,
    (out, out_width): (&mut [O], usize),
    mut f: impl FnMut(usize, &[T], &[T], T, &mut [O]),
) {
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
            f(row + at, x, powers, largest, out);
        }
    }
}

struct Softmax {
    is_log: bool,
}

impl Softmax {
    fn run<T: Real>(&self, x: &[T], width: usize) -> Vec<T> {
        let mut out = vec![T::ZERO; x.len()];
        if x.is_empty() {
            return out;
        }
        for_slices(&mut out, width, width * EXP_WORK, &|first, out| {
            for_exponential_rows(x, width, first, (out, width), |_, x, powers, largest, out| {
                let sum = powers.iter().fold(T::ZERO, |sum, &p| sum + p);
                if self.is_log {
                    let shift = largest + Real::ln(sum);
                    out.iter_mut().zip(x).for_each(|(out, &x)| *out = x - shift);
                } else {
                    let factor = T::ONE / sum;
                    out.iter_mut().zip(powers).for_each(|(out, &p)| *out = p * factor);
                }
            });
        });
        out
    }

    fn gradient<T: Real>(&self, y: &Tensor, grad: &Tensor) -> candle_core::Result<Tensor> {
        let width = y.dims().last().copied().unwrap_or(1);
        let out = with_slice::<T, _>(y, self.name(), |y| {
            with_slice::<T, _>(grad, self.name(), |grad| {
                // For the logarithm the probabilities have to be recovered.
                let mut out = if self.is_log { y.to_vec() } else { vec![T::ZERO; y.len()] };
                let work = if self.is_log { width * EXP_WORK } else { width };
                for_slices(&mut out, width, work, &|first, out| {
                    if width == 0 {
                        return;
                    }
                    if self.is_log {
                        exp_all(out);
                    }
                    let start = first * width;
                    let rows = y[start..].chunks_exact(width).zip(grad[start..].chunks_exact(width));
                    for (out, (y, grad)) in out.chunks_exact_mut(width).zip(rows) {
                        if self.is_log {
                            let total = grad.iter().fold(T::ZERO, |sum, &g| sum + g);
                            out.iter_mut().zip(grad).for_each(|(out, &g)| *out = g - *out * total);
                        } else {
                            let total = grad.iter().zip(y).fold(T::ZERO, |sum, (&g, &y)| sum + g * y);
                            out.iter_mut().zip(grad).zip(y).for_each(|((out, &g), &y)| *out = y * (g - total));
                        }
                    }
                });
                Ok(out)
            })
        })?;
        Tensor::from_vec(out, y.shape(), y.device())
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        if self.is_log { "log-softmax" } else { "softmax" }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let width = layout.dims().last().copied().unwrap_or(1);
        let out = dispatch_real!(storage, self.name(), T => {
            Ok(into_storage(self.run(slice::<T>(storage, layout, self.name())?, width)))
        })?;
        Ok((out, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        if grad.track_op() {
            let grad_x = if self.is_log {
                (grad - y.exp()?.broadcast_mul(&grad.sum_keepdim(D::Minus1)?)?)?
            } else {
                (y * grad.broadcast_sub(&(grad * y)?.sum_keepdim(D::Minus1)?)?)?
            };
            return Ok(Some(grad_x));
        }
        let grad = contiguous(grad)?;
        Ok(Some(dispatch_tensor!(y, self.name(), T => self.gradient::<T>(y, &grad))?))
    }
}
