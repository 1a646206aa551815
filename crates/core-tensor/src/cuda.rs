//! Kernels of our own on CUDA: NVRTC compiles their sources at run time, so building needs no CUDA compiler for them.

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{CudaView, LaunchConfig};
use candle_core::cuda_backend::cudarc::nvrtc::compile_ptx;
use candle_core::{CudaStorage, DType, Layout, Result};
use std::sync::OnceLock;

const THREADS: u32 = 256;

/// A source with kernels for several element types, compiled once per process. Loaded by `device.get_or_load_custom_func(&kernel(…), module.name, module.ptx()?)`, whose result has no public name.
pub(crate) struct Module {
    pub(crate) name: &'static str,
    source: &'static str,
    ptx: OnceLock<std::result::Result<String, String>>,
}

impl Module {
    pub(crate) const fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source, ptx: OnceLock::new() }
    }

    pub(crate) fn ptx(&self) -> Result<&str> {
        let compile = || compile_ptx(self.source).map(|ptx| ptx.to_src()).map_err(|e| e.to_string());
        let error = |error: &String| format!("NVRTC could not compile {}: {error}", self.name);
        self.ptx.get_or_init(compile).as_deref().map_err(|reason| candle_core::Error::Cuda(error(reason).into()))
    }
}

/// The name of a kernel for one element type.
pub(crate) fn kernel(name: &str, dtype: DType) -> String {
    format!("{name}_{}", dtype.as_str())
}

/// Enough blocks for one thread each of `count`.
pub(crate) fn launch(count: usize, op: &'static str) -> Result<LaunchConfig> {
    let blocks = count.div_ceil(THREADS as usize);
    // The limit of the first grid dimension.
    let blocks = u32::try_from(blocks).ok().filter(|&b| b < 1 << 31);
    let blocks =
        blocks.ok_or_else(|| candle_core::Error::Cuda(format!("{op}: too many elements for a grid").into()))?;
    Ok(LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 })
}

/// The elements of a contiguous storage.
pub(crate) fn view<'a, T: CudaDType>(
    storage: &'a CudaStorage,
    layout: &Layout,
    op: &'static str,
) -> Result<CudaView<'a, T>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<T>()?.slice(start..end)),
        None => Err(candle_core::Error::RequiresContiguous { op }.bt()),
    }
}

/// Runs a generic function for the element type of a storage.
macro_rules! dispatch_cuda {
    ($storage:expr, $op:expr, $T:ident => $body:expr) => {
        match candle_core::backend::BackendStorage::dtype($storage) {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err(candle_core::Error::UnsupportedDTypeForOp(other, $op).bt()),
        }
    };
}
pub(crate) use dispatch_cuda;
