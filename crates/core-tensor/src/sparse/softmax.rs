//! Softmax over the entries of each row.

use super::pattern::CompressedRows;
use super::{SparsePattern, reference};
use crate::kernel::{
    Real, collect, contiguous, dispatch_real, dispatch_tensor, exp_all, for_rows, for_slices, into_storage, slice,
    with_slice,
};
use crate::tape::{self, Plain1};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

impl SparsePattern {
    /// `p[e] = exp(s[e] − m) / Σ_{e': row(e') = row(e)} exp(s[e'] − m)` with `m` the largest score of the row.
    ///
    /// `scores` is `[num_entries]`, or `[num_entries, heads]` for a separate softmax in each head; the result has the same
    /// shape. This is the attention of GAT and of graph transformers.
    ///
    /// # Errors
    ///
    /// When `scores` has another shape.
    pub fn segment_softmax(&self, scores: &Tensor) -> Result<Tensor> {
        const OP: &str = "SparsePattern::segment_softmax";
        self.check_rows_of(OP, "scores", scores, self.num_entries(), "num_entries")?;
        if scores.rank() > 2 {
            return Err(Error::shape(OP, "scores", scores.shape(), "[entries] or [entries, heads]"));
        }
        if scores.device().is_cpu() {
            Ok(tape::apply1(&contiguous(scores)?, Plain1(SegmentSoftmax { pattern: self.clone() }))?)
        } else {
            reference::segment_softmax(self, scores)
        }
    }
}

struct SegmentSoftmax {
    pattern: SparsePattern,
}

/// `out[r, h] = fold of value(e, h)` over the entries `e` of row `r`.
fn fold_rows<T: Real>(index: &CompressedRows, heads: usize, initial: T, fold: impl Fn(T, usize) -> T + Sync) -> Vec<T> {
    let mut out = vec![initial; (index.offsets.len() - 1) * heads];
    for_rows(&index.offsets, &mut out, heads, heads, &|rows, out| {
        for (row, out) in rows.zip(out.chunks_exact_mut(heads)) {
            for slot in index.offsets[row] as usize..index.offsets[row + 1] as usize {
                let entry = index.entries[slot] as usize * heads;
                for (head, out) in out.iter_mut().enumerate() {
                    *out = fold(*out, entry + head);
                }
            }
        }
    });
    out
}

/// `out[e, h] = f(flat index of (e, h), flat index of (row(e), h))`.
fn map_entries<T: Real>(rows: &[u32], heads: usize, f: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
    // SAFETY: every element of each piece is written.
    unsafe {
        collect(rows.len(), heads, heads, |first, out| {
            for (entry, out) in out.chunks_exact_mut(heads).enumerate() {
                let (entry, row) = ((first + entry) * heads, rows[first + entry] as usize * heads);
                for (head, out) in out.iter_mut().enumerate() {
                    out.write(f(entry + head, row + head));
                }
            }
        })
    }
}

/// The cost of an exponential, in multiply-adds.
const EXP_WORK: usize = 16;

impl SegmentSoftmax {
    fn run<T: Real>(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let scores = slice::<T>(storage, layout, self.name())?;
        let heads = layout.dims().get(1).copied().unwrap_or(1);
        if scores.is_empty() {
            return Ok((into_storage(Vec::<T>::new()), layout.shape().clone()));
        }
        let (index, rows) = (self.pattern.compressed(), self.pattern.rows());
        let largest = fold_rows(index, heads, T::NEG_INFINITY, |m: T, e| m.larger(scores[e]));
        // A row of minus infinities has no finite largest score; its softmax is NaN, as for a dense softmax.
        let mut powers = map_entries(rows, heads, |e, r| scores[e] - largest[r]);
        for_slices(&mut powers, heads, heads * EXP_WORK, &|_, powers| exp_all(powers));
        let sums = fold_rows(index, heads, T::ZERO, |sum, e| sum + powers[e]);
        for_slices(&mut powers, heads, heads, &|first, out| {
            for (entry, out) in out.chunks_exact_mut(heads).enumerate() {
                let row = rows[first + entry] as usize * heads;
                for (out, &sum) in out.iter_mut().zip(&sums[row..row + heads]) {
                    *out /= sum;
                }
            }
        });
        Ok((into_storage(powers), layout.shape().clone()))
    }

    fn gradient<T: Real>(&self, probabilities: &Tensor, grad: &Tensor) -> candle_core::Result<Tensor> {
        let heads = probabilities.dims().get(1).copied().unwrap_or(1);
        let (index, rows) = (self.pattern.compressed(), self.pattern.rows());
        let out = with_slice::<T, _>(probabilities, self.name(), |p| {
            with_slice::<T, _>(grad, self.name(), |g| {
                if p.is_empty() {
                    return Ok(Vec::new());
                }
                let dots = fold_rows(index, heads, T::ZERO, |sum, e| sum + p[e] * g[e]);
                Ok(map_entries(rows, heads, |e, r| p[e] * (g[e] - dots[r])))
            })
        })?;
        Tensor::from_vec(out, probabilities.shape(), probabilities.device())
    }
}

impl CustomOp1 for SegmentSoftmax {
    fn name(&self) -> &'static str {
        "segment-softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        dispatch_real!(storage, self.name(), T => self.run::<T>(storage, layout))
    }

    fn bwd(&self, _scores: &Tensor, probabilities: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        if crate::kernel::is_taped(grad) {
            // Second derivatives are wanted: use operations that have them.
            let weighted = (probabilities * grad)?;
            let totals = self.pattern.gather_rows(&self.pattern.sum_entries(&weighted)?)?;
            return Ok(Some((weighted - (probabilities * totals)?)?));
        }
        let grad = contiguous(grad)?;
        let out = dispatch_tensor!(probabilities, self.name(), T => self.gradient::<T>(probabilities, &grad))?;
        Ok(Some(out))
    }
}
