//! Softmax and its logarithm over the last dimension.

use crate::cpu::softmax::{ColumnSoftmax, RowSoftmax};
use crate::kernel::{contiguous, dispatch_real, dispatch_tensor, into_storage, is_taped, slice, with_slice};
use crate::tape::{self, Found, Gradient, Rule};
use crate::{Error, Result};
use candle_core::shape::Dim;
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

/// [`softmax`] over dimension `dim`, which need not be the last: a number or a [`D`], as for `candle_nn::ops::softmax`.
///
/// # Errors
///
/// When `x` has no such dimension.
pub fn softmax_dim(x: &Tensor, dim: impl Dim) -> Result<Tensor> {
    along(x, dim.to_index(x.shape(), "softmax_dim")?, false)
}

/// [`log_softmax`] over dimension `dim`, which need not be the last: a number or a [`D`], as for `candle_nn::ops::log_softmax`.
///
/// # Errors
///
/// When `x` has no such dimension.
pub fn log_softmax_dim(x: &Tensor, dim: impl Dim) -> Result<Tensor> {
    along(x, dim.to_index(x.shape(), "log_softmax_dim")?, true)
}

fn along(x: &Tensor, dim: usize, is_log: bool) -> Result<Tensor> {
    if dim + 1 == x.rank() {
        return apply(x, is_log);
    }
    if x.device().is_cpu() {
        let (size, inner) = (x.dims()[dim], x.dims()[dim + 1..].iter().product());
        let op = ColumnSoftmax { size, inner, is_log };
        return crate::kernel::apply(op, &[x], x.shape());
    }
    Ok(if is_log { candle_nn::ops::log_softmax(x, dim)? } else { candle_nn::ops::softmax(x, dim)? })
}

fn apply(x: &Tensor, is_log: bool) -> Result<Tensor> {
    let op = Softmax { is_log };
    if x.rank() == 0 {
        return Err(Error::shape(op.name(), "x", x.shape(), "[…, classes]"));
    }
    if x.device().is_cpu() {
        Ok(tape::apply1(&contiguous(x)?, op)?)
    } else if is_log {
        Ok(candle_nn::ops::log_softmax(x, D::Minus1)?)
    } else {
        Ok(candle_nn::ops::softmax(x, D::Minus1)?)
    }
}

struct Softmax {
    is_log: bool,
}

impl Softmax {
    fn of_rows(&self, dims: &[usize]) -> RowSoftmax {
        RowSoftmax { width: dims.last().copied().unwrap_or(1), is_log: self.is_log }
    }
}

impl Rule for Softmax {
    fn gradients(&self, _: &[&Tensor], y: &Tensor, grad: Gradient, _: [bool; 3]) -> candle_core::Result<Found> {
        dispatch_tensor!(y, self.name(), T => {
            let grad = grad.into_vec::<T>(y)?;
            let out = with_slice::<T, _>(y, self.name(), |values| Ok(self.of_rows(y.dims()).gradient(values, grad)))?;
            Ok([Some(Gradient::Owned(into_storage(out))), None, None])
        })
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        if self.is_log { "log-softmax" } else { "softmax" }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let rows = self.of_rows(layout.dims());
        let out = dispatch_real!(storage, self.name(), T => {
            Ok(into_storage(rows.values(slice::<T>(storage, layout, self.name())?)))
        })?;
        Ok((out, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        if is_taped(grad) {
            let grad_x = if self.is_log {
                (grad - y.exp()?.broadcast_mul(&grad.sum_keepdim(D::Minus1)?)?)?
            } else {
                (y * grad.broadcast_sub(&(grad * y)?.sum_keepdim(D::Minus1)?)?)?
            };
            return Ok(Some(grad_x));
        }
        let needs = [true, false, false];
        let [of_x, _, _] = self.gradients(&[x], y, Gradient::Shared(grad.clone()), needs)?;
        of_x.map(|gradient| gradient.into_tensor(x)).transpose()
    }
}
