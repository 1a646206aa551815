//! Adding a vector to every row.

use super::sum_dim0;
use crate::cpu::reduce::sum_rows;
use crate::cpu::{activation, bias};
use crate::kernel::{Real, contiguous, dispatch_real, dispatch_tensor, into_storage, is_taped, slice, with_slice};
use crate::tape::{self, Found, Gradient, Rule};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

/// `y[…, j] = x[…, j] + bias[j]` for `x` of shape `[…, n]` and `bias` of shape `[n]`.
///
/// # Errors
///
/// When the last dimension of `x` is not the length of `bias`, or the dtypes differ.
pub fn bias_add(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    apply("bias_add", x, bias, false)
}

/// `max(x + bias, 0)` in one pass, see [`bias_add`] and [`super::relu`].
///
/// # Errors
///
/// As for [`bias_add`].
pub fn bias_relu(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    apply("bias_relu", x, bias, true)
}

fn apply(op: &'static str, x: &Tensor, bias: &Tensor, has_relu: bool) -> Result<Tensor> {
    let fits = bias.rank() == 1 && x.dims().last() == Some(&bias.elem_count());
    if !fits {
        let expected = format!("[n] with n the last dimension of x, which is {:?}", x.dims());
        return Err(Error::shape(op, "bias", bias.shape(), expected));
    }
    if x.dtype() != bias.dtype() {
        return Err(Error::DType { operation: op, what: "bias", got: bias.dtype(), expected: "the dtype of x" });
    }
    if x.device().is_cpu() {
        return Ok(tape::apply2(&contiguous(x)?, &contiguous(bias)?, BiasAdd { has_relu })?);
    }
    let y = x.broadcast_add(bias)?;
    if has_relu { super::relu(&y) } else { Ok(y) }
}

struct BiasAdd {
    has_relu: bool,
}

impl Rule for BiasAdd {
    fn gradients(
        &self,
        inputs: &[&Tensor],
        y: &Tensor,
        grad: Gradient,
        needs: [bool; 3],
    ) -> candle_core::Result<Found> {
        let (op, width) = (self.name(), inputs[1].elem_count());
        if width == 0 {
            return Ok([Some(Gradient::Number(0.)), Some(Gradient::Number(0.)), None]);
        }
        dispatch_tensor!(y, op, T => {
            if self.has_relu {
                let (grad, sum) = with_slice::<T, _>(y, op, |values| match grad {
                    Gradient::Number(number) => Ok(bias::constant_relu_gradients(values, T::of(number), width, needs[1])),
                    grad => Ok(bias::relu_gradients(values, grad.into_vec::<T>(y)?, width, needs[1])),
                })?;
                let sum = sum.map(|sum| Gradient::Owned(into_storage(sum)));
                return Ok([Some(Gradient::Owned(into_storage(grad))), sum, None]);
            }
            if let Gradient::Number(number) = grad {
                let rows = y.elem_count() / width;
                return Ok([Some(Gradient::Number(number)), Some(Gradient::Number(number * rows as f64)), None]);
            }
            let grad = grad.into_tensor(y)?;
            let sum = match needs[1] {
                true => {
                    let sum = with_slice::<T, _>(&grad.contiguous()?, op, |grad| Ok(sum_rows(grad, width)))?;
                    Some(Gradient::Owned(into_storage(sum)))
                }
                false => None,
            };
            Ok([Some(Gradient::Shared(grad)), sum, None])
        })
    }
}

impl CustomOp2 for BiasAdd {
    fn name(&self) -> &'static str {
        if self.has_relu { "bias-relu" } else { "bias-add" }
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = dispatch_real!(x, self.name(), T => {
            let (x, bias) = (slice::<T>(x, x_layout, self.name())?, slice::<T>(bias, bias_layout, self.name())?);
            Ok(into_storage(bias::add(x, bias, self.has_relu)))
        })?;
        Ok((out, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = if self.has_relu { masked(&contiguous(grad)?, y, self.name())? } else { grad.clone() };
        let sum = || sum_dim0(&grad.reshape(((), bias.elem_count()))?);
        let grad_bias = if bias.track_op() { crate::backward::hand_over(bias, sum()?) } else { None };
        Ok((x.track_op().then_some(grad), grad_bias))
    }
}

/// `grad` where `y > 0`, else zero.
fn masked(grad: &Tensor, y: &Tensor, op: &'static str) -> candle_core::Result<Tensor> {
    if is_taped(grad) {
        return grad * y.gt(0.)?.to_dtype(y.dtype())?;
    }
    dispatch_tensor!(grad, op, T => {
        let out = with_slice::<T, _>(grad, op, |grad| {
            with_slice::<T, _>(y, op, |y| Ok(activation::masked(y, grad)))
        })?;
        Tensor::from_vec(out, y.shape(), y.device())
    })
}
