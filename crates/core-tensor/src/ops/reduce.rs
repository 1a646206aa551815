//! Sums over the first dimension and over everything.

use crate::cpu::reduce::{SumAll, repeated, sum_rows};
use crate::kernel::{apply, contiguous, dispatch_real, dispatch_tensor, into_storage, is_taped, slice, with_slice};
use crate::tape::{self, Plain1};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

/// `y[j…] = Σ_i x[i, j…]`: `[n, …]` to `[…]`, vectorised and over threads, with the same bits for any number of threads.
/// Candle's `sum(0)` is 17 times slower than this should be.
///
/// # Errors
///
/// When `x` is a scalar.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// assert_eq!(core_tensor::ops::sum_dim0(&x)?.to_vec1::<f32>()?, [4., 6.]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn sum_dim0(x: &Tensor) -> Result<Tensor> {
    if x.rank() == 0 {
        return Err(Error::shape("sum_dim0", "x", x.shape(), "[n, …]"));
    }
    if x.device().is_cpu() { Ok(tape::apply1(&contiguous(x)?, Plain1(SumDim0))?) } else { Ok(x.sum(0)?) }
}

/// The sum of all elements, a scalar. Its gradient is written as it is, where that of Candle's `sum_all` is a broadcast view that the operation
/// before reads element by element.
///
/// # Errors
///
/// When `x` is not a float.
pub fn sum_all(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { apply(SumAll { scale: 1. }, &[x], ()) } else { Ok(x.sum_all()?) }
}

/// The mean of all elements, a scalar, see [`sum_all`].
///
/// # Errors
///
/// When `x` is not a float or has no elements.
pub fn mean_all(x: &Tensor) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Err(Error::shape("mean_all", "x", x.shape(), "at least one element"));
    }
    if x.device().is_cpu() {
        return apply(SumAll { scale: 1. / x.elem_count() as f64 }, &[x], ());
    }
    Ok(x.mean_all()?)
}

struct SumDim0;

impl CustomOp1 for SumDim0 {
    fn name(&self) -> &'static str {
        "sum-dim0"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let shape = Shape::from(&layout.dims()[1..]);
        let sums = dispatch_real!(storage, self.name(), T => {
            let x = slice::<T>(storage, layout, self.name())?;
            Ok(into_storage(sum_rows(x, shape.elem_count())))
        })?;
        Ok((sums, shape))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        if is_taped(grad) || x.elem_count() == 0 {
            return Ok(Some(grad.broadcast_as(x.shape())?.contiguous()?));
        }
        let grad = contiguous(grad)?;
        dispatch_tensor!(grad, self.name(), T => {
            let rows = with_slice::<T, _>(&grad, self.name(), |grad| Ok(repeated(grad, x.dims()[0])))?;
            Ok(Some(Tensor::from_vec(rows, x.shape(), x.device())?))
        })
    }
}
