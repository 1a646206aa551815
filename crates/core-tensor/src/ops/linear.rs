//! Affine maps of the last dimension.

use super::sum_dim0;
use crate::backward::hand_over;
use crate::cpu::linear;
use crate::cpu::reduce::sum_rows;
use crate::kernel::{contiguous, dispatch_real, dispatch_tensor, into_storage, is_taped, slice, with_slice};
use crate::tape::{self, Found, Gradient, Rule};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};

/// `y = x · weightᵀ + bias`: `x` is `[…, in]`, `weight` `[out, in]`, `bias` `[out]`, the result `[…, out]`.
///
/// One GEMM forward and two backward, which give the gradient of `weight` in its own layout; any layout of `x` is right
/// (Candle's `Linear` is wrong for transposed batches).
///
/// # Errors
///
/// When the shapes do not fit or the dtypes differ.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 2.]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[1f32, 0.], [0., 10.], [1., 1.]], &Device::Cpu)?;
/// let y = core_tensor::ops::linear(&x, &weight, None)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[1., 20., 3.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    const OP: &str = "linear";
    let &[outputs, inputs] = weight.dims() else {
        return Err(Error::shape(OP, "weight", weight.shape(), "[out, in]"));
    };
    let Some((&last, leading)) = x.dims().split_last().filter(|(last, _)| **last == inputs) else {
        return Err(Error::shape(OP, "x", x.shape(), format!("[…, in = {inputs}]")));
    };
    if weight.dtype() != x.dtype() {
        return Err(Error::DType { operation: OP, what: "weight", got: weight.dtype(), expected: "the dtype of x" });
    }
    if let Some(bias) = bias {
        if bias.dims() != [outputs] {
            return Err(Error::shape(OP, "bias", bias.shape(), format!("[out = {outputs}]")));
        }
        if bias.dtype() != x.dtype() {
            return Err(Error::DType { operation: OP, what: "bias", got: bias.dtype(), expected: "the dtype of x" });
        }
    }
    let is_matrix = leading.len() == 1;
    let (weight, rows) = (contiguous(weight)?, leading.iter().product::<usize>());
    let x = contiguous(x)?;
    let x = if is_matrix { x } else { x.reshape((rows, last))? };
    // With MKL or Accelerate, Candle's own product is the fast one.
    let has_own_product = x.device().is_cpu() && !cfg!(any(feature = "mkl", feature = "accelerate"));
    let y = match (has_own_product, bias) {
        (true, None) => tape::apply2(&x, &weight, Linear)?,
        (true, Some(bias)) => tape::apply3(&x, &weight, &contiguous(bias)?, Linear)?,
        (false, None) => x.matmul(&weight.t()?)?,
        (false, Some(bias)) => super::bias_add(&x.matmul(&weight.t()?)?, bias)?,
    };
    if is_matrix {
        return Ok(y);
    }
    let mut dims = leading.to_vec();
    dims.push(outputs);
    Ok(y.reshape(dims)?)
}

struct Linear;

impl Linear {
    /// The gradients of `x` and `weight`, each if it is needed.
    fn gradients(x: &Tensor, weight: &Tensor, grad: &Tensor) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        const OP: &str = "linear";
        let grad = contiguous(grad)?;
        let (x_tracks, weight_tracks) = (x.track_op(), weight.track_op());
        if is_taped(&grad) {
            let grad_x = if x_tracks { Some(grad.matmul(weight)?) } else { None };
            let grad_weight = if weight_tracks { Some(grad.t()?.matmul(x)?) } else { None };
            return Ok((grad_x, grad_weight));
        }
        let sizes = (x.dims()[0], x.dims()[1], weight.dims()[0]);
        dispatch_tensor!(x, OP, T => with_slice::<T, _>(&grad, OP, |grad| {
            let of_x = |weight: &[T]| Tensor::from_vec(linear::input_gradient(weight, grad, sizes), x.shape(), x.device());
            let of_weight =
                |data: &[T]| Tensor::from_vec(linear::weight_gradient(data, grad, sizes), weight.shape(), x.device());
            let grad_x = if x_tracks { Some(with_slice(weight, OP, of_x)?) } else { None };
            let grad_weight = if weight_tracks { Some(with_slice(x, OP, of_weight)?) } else { None };
            Ok((grad_x, grad_weight))
        }))
    }
}

impl Rule for Linear {
    fn gradients(
        &self,
        inputs: &[&Tensor],
        y: &Tensor,
        grad: Gradient,
        needs: [bool; 3],
    ) -> candle_core::Result<Found> {
        const OP: &str = "linear";
        let (x, weight) = (inputs[0], inputs[1]);
        let sizes = (x.dims()[0], x.dims()[1], weight.dims()[0]);
        dispatch_tensor!(y, OP, T => grad.with_slice::<T, _>(y, |grad| {
            let of_x = |weight: &[T]| Ok(linear::input_gradient(weight, grad, sizes));
            let of_weight = |x: &[T]| Ok(linear::weight_gradient(x, grad, sizes));
            let found = [
                if needs[0] { Some(with_slice(weight, OP, of_x)?) } else { None },
                if needs[1] { Some(with_slice(x, OP, of_weight)?) } else { None },
                needs[2].then(|| sum_rows(grad, sizes.2)),
            ];
            Ok(found.map(|gradient| gradient.map(|gradient| Gradient::Owned(into_storage(gradient)))))
        }))
    }
}

fn sizes(x: &Layout, weight: &Layout) -> linear::Sizes {
    (x.dims()[0], x.dims()[1], weight.dims()[0])
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let sizes = sizes(x_layout, weight_layout);
        let out = dispatch_real!(x, "linear", T => {
            let (x, weight) = (slice::<T>(x, x_layout, "linear")?, slice::<T>(weight, weight_layout, "linear")?);
            Ok(into_storage(linear::forward(x, weight, None, sizes)))
        })?;
        Ok((out, Shape::from((sizes.0, sizes.2))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (grad_x, grad_weight) = Self::gradients(x, weight, grad)?;
        Ok((grad_x.and_then(|grad| hand_over(x, grad)), grad_weight.and_then(|grad| hand_over(weight, grad))))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let sizes = sizes(x_layout, weight_layout);
        let out = dispatch_real!(x, "linear", T => {
            let (x, weight) = (slice::<T>(x, x_layout, "linear")?, slice::<T>(weight, weight_layout, "linear")?);
            let bias = slice::<T>(bias, bias_layout, "linear")?;
            Ok(into_storage(linear::forward(x, weight, Some(bias), sizes)))
        })?;
        Ok((out, Shape::from((sizes.0, sizes.2))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (grad_x, grad_weight) = Self::gradients(x, weight, grad)?;
        let grad_bias = if bias.track_op() { hand_over(bias, sum_dim0(grad)?) } else { None };
        let grad_x = grad_x.and_then(|grad| hand_over(x, grad));
        Ok((grad_x, grad_weight.and_then(|grad| hand_over(weight, grad)), grad_bias))
    }
}
