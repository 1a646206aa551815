//! Launching the CUDA kernels of `kernels.cu`.

use super::SparsePattern;
use super::device_indices::DeviceIndices;
use crate::cuda::{Module, kernel, launch, view};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaDevice, CudaStorage, Device, Layout, Result, Storage, Tensor, WithDType};
use std::sync::Arc;

static KERNELS: Module = Module::new("core-tensor-sparse", include_str!("kernels.cu"));

/// Calls `f` with the index tensors on the device.
fn with_indices<R>(tensors: [&Tensor; 3], f: impl FnOnce([&CudaSlice<u32>; 3]) -> Result<R>) -> Result<R> {
    let guards = tensors.map(|tensor| tensor.storage_and_layout().0);
    let mut slices = Vec::with_capacity(3);
    for guard in &guards {
        match &**guard {
            Storage::Cuda(storage) => slices.push(storage.as_cuda_slice::<u32>()?),
            _ => candle_core::bail!("the index of a sparse pattern is not on the GPU"),
        }
    }
    match slices.try_into() {
        Ok(slices) => f(slices),
        Err(_) => candle_core::bail!("the index of a sparse pattern has three parts"),
    }
}

fn indices(pattern: &SparsePattern, device: &CudaDevice) -> Result<Arc<DeviceIndices>> {
    Ok(pattern.device_indices(&Device::Cuda(device.clone()))?)
}

/// What [`sparse_matmul`] computes besides the plain sum.
pub(super) enum Weights<'a> {
    /// All entries are 1.
    Ones,
    /// All entries are 1 over the number of entries of their row.
    Mean,
    /// These values.
    Values(&'a CudaStorage, &'a Layout),
}

/// The kernel `sparse_matmul`; `x` has rows of `heads · width` features.
pub(super) fn sparse_matmul<T: CudaDType + WithDType + DeviceRepr>(
    pattern: &SparsePattern,
    weights: &Weights<'_>,
    (x, x_layout): (&CudaStorage, &Layout),
    (heads, width): (usize, usize),
) -> Result<CudaStorage> {
    const OP: &str = "sparse-matmul";
    let device = x.device();
    let count = pattern.num_rows() * heads * width;
    // SAFETY: the kernel writes every element.
    let out = unsafe { device.alloc::<T>(count)? };
    if count == 0 {
        return Ok(CudaStorage::wrap_cuda_slice(out, device.clone()));
    }
    let x = view::<T>(x, x_layout, OP)?;
    let (values, has_values) = match weights {
        Weights::Values(values, layout) => (view::<T>(values, layout, OP)?, 1_u32),
        // Never read.
        _ => (x.slice(..), 0),
    };
    let is_mean = u32::from(matches!(weights, Weights::Mean));
    let sizes = [pattern.num_rows() as u32, heads as u32, width as u32];
    let indices = indices(pattern, device)?;
    with_indices(indices.compressed(), |[offsets, neighbours, entries]| {
        let function =
            device.get_or_load_custom_func(&kernel("sparse_matmul", T::DTYPE), KERNELS.name, KERNELS.ptx()?)?;
        let mut builder = function.builder();
        sizes.iter().for_each(|size| {
            builder.arg(size);
        });
        builder.arg(&has_values).arg(&is_mean).arg(offsets).arg(neighbours).arg(entries);
        builder.arg(&values).arg(&x).arg(&out);
        // SAFETY: the arguments are those of the kernel, and the index was checked against the sizes when it was built.
        unsafe { builder.launch(launch(count, OP)?) }.w()?;
        Ok(())
    })?;
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}

/// The kernel `sampled_dot`; both sides have rows of `heads · width` features.
pub(super) fn sampled_dot<T: CudaDType + WithDType + DeviceRepr>(
    pattern: &SparsePattern,
    (left, left_layout): (&CudaStorage, &Layout),
    (right, right_layout): (&CudaStorage, &Layout),
    (heads, width): (usize, usize),
) -> Result<CudaStorage> {
    const OP: &str = "sampled-dot";
    let device = left.device();
    let count = pattern.num_entries() * heads;
    // SAFETY: the kernel writes every element.
    let out = unsafe { device.alloc::<T>(count)? };
    if count == 0 {
        return Ok(CudaStorage::wrap_cuda_slice(out, device.clone()));
    }
    let (left, right) = (view::<T>(left, left_layout, OP)?, view::<T>(right, right_layout, OP)?);
    let sizes = [pattern.num_entries() as u32, heads as u32, width as u32];
    let indices = indices(pattern, device)?;
    with_indices(indices.ends(), |[rows, cols, _]| {
        let function =
            device.get_or_load_custom_func(&kernel("sampled_dot", T::DTYPE), KERNELS.name, KERNELS.ptx()?)?;
        let mut builder = function.builder();
        sizes.iter().for_each(|size| {
            builder.arg(size);
        });
        builder.arg(rows).arg(cols).arg(&left).arg(&right).arg(&out);
        // SAFETY: the arguments are those of the kernel, and the index was checked against the sizes when it was built.
        unsafe { builder.launch(launch(count * 32, OP)?) }.w()?;
        Ok(())
    })?;
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}
