//! Sums over the first dimension and over everything.

use crate::kernel::{Gradients, Kernel, apply};
use crate::kernel::{
    MIN_WORK_PER_TASK, Real, collect, contiguous, dispatch_real, dispatch_tensor, for_slices, into_storage,
    multiversion, slice, with_slice,
};
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
    if x.device().is_cpu() { Ok(contiguous(x)?.apply_op1(SumDim0)?) } else { Ok(x.sum(0)?) }
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

struct SumAll {
    scale: f64,
}

/// Elements that are added up in their own type; the sums of blocks are added in f64.
const SUM_BLOCK: usize = 4096;

impl Kernel for SumAll {
    const NAME: &'static str = "sum-all";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let mut sums = vec![0f64; x[0].len().div_ceil(SUM_BLOCK)];
        for_slices(&mut sums, 1, SUM_BLOCK, &|first, sums| {
            for (sum, block) in sums.iter_mut().zip(x[0][first * SUM_BLOCK..].chunks(SUM_BLOCK)) {
                let mut total = [T::ZERO];
                crate::kernel::sum_all(block, &mut total);
                *sum = total[0].to_f64();
            }
        });
        Ok(vec![T::of(sums.iter().sum::<f64>() * self.scale)])
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        Ok([Some(vec![grad[0] * T::of(self.scale); x[0].len()]), None, None])
    }
}

multiversion! {
    /// Adds the rows of `x` to `out`.
    fn add_rows<T>(x: &[T], out: &mut [T]) {
        let width = out.len();
        // Four rows at a time, so that `out` is read and written a quarter as often.
        let mut fours = x.chunks_exact(4 * width);
        for rows in &mut fours {
            let (a, rest) = rows.split_at(width);
            let (b, rest) = rest.split_at(width);
            let (c, d) = rest.split_at(width);
            for ((((o, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *o += (a + b) + (c + d);
            }
        }
        for row in fours.remainder().chunks_exact(width) {
            for (o, &v) in out.iter_mut().zip(row) {
                *o += v;
            }
        }
    }
}

/// The sum of the rows of `x`, each `width` elements.
pub(super) fn sum_rows<T: Real>(x: &[T], width: usize) -> Vec<T> {
    let mut total = vec![T::ZERO; width];
    if width == 0 {
        return total;
    }
    // The blocks depend on the shape alone, so the order of additions does not depend on threads.
    let block = rows_per_block(width) * width;
    let blocks = x.len().div_ceil(block);
    if blocks <= 1 {
        add_rows(x, &mut total);
        return total;
    }
    let mut partial = vec![T::ZERO; blocks * width];
    for_slices(&mut partial, width, block, &|first, out| {
        for (out, x) in out.chunks_exact_mut(width).zip(x[first * block..].chunks(block)) {
            add_rows(x, out);
        }
    });
    sum_partials(&partial, width)
}

/// Rows whose sums are added up in their own type: few, so that little is lost.
pub(super) fn rows_per_block(width: usize) -> usize {
    (MIN_WORK_PER_TASK / width.max(1)).clamp(16, 128)
}

/// The sum of the rows, in f64: they are sums of blocks.
pub(super) fn sum_partials<T: Real>(partial: &[T], width: usize) -> Vec<T> {
    let mut total = vec![0f64; width];
    if width > 0 {
        for row in partial.chunks_exact(width) {
            total.iter_mut().zip(row).for_each(|(t, v)| *t += v.to_f64());
        }
    }
    total.into_iter().map(T::of).collect()
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
        if crate::kernel::is_taped(grad) || x.elem_count() == 0 {
            return Ok(Some(grad.broadcast_as(x.shape())?.contiguous()?));
        }
        let grad = contiguous(grad)?;
        dispatch_tensor!(grad, self.name(), T => {
            let rows = with_slice::<T, _>(&grad, self.name(), |grad| {
                // SAFETY: every row is written whole.
                Ok(unsafe {
                    collect(x.dims()[0], grad.len(), grad.len(), |_, out| {
                        for out in out.chunks_exact_mut(grad.len()) {
                            for (out, &g) in out.iter_mut().zip(grad) {
                                out.write(g);
                            }
                        }
                    })
                })
            })?;
            Ok(Some(Tensor::from_vec(rows, x.shape(), x.device())?))
        })
    }
}
