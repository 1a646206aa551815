//! Dot products at the entries of a pattern.

#[cfg(feature = "cuda")]
use super::cuda;
use super::matmul::has_kernel;
use super::pattern::Slots;
use super::{SparsePattern, kernels, reference};
use crate::kernel::{Real, build, collect, contiguous, dispatch_real, for_row_entries, into_storage, slice};
use crate::tape::{self, Plain2};
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

impl SparsePattern {
    /// `v[e] = ⟨left[row(e)], right[col(e)]⟩`: the product `left · rightᵀ` evaluated at the entries only.
    ///
    /// `left` is `[num_rows, features]` and `right` `[num_cols, features]` with result `[num_entries]`, or with heads
    /// `[num_rows, heads, features]` and `[num_cols, heads, features]` with result `[num_entries, heads]`.
    ///
    /// # Errors
    ///
    /// When the shapes do not fit each other and the pattern, or the dtypes differ.
    pub fn sampled_dot(&self, left: &Tensor, right: &Tensor) -> Result<Tensor> {
        const OP: &str = "SparsePattern::sampled_dot";
        match *left.dims() {
            [_, _] => self.sampled_dot_heads(left, right, None),
            [_, heads, _] => self.sampled_dot_heads(left, right, Some(heads)),
            _ => Err(Error::shape(OP, "left", left.shape(), "[rows, features] or [rows, heads, features]")),
        }
    }

    /// All dimensions after the rows, or after the heads, are features.
    pub(super) fn sampled_dot_heads(&self, left: &Tensor, right: &Tensor, heads: Option<usize>) -> Result<Tensor> {
        const OP: &str = "SparsePattern::sampled_dot";
        self.check_rows_of(OP, "left", left, self.num_rows(), "num_rows")?;
        self.check_rows_of(OP, "right", right, self.num_cols(), "num_cols")?;
        if left.dims()[1..] != right.dims()[1..] {
            let expected = format!("[cols, …] like left, which is {:?}", left.dims());
            return Err(Error::shape(OP, "right", right.shape(), expected));
        }
        if left.dtype() != right.dtype() {
            return Err(Error::DType {
                operation: OP,
                what: "right",
                got: right.dtype(),
                expected: "the dtype of left",
            });
        }
        if has_kernel(left) {
            let op = SampledDot { pattern: self.clone(), heads };
            Ok(tape::apply2(&contiguous(left)?, &contiguous(right)?, Plain2(op))?)
        } else {
            reference::sampled_dot(self, left, right, heads)
        }
    }
}

struct SampledDot {
    pattern: SparsePattern,
    heads: Option<usize>,
}

impl SampledDot {
    fn run<T: Real>(
        &self,
        (left, left_layout): (&CpuStorage, &Layout),
        (right, right_layout): (&CpuStorage, &Layout),
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (left, right) =
            (slice::<T>(left, left_layout, self.name())?, slice::<T>(right, right_layout, self.name())?);
        let entries = self.pattern.num_entries();
        let (heads, shape) = match self.heads {
            None => (1, Shape::from(entries)),
            Some(heads) => (heads, Shape::from((entries, heads))),
        };
        let stride: usize = left_layout.dims()[1..].iter().product();
        let index = self.pattern.compressed();
        // Row by row, so that the left side is read once. SAFETY: `sampled_dots` writes every element it is given, and
        // `for_row_entries` hands out all of them.
        let in_slots = unsafe {
            build(shape.elem_count(), |out| {
                for_row_entries(&index.offsets, out, heads, stride, &|rows, out| {
                    kernels::sampled_dots(
                        &index.offsets,
                        &index.neighbours,
                        rows,
                        left,
                        right,
                        heads,
                        stride / heads,
                        out,
                    );
                });
            })
        };
        let out = match index.slots() {
            Slots::InOrder => in_slots,
            // SAFETY: every entry is written whole.
            Slots::Of(slots) => unsafe {
                collect(entries, heads, heads, |first, out| {
                    for (out, &slot) in out.chunks_exact_mut(heads).zip(&slots[first..]) {
                        kernels::copy_row(&in_slots[slot as usize * heads..][..heads], out);
                    }
                })
            },
        };
        Ok((into_storage(out), shape))
    }
}

impl CustomOp2 for SampledDot {
    fn name(&self) -> &'static str {
        "sampled-dot"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        dispatch_real!(left, self.name(), T => self.run::<T>((left, left_layout), (right, right_layout)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        left: &CudaStorage,
        left_layout: &Layout,
        right: &CudaStorage,
        right_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let entries = self.pattern.num_entries();
        let stride: usize = left_layout.dims()[1..].iter().product();
        let heads = self.heads.unwrap_or(1);
        let width = stride / heads.max(1);
        let out = crate::cuda::dispatch_cuda!(left, self.name(), T => {
            cuda::sampled_dot::<T>(&self.pattern, (left, left_layout), (right, right_layout), (heads, width))
        })?;
        let shape = if self.heads.is_some() { Shape::from((entries, heads)) } else { Shape::from(entries) };
        Ok((out, shape))
    }

    fn bwd(
        &self,
        left: &Tensor,
        right: &Tensor,
        _values: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_left = if left.track_op() { Some(self.pattern.matmul_weighted(grad, right)?) } else { None };
        let grad_right =
            if right.track_op() { Some(self.pattern.transpose().matmul_weighted(grad, left)?) } else { None };
        Ok((grad_left, grad_right))
    }
}
