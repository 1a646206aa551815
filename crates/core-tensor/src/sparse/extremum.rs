//! Maxima and minima over the neighbours of each row.

use super::{SparsePattern, kernels, reference};
use crate::Result;
use crate::kernel::{
    Real, contiguous, dispatch_real, dispatch_tensor, for_rows, for_slices2, into_storage, slice, with_slice,
};
use crate::tape::{self, Plain1};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::sync::OnceLock;

impl SparsePattern {
    /// `y[r] = max_{e: row(e) = r} x[col(e)]`, element by element.
    ///
    /// `x` is `[num_cols, …]`, the result `[num_rows, …]`. Rows without entries are zero. The gradient goes to one maximum,
    /// that of the lowest entry id, as in PyTorch's `scatter` with `argmax`. A NaN among the neighbours is the maximum.
    ///
    /// # Errors
    ///
    /// When the first dimension of `x` is not `num_cols`.
    pub fn segment_max(&self, x: &Tensor) -> Result<Tensor> {
        self.segment_extremum("SparsePattern::segment_max", x, false)
    }

    /// The minimum instead of the maximum of [`Self::segment_max`].
    ///
    /// # Errors
    ///
    /// When the first dimension of `x` is not `num_cols`.
    pub fn segment_min(&self, x: &Tensor) -> Result<Tensor> {
        self.segment_extremum("SparsePattern::segment_min", x, true)
    }

    fn segment_extremum(&self, op: &'static str, x: &Tensor, is_min: bool) -> Result<Tensor> {
        self.check_rows_of(op, "x", x, self.num_cols(), "num_cols")?;
        if x.device().is_cpu() {
            let op = SegmentExtremum { pattern: self.clone(), is_min, chosen: OnceLock::new() };
            Ok(tape::apply1(&contiguous(x)?, Plain1(op))?)
        } else if is_min {
            reference::segment_min(self, x)
        } else {
            reference::segment_max(self, x)
        }
    }
}

struct SegmentExtremum {
    pattern: SparsePattern,
    is_min: bool,
    /// The entry whose value was taken, for each element of the result.
    chosen: OnceLock<Vec<u32>>,
}

impl SegmentExtremum {
    fn run<T: Real>(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice::<T>(storage, layout, self.name())?;
        let mut dims = layout.dims().to_vec();
        dims[0] = self.pattern.num_rows();
        let shape = Shape::from(dims);
        let width: usize = shape.dims()[1..].iter().product();
        let index = self.pattern.compressed();
        let mut best = vec![T::ZERO; shape.elem_count()];
        let mut chosen = vec![u32::MAX; shape.elem_count()];
        if width > 0 && !best.is_empty() {
            let mean_degree = self.pattern.num_entries() / self.pattern.num_rows() + 1;
            for_slices2((&mut best, width), (&mut chosen, width), width * mean_degree, &|first, best, chosen| {
                let (offsets, neighbours, entries) = (&index.offsets, &index.neighbours, &index.entries);
                kernels::extreme_rows(offsets, neighbours, entries, first, x, width, self.is_min, best, chosen);
            });
        }
        // An operation runs forward once; if ever twice, the choice is the same.
        let _ = self.chosen.set(chosen);
        Ok((into_storage(best), shape))
    }

    fn gradient<T: Real>(&self, x: &Tensor, grad: &Tensor, chosen: &[u32]) -> candle_core::Result<Tensor> {
        let width: usize = x.dims()[1..].iter().product();
        let index = self.pattern.compressed_transposed();
        let mut out = vec![T::ZERO; x.elem_count()];
        with_slice::<T, _>(grad, self.name(), |grad| {
            if width > 0 {
                for_rows(&index.offsets, &mut out, width, width, &|cols, out| {
                    let (offsets, neighbours, entries) = (&index.offsets, &index.neighbours, &index.entries);
                    kernels::chosen_sums(offsets, neighbours, entries, cols, grad, chosen, width, out);
                });
            }
            Ok(())
        })?;
        Tensor::from_vec(out, x.shape(), x.device())
    }
}

impl CustomOp1 for SegmentExtremum {
    fn name(&self) -> &'static str {
        if self.is_min { "segment-min" } else { "segment-max" }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        dispatch_real!(storage, self.name(), T => self.run::<T>(storage, layout))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (false, Some(chosen)) = (crate::kernel::is_taped(grad), self.chosen.get()) else {
            return Err(candle_core::Error::BackwardNotSupported { op: self.name() });
        };
        let grad = contiguous(grad)?;
        let out = dispatch_tensor!(x, self.name(), T => self.gradient::<T>(x, &grad, chosen))?;
        Ok(Some(out))
    }
}
