//! Picking rows by index.

use super::pattern::check_indices;
use super::{SparsePattern, kernels};
use crate::kernel::{Real, collect, contiguous, dispatch_real, into_storage, slice};
use crate::tape::{self, Plain1};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::sync::{Arc, OnceLock};

/// Indices into the rows of a tensor, checked once and prepared for use in every step of a training loop: the structure that
/// the gradient needs is built on first use and kept. Clones share it.
#[derive(Clone, Debug)]
pub struct Index {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    indices: Vec<u32>,
    num_rows: usize,
    pattern: OnceLock<SparsePattern>,
}

impl Index {
    /// Indices into `num_rows` rows, in any order, with repetitions.
    ///
    /// # Errors
    ///
    /// When an index is not below `num_rows`, or there are too many for 32 bits.
    pub fn new(indices: &[u32], num_rows: usize) -> Result<Self> {
        const OP: &str = "Index::new";
        let limit = u32::MAX as usize - 1;
        for (what, got) in [("num_rows", num_rows), ("the number of indices", indices.len())] {
            if got > limit {
                return Err(Error::TooLarge { operation: OP, what, got, limit });
            }
        }
        check_indices(OP, "indices", indices, num_rows)?;
        let shared = Shared { indices: indices.to_vec(), num_rows, pattern: OnceLock::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The indices.
    pub fn indices(&self) -> &[u32] {
        &self.shared.indices
    }

    /// The number of rows that the indices point into.
    pub fn num_rows(&self) -> usize {
        self.shared.num_rows
    }

    /// `y[i] = x[indices[i]]`: `x` is `[num_rows, …]`, the result `[num_indices, …]`. The gradient adds up, over threads and
    /// in a fixed order.
    ///
    /// # Errors
    ///
    /// When the first dimension of `x` is not [`Self::num_rows`].
    pub fn gather(&self, x: &Tensor) -> Result<Tensor> {
        if x.dims().first() != Some(&self.num_rows()) {
            let expected = format!("[num_rows = {}, …]", self.num_rows());
            return Err(Error::shape("Index::gather", "x", x.shape(), expected));
        }
        if x.device().is_cpu() {
            Ok(tape::apply1(&contiguous(x)?, Plain1(Gather { index: self.clone() }))?)
        } else {
            self.pattern()?.matmul(x)
        }
    }

    /// `[num_indices, num_rows]` with one entry in each row.
    fn pattern(&self) -> Result<&SparsePattern> {
        if let Some(pattern) = self.shared.pattern.get() {
            return Ok(pattern);
        }
        let positions: Vec<u32> = (0..self.indices().len() as u32).collect();
        let pattern = SparsePattern::from_edges(positions.len(), self.num_rows(), &positions, self.indices())?;
        Ok(self.shared.pattern.get_or_init(|| pattern))
    }
}

/// `y[i] = x[indices[i]]`, see [`Index::gather`]. Prepare an [`Index`] when the same indices are used again.
///
/// # Errors
///
/// When an index is not below the first dimension of `x`, or `x` is a scalar.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// let y = core_tensor::sparse::gather(&x, &[1, 1, 0])?;
/// assert_eq!(y.to_vec2::<f32>()?, [[3., 4.], [3., 4.], [1., 2.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn gather(x: &Tensor, indices: &[u32]) -> Result<Tensor> {
    match x.dims().first() {
        Some(&num_rows) => Index::new(indices, num_rows)?.gather(x),
        None => Err(Error::shape("gather", "x", x.shape(), "[rows, …]")),
    }
}

struct Gather {
    index: Index,
}

impl Gather {
    fn run<T: Real>(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice::<T>(storage, layout, self.name())?;
        let indices = self.index.indices();
        let mut dims = layout.dims().to_vec();
        dims[0] = indices.len();
        let shape = Shape::from(dims);
        let width: usize = shape.dims()[1..].iter().product();
        // SAFETY: every row is copied whole.
        let out = unsafe {
            collect(indices.len(), width, width, |first, out| {
                for (out, &index) in out.chunks_exact_mut(width.max(1)).zip(&indices[first..]) {
                    let start = index as usize * width;
                    kernels::copy_row(&x[start..start + width], out);
                }
            })
        };
        Ok((into_storage(out), shape))
    }
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gather-rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        dispatch_real!(storage, self.name(), T => self.run::<T>(storage, layout))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(self.index.pattern()?.transpose().matmul(grad)?))
    }
}
