//! Tensors in row-major order, on our tape.

use super::{constants, dispatch_real, gather, into_storage, simplified};
use crate::backward::hand_over;
use crate::tape::{self, Found, Gradient, Rule};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

/// The same tensor, copied only if its elements are not in row-major order. Stays on the tape, unless it is a variable in the midst of [`input_gradient`](crate::train::input_gradient).
pub(crate) fn contiguous(tensor: &Tensor) -> Result<Tensor> {
    if tensor.is_variable() && constants::are_constant() {
        return contiguous(&tensor.detach());
    }
    if tensor.is_contiguous() {
        return Ok(tensor.clone());
    }
    match tensor.dtype() {
        DType::F32 | DType::F64 if tensor.device().is_cpu() => tape::apply1(tensor, Copied),
        _ => tensor.contiguous(),
    }
}

/// The elements of a view in row-major order.
struct Copied;

impl Rule for Copied {
    fn gradients(&self, _: &[&Tensor], _: &Tensor, grad: Gradient, _: [bool; 3]) -> Result<Found> {
        Ok([Some(grad), None, None])
    }
}

impl CustomOp1 for Copied {
    fn name(&self) -> &'static str {
        "contiguous"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = dispatch_real!(storage, self.name(), T => {
            let dims = simplified(layout.dims().iter().copied().zip(layout.stride().iter().copied()));
            Ok(into_storage(match layout.shape().elem_count() {
                0 => Vec::new(),
                _ => gather(&storage.as_slice::<T>()?[layout.start_offset()..], &dims),
            }))
        })?;
        Ok((out, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(hand_over(x, grad.clone()))
    }
}
