//! Chains of element-wise operations in one pass.

use crate::cpu::activation::{Function, Gelu, Silu, Tanh};
use crate::cpu::pointwise::{AddRelu, Biased, Swiglu};
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::Tensor;

/// [`super::gelu`] of `x + bias` in one pass, for `x` of shape `[…, n]` and `bias` of shape `[n]`.
///
/// # Errors
///
/// When the last dimension of `x` is not the length of `bias`, or the dtypes differ.
pub fn bias_gelu(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    biased("bias_gelu", x, bias, Gelu, super::gelu)
}

/// [`super::silu`] of `x + bias` in one pass, see [`bias_gelu`].
///
/// # Errors
///
/// As for [`bias_gelu`].
pub fn bias_silu(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    biased("bias_silu", x, bias, Silu, super::silu)
}

/// [`super::tanh`] of `x + bias` in one pass, see [`bias_gelu`].
///
/// # Errors
///
/// As for [`bias_gelu`].
pub fn bias_tanh(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    biased("bias_tanh", x, bias, Tanh, super::tanh)
}

/// `max(a + b, 0)` in one pass, for tensors of one shape.
///
/// # Errors
///
/// When the shapes or dtypes differ.
pub fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    check_pair("add_relu", a, b)?;
    if a.device().is_cpu() { apply(AddRelu, &[a, b], a.shape()) } else { super::relu(&(a + b)?) }
}

/// `silu(gate) · x` in one pass (SwiGLU's product), for tensors of one shape.
///
/// # Errors
///
/// When the shapes or dtypes differ.
pub fn swiglu(gate: &Tensor, x: &Tensor) -> Result<Tensor> {
    check_pair("swiglu", gate, x)?;
    if gate.device().is_cpu() { apply(Swiglu, &[gate, x], x.shape()) } else { Ok((gate.silu()? * x)?) }
}

fn check_pair(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.shape() != b.shape() {
        return Err(Error::shape(op, "the second argument", b.shape(), format!("{:?} like the first", a.dims())));
    }
    if a.dtype() != b.dtype() {
        let expected = "the dtype of the first";
        return Err(Error::DType { operation: op, what: "the second argument", got: b.dtype(), expected });
    }
    Ok(())
}

fn biased<F: Function>(
    op: &'static str,
    x: &Tensor,
    bias: &Tensor,
    function: F,
    composed: fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let fits = bias.rank() == 1 && x.dims().last() == Some(&bias.elem_count());
    if !fits {
        let expected = format!("[n] with n the last dimension of x, which is {:?}", x.dims());
        return Err(Error::shape(op, "bias", bias.shape(), expected));
    }
    if x.dtype() != bias.dtype() {
        return Err(Error::DType { operation: op, what: "bias", got: bias.dtype(), expected: "the dtype of x" });
    }
    if x.device().is_cpu() {
        return apply(Biased { function }, &[x, bias], x.shape());
    }
    composed(&x.broadcast_add(bias)?)
}
