//! The leaky ReLU whose slopes are learned.

use crate::cpu::prelu::Prelu;
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::Tensor;

/// `x` where `x > 0`, else `slope · x`, as `torch.nn.functional.prelu`: `slopes` is `[1]`, one for all, or `[channels]` for `x` of shape `[n, channels, …]`. The derivative at 0 is the
/// slope. Both have gradients.
///
/// # Errors
///
/// When `slopes` is neither `[1]` nor `[channels]`, `x` is a scalar, or the dtypes differ.
pub fn prelu(x: &Tensor, slopes: &Tensor) -> Result<Tensor> {
    const OP: &str = "prelu";
    let channels = x.dims().get(1).copied();
    let count = slopes.elem_count();
    if slopes.rank() != 1 || x.rank() == 0 || (count != 1 && channels != Some(count)) {
        let expected = format!("[1], or [channels] for x of shape {:?}", x.dims());
        return Err(Error::shape(OP, "slopes", slopes.shape(), expected));
    }
    if x.dtype() != slopes.dtype() {
        return Err(Error::DType { operation: OP, what: "slopes", got: slopes.dtype(), expected: "the dtype of x" });
    }
    if x.device().is_cpu() {
        let plane = x.dims().iter().skip(2).product();
        return apply(Prelu { channels: channels.unwrap_or(1), plane }, &[x, slopes], x.shape());
    }
    let slopes = if count == 1 {
        slopes.reshape(vec![1; x.rank()])?
    } else {
        let shape: Vec<usize> = (0..x.rank()).map(|dim| if dim == 1 { count } else { 1 }).collect();
        slopes.reshape(shape)?
    };
    let is_positive = x.gt(0.)?;
    Ok(is_positive.where_cond(x, &x.broadcast_mul(&slopes)?)?)
}
