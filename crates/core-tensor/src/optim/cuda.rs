//! Adam's step as one CUDA kernel for each parameter.

use candle_core::cuda_backend::cudarc::driver::{CudaView, DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::compile_ptx;
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CpuStorage, CudaStorage, DType, InplaceOp1, Layout, Result, Storage, Tensor, Var, WithDType};
use std::sync::OnceLock;

const SOURCE: &str = include_str!("adam.cu");
const MODULE: &str = "core-tensor-adam";
const THREADS: u32 = 256;

/// The numbers of a step: 1 − β₁, β₂, 1 − β₂, ε, the L2 factor, the factor of the parameter, the step size and the root of the correction.
pub(super) type Numbers = [f64; 8];

/// Updates all in place, if they are such as the kernel can take: returns whether they are.
pub(super) fn step(numbers: Numbers, var: &Var, gradient: &Tensor, kept: &[Tensor; 2]) -> Result<bool> {
    let is_plain = |x: &Tensor| x.device().is_cuda() && x.is_contiguous();
    let tensors = [gradient, &kept[0], &kept[1]];
    let fits = matches!(var.dtype(), DType::F32 | DType::F64)
        && is_plain(var)
        && tensors.iter().all(|x| is_plain(x) && x.shape() == var.shape() && x.dtype() == var.dtype());
    if fits {
        var.inplace_op1(&Step { numbers, tensors })?;
    }
    Ok(fits)
}

struct Step<'a> {
    numbers: Numbers,
    /// Gradient, mean and mean square.
    tensors: [&'a Tensor; 3],
}

fn ptx() -> Result<&'static str> {
    static PTX: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    match PTX.get_or_init(|| compile_ptx(SOURCE).map(|ptx| ptx.to_src()).map_err(|e| e.to_string())) {
        Ok(ptx) => Ok(ptx),
        Err(error) => Err(candle_core::Error::Cuda(format!("NVRTC could not compile {MODULE}: {error}").into())),
    }
}

fn view<'a, T: CudaDType>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, T>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<T>()?.slice(start..end)),
        None => Err(candle_core::Error::RequiresContiguous { op: "adam" }.bt()),
    }
}

impl Step<'_> {
    fn run<T: CudaDType + WithDType + DeviceRepr>(&self, storage: &CudaStorage, layout: &Layout) -> Result<()> {
        let guards = self.tensors.map(Tensor::storage_and_layout);
        let mut views = Vec::with_capacity(3);
        for (storage, layout) in &guards {
            match &**storage {
                Storage::Cuda(storage) => views.push(view::<T>(storage, layout)?),
                _ => candle_core::bail!("adam: a tensor is not on the GPU"),
            }
        }
        let parameter = view::<T>(storage, layout)?;
        let device = &storage.device;
        let count = layout.shape().elem_count() as u64;
        if count == 0 {
            return Ok(());
        }
        let blocks = u32::try_from(count.div_ceil(u64::from(THREADS))).ok().filter(|&b| b < 1 << 31);
        let Some(blocks) = blocks else { candle_core::bail!("adam: too many elements for a grid") };
        let config = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
        let name = format!("adam_{}", T::DTYPE.as_str());
        let function = device.get_or_load_custom_func(&name, MODULE, ptx()?)?;
        let numbers = self.numbers.map(T::from_f64);
        let mut builder = function.builder();
        builder.arg(&count);
        numbers.iter().for_each(|number| {
            builder.arg(number);
        });
        views.iter().for_each(|view| {
            builder.arg(view);
        });
        builder.arg(&parameter);
        // SAFETY: the arguments are those of the kernel, and all arrays have `count` elements. It writes to the parameter and to the two means: `inplace_op1` holds the first alone,
        // and the others belong to the optimiser, which hands out copies only.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

impl InplaceOp1 for Step<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        candle_core::bail!("adam: this is the step for CUDA")
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        match candle_core::backend::BackendStorage::dtype(storage) {
            DType::F32 => self.run::<f32>(storage, layout),
            DType::F64 => self.run::<f64>(storage, layout),
            other => Err(candle_core::Error::UnsupportedDTypeForOp(other, "adam").bt()),
        }
    }
}
