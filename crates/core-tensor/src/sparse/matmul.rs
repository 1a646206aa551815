//! Products with sparse matrices.

#[cfg(feature = "cuda")]
use super::cuda;
use super::{SparsePattern, kernels, reference};
use crate::kernel::{Real, build, contiguous, dispatch_real, for_rows, into_storage, slice};
use crate::tape::{self, Plain1, Plain2};
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Shape, Tensor};

impl SparsePattern {
    /// `y[r] = Σ_{e: row(e) = r} x[col(e)]`: the product with the matrix whose entries are all 1.
    ///
    /// `x` is `[num_cols, …]`, the result `[num_rows, …]` with the same trailing dimensions. Rows without entries are zero.
    /// The gradient is the product of the transposed pattern with the gradient of `y`.
    ///
    /// # Errors
    ///
    /// When the first dimension of `x` is not `num_cols`, or `x` is not f32 or f64 on the CPU.
    ///
    /// ```
    /// # use candle_core::{Device, Tensor};
    /// # use core_tensor::sparse::SparsePattern;
    /// let x = Tensor::new(&[[1f32], [10.], [100.]], &Device::Cpu)?;
    /// let pattern = SparsePattern::from_edges(2, 3, &[0, 0, 1], &[0, 2, 1])?;
    /// assert_eq!(pattern.matmul(&x)?.to_vec2::<f32>()?, [[101.], [10.]]);
    /// # Ok::<(), core_tensor::Error>(())
    /// ```
    pub fn matmul(&self, x: &Tensor) -> Result<Tensor> {
        self.check_rows_of("SparsePattern::matmul", "x", x, self.num_cols(), "num_cols")?;
        if has_kernel(x) {
            Ok(tape::apply1(&contiguous(x)?, Plain1(SumOfNeighbours { pattern: self.clone(), is_mean: false }))?)
        } else {
            reference::matmul(self, x)
        }
    }

    /// The mean instead of the sum of [`Self::matmul`]; rows without entries are zero.
    ///
    /// # Errors
    ///
    /// As for [`Self::matmul`].
    pub fn segment_mean(&self, x: &Tensor) -> Result<Tensor> {
        self.check_rows_of("SparsePattern::segment_mean", "x", x, self.num_cols(), "num_cols")?;
        if has_kernel(x) {
            Ok(tape::apply1(&contiguous(x)?, Plain1(SumOfNeighbours { pattern: self.clone(), is_mean: true }))?)
        } else {
            reference::segment_mean(self, x)
        }
    }

    /// `y[r] = Σ_{e: row(e) = r} values[e] · x[col(e)]`: the product with the matrix that has these entries.
    ///
    /// Either `values` is `[num_entries]` and `x` is `[num_cols, …]`, or there are several matrices of one pattern (attention
    /// heads): `values` is `[num_entries, heads]` and `x` is `[num_cols, heads, …]`. The result is `[num_rows, …]`. Both have
    /// gradients; the one of `values` (a [`Self::sampled_dot`]) is computed only when `values` takes part in one.
    ///
    /// # Errors
    ///
    /// When the shapes do not fit each other and the pattern, or the dtypes differ.
    pub fn matmul_weighted(&self, values: &Tensor, x: &Tensor) -> Result<Tensor> {
        const OP: &str = "SparsePattern::matmul_weighted";
        self.check_rows_of(OP, "x", x, self.num_cols(), "num_cols")?;
        self.check_rows_of(OP, "values", values, self.num_entries(), "num_entries")?;
        let fits = match *values.dims() {
            [_] => true,
            [_, heads] => x.rank() >= 2 && x.dims()[1] == heads,
            _ => false,
        };
        if !fits {
            let expected = format!("[entries] or [entries, heads] with x = [cols, heads, …], x is {:?}", x.dims());
            return Err(Error::shape(OP, "values", values.shape(), expected));
        }
        if values.dtype() != x.dtype() {
            return Err(Error::DType {
                operation: OP,
                what: "values",
                got: values.dtype(),
                expected: "the dtype of x",
            });
        }
        if has_kernel(x) {
            Ok(tape::apply2(&contiguous(values)?, &contiguous(x)?, Plain2(WeightedSum { pattern: self.clone() }))?)
        } else {
            reference::matmul_weighted(self, values, x)
        }
    }

    /// `y[r] = Σ_{e: row(e) = r} values[e]`: entry values `[num_entries, …]` added up over rows, `[num_rows, …]`.
    ///
    /// # Errors
    ///
    /// When the first dimension of `values` is not `num_entries`.
    pub fn sum_entries(&self, values: &Tensor) -> Result<Tensor> {
        self.check_rows_of("SparsePattern::sum_entries", "values", values, self.num_entries(), "num_entries")?;
        self.row_segments().matmul(values)
    }

    /// `v[e] = x[row(e)]`: row values `[num_rows, …]` handed to the entries, `[num_entries, …]`.
    ///
    /// # Errors
    ///
    /// When the first dimension of `x` is not `num_rows`.
    pub fn gather_rows(&self, x: &Tensor) -> Result<Tensor> {
        self.check_rows_of("SparsePattern::gather_rows", "x", x, self.num_rows(), "num_rows")?;
        self.row_segments().transpose().matmul(x)
    }

    /// `v[e] = x[col(e)]`: column values `[num_cols, …]` handed to the entries, `[num_entries, …]`.
    ///
    /// # Errors
    ///
    /// When the first dimension of `x` is not `num_cols`.
    pub fn gather_cols(&self, x: &Tensor) -> Result<Tensor> {
        self.transpose().gather_rows(x)
    }

    pub(super) fn check_rows_of(
        &self,
        op: &'static str,
        what: &'static str,
        tensor: &Tensor,
        size: usize,
        size_name: &str,
    ) -> Result<()> {
        match tensor.dims().first() {
            Some(&first) if first == size => Ok(()),
            _ => Err(Error::shape(op, what, tensor.shape(), format!("[{size_name} = {size}, …]"))),
        }
    }
}

/// The product with all entries 1, or the mean.
struct SumOfNeighbours {
    pattern: SparsePattern,
    is_mean: bool,
}

impl SumOfNeighbours {
    fn run<T: Real>(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice::<T>(storage, layout, self.name())?;
        let shape = with_first_dim(layout.shape(), self.pattern.num_rows());
        let width: usize = shape.dims()[1..].iter().product();
        let index = self.pattern.compressed();
        // SAFETY: `sum_rows` writes every element of the rows it is given, and `for_rows` hands out all rows.
        let out = unsafe {
            build(shape.elem_count(), |out| {
                if width > 0 {
                    for_rows(&index.offsets, out, width, width, &|rows, out| {
                        kernels::sum_rows(&index.offsets, &index.neighbours, rows, x, width, self.is_mean, out);
                    });
                }
            })
        };
        Ok((into_storage(out), shape))
    }
}

impl CustomOp1 for SumOfNeighbours {
    fn name(&self) -> &'static str {
        if self.is_mean { "segment-mean" } else { "sparse-matmul" }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        dispatch_real!(storage, self.name(), T => self.run::<T>(storage, layout))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let shape = with_first_dim(layout.shape(), self.pattern.num_rows());
        let width = shape.dims()[1..].iter().product();
        let weights = if self.is_mean { cuda::Weights::Mean } else { cuda::Weights::Ones };
        let out = crate::cuda::dispatch_cuda!(storage, self.name(), T => {
            cuda::sparse_matmul::<T>(&self.pattern, &weights, (storage, layout), (1, width))
        })?;
        Ok((out, shape))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let transposed = self.pattern.transpose();
        let grad_x = if self.is_mean {
            let scale = reference::inverse_degrees(&self.pattern, grad)?;
            transposed.matmul(&grad.broadcast_mul(&scale)?)?
        } else {
            transposed.matmul(grad)?
        };
        Ok(Some(grad_x))
    }
}

/// The product with given entry values.
struct WeightedSum {
    pattern: SparsePattern,
}

impl WeightedSum {
    fn run<T: Real>(
        &self,
        (values, values_layout): (&CpuStorage, &Layout),
        (x, x_layout): (&CpuStorage, &Layout),
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (values, x) = (slice::<T>(values, values_layout, self.name())?, slice::<T>(x, x_layout, self.name())?);
        let shape = with_first_dim(x_layout.shape(), self.pattern.num_rows());
        let heads = values_layout.dims().get(1).copied().unwrap_or(1);
        let stride: usize = shape.dims()[1..].iter().product();
        let index = self.pattern.compressed();
        // SAFETY: `weighted_rows` writes every element of the rows it is given, and `for_rows` hands out all rows.
        let out = unsafe {
            build(shape.elem_count(), |out| {
                if stride > 0 {
                    let width = stride / heads;
                    for_rows(&index.offsets, out, stride, stride, &|rows, out| {
                        let (offsets, neighbours, entries) = (&index.offsets, &index.neighbours, &index.entries);
                        kernels::weighted_rows(offsets, neighbours, entries, rows, values, x, heads, width, out);
                    });
                }
            })
        };
        Ok((into_storage(out), shape))
    }
}

impl CustomOp2 for WeightedSum {
    fn name(&self) -> &'static str {
        "sparse-matmul-weighted"
    }

    fn cpu_fwd(
        &self,
        values: &CpuStorage,
        values_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        dispatch_real!(x, self.name(), T => self.run::<T>((values, values_layout), (x, x_layout)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        values: &CudaStorage,
        values_layout: &Layout,
        x: &CudaStorage,
        x_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let shape = with_first_dim(x_layout.shape(), self.pattern.num_rows());
        let heads = values_layout.dims().get(1).copied().unwrap_or(1);
        let width = shape.dims()[1..].iter().product::<usize>() / heads.max(1);
        let weights = cuda::Weights::Values(values, values_layout);
        let out = crate::cuda::dispatch_cuda!(x, self.name(), T => {
            cuda::sparse_matmul::<T>(&self.pattern, &weights, (x, x_layout), (heads, width))
        })?;
        Ok((out, shape))
    }

    fn bwd(
        &self,
        values: &Tensor,
        x: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_values = if values.track_op() {
            let heads = values.dims().get(1).copied();
            Some(self.pattern.sampled_dot_heads(grad, x, heads)?)
        } else {
            None
        };
        let grad_x = if x.track_op() { Some(self.pattern.transpose().matmul_weighted(values, grad)?) } else { None };
        Ok((grad_values, grad_x))
    }
}

/// Whether the products have a kernel for this device and dtype. Other dtypes on the CPU meet an error there.
pub(super) fn has_kernel(x: &Tensor) -> bool {
    let is_real = matches!(x.dtype(), DType::F32 | DType::F64);
    x.device().is_cpu() || (cfg!(feature = "cuda") && x.device().is_cuda() && is_real)
}

fn with_first_dim(shape: &Shape, first: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    dims[0] = first;
    Shape::from(dims)
}
