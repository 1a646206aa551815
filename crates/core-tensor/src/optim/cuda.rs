//! Adam's step as one CUDA kernel for each parameter.

use crate::cuda::{Module, dispatch_cuda, kernel, launch, view};
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CpuStorage, CudaStorage, DType, InplaceOp1, Layout, Result, Storage, Tensor, Var, WithDType};

static KERNELS: Module = Module::new("core-tensor-adam", include_str!("adam.cu"));
const OP: &str = "adam";

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

impl Step<'_> {
    fn run<T: CudaDType + WithDType + DeviceRepr>(&self, storage: &CudaStorage, layout: &Layout) -> Result<()> {
        let count = layout.shape().elem_count();
        if count == 0 {
            return Ok(());
        }
        let guards = self.tensors.map(Tensor::storage_and_layout);
        let mut views = Vec::with_capacity(4);
        for (storage, layout) in &guards {
            match &**storage {
                Storage::Cuda(storage) => views.push(view::<T>(storage, layout, OP)?),
                _ => candle_core::bail!("{OP}: a tensor is not on the GPU"),
            }
        }
        views.push(view::<T>(storage, layout, OP)?);
        let function = storage.device.get_or_load_custom_func(&kernel(OP, T::DTYPE), KERNELS.name, KERNELS.ptx()?)?;
        let (size, numbers) = (count as u64, self.numbers.map(T::from_f64));
        let mut builder = function.builder();
        builder.arg(&size);
        for number in &numbers {
            builder.arg(number);
        }
        for view in &views {
            builder.arg(view);
        }
        // SAFETY: the arguments are those of the kernel, and all arrays have `count` elements. It writes to the parameter and to the two means: `inplace_op1` holds the first alone,
        // and the others belong to the optimiser, which hands out copies only.
        unsafe { builder.launch(launch(count, OP)?) }.w()?;
        Ok(())
    }
}

impl InplaceOp1 for Step<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        candle_core::bail!("{OP}: this is the step for CUDA")
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        dispatch_cuda!(&*storage, OP, T => self.run::<T>(storage, layout))
    }
}
