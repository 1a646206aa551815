//! Gradients while the tape is walked: buffers that are moved, and numbers that stand for a whole tensor.

use crate::kernel::{Real, dispatch_real, for_slices, multiversion, slice};
use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, DType, Result, Storage, Tensor, WithDType};

/// The gradient of a tensor, in row-major order of its shape.
pub(crate) enum Gradient {
    /// The same number everywhere.
    Number(f64),
    /// A buffer that nobody else has.
    Owned(CpuStorage),
    /// A tensor of the same shape that others may hold too.
    Shared(Tensor),
}

multiversion! {
    fn add_slice<T>(sum: &mut [T], other: &[T]) {
        for (sum, &other) in sum.iter_mut().zip(other) {
            *sum += other;
        }
    }
}

/// `sum += other`, over threads.
pub(super) fn add_to<T: Real>(sum: &mut [T], other: &[T]) {
    for_slices(sum, 1, 1, &|first, sum| add_slice(sum, &other[first..][..sum.len()]));
}

/// `len` times the same number, written over threads.
pub(super) fn filled<T: Real>(number: f64, len: usize) -> Vec<T> {
    let number = T::of(number);
    // SAFETY: every element is written.
    unsafe {
        crate::kernel::collect(len, 1, 1, |_, out| {
            for out in out {
                out.write(number);
            }
        })
    }
}

fn filled_storage(number: f64, len: usize, dtype: DType) -> Result<CpuStorage> {
    match dtype {
        DType::F32 => Ok(CpuStorage::F32(filled(number, len))),
        DType::F64 => Ok(CpuStorage::F64(filled(number, len))),
        other => Err(candle_core::Error::UnsupportedDTypeForOp(other, "backward").bt()),
    }
}

impl Gradient {
    /// As a tensor like `of`.
    pub(crate) fn into_tensor(self, of: &Tensor) -> Result<Tensor> {
        match self {
            Self::Shared(tensor) => Ok(tensor),
            gradient => {
                let storage = gradient.into_storage(of)?;
                Ok(Tensor::from_storage(Storage::Cpu(storage), of.shape(), BackpropOp::none(), false))
            }
        }
    }

    /// As a buffer for a tensor like `of`; copied if others hold it too.
    pub(crate) fn into_storage(self, of: &Tensor) -> Result<CpuStorage> {
        match self {
            Self::Owned(storage) => Ok(storage),
            Self::Number(number) => filled_storage(number, of.elem_count(), of.dtype()),
            Self::Shared(tensor) => {
                let tensor = tensor.contiguous()?;
                let (storage, layout) = tensor.storage_and_layout();
                let Storage::Cpu(cpu) = &*storage else { candle_core::bail!("backward: a gradient is not on the CPU") };
                dispatch_real!(cpu, "backward", T => {
                    Ok(T::to_cpu_storage(slice::<T>(cpu, layout, "backward")?))
                })
            }
        }
    }

    /// The elements, if they are of this type.
    pub(crate) fn into_vec<T: Real>(self, of: &Tensor) -> Result<Vec<T>> {
        let storage = self.into_storage(of)?;
        let dtype = candle_core::backend::BackendStorage::dtype(&storage);
        T::take(storage).ok_or_else(|| {
            let (expected, got) = (T::DTYPE, dtype);
            candle_core::Error::UnexpectedDType { msg: "backward: the gradient", expected, got }.bt()
        })
    }

    /// Calls `f` with the elements, where they are if that can be.
    pub(crate) fn with_slice<T: Real, R>(self, of: &Tensor, f: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
        match self {
            Self::Shared(tensor) => {
                let tensor = tensor.contiguous()?;
                let (storage, layout) = tensor.storage_and_layout();
                let Storage::Cpu(cpu) = &*storage else { candle_core::bail!("backward: a gradient is not on the CPU") };
                f(slice::<T>(cpu, layout, "backward")?)
            }
            gradient => f(&gradient.into_vec::<T>(of)?),
        }
    }

    /// Adds another gradient of the tensor `of`.
    pub(crate) fn add(self, other: Self, of: &Tensor) -> Result<Self> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Ok(Self::Number(a + b)),
            (Self::Owned(sum), other) | (other, Self::Owned(sum)) => other.added_to(sum, of).map(Self::Owned),
            (a, b) => {
                let sum = a.into_storage(of)?;
                b.added_to(sum, of).map(Self::Owned)
            }
        }
    }

    fn added_to(self, mut sum: CpuStorage, of: &Tensor) -> Result<CpuStorage> {
        fn into<T: Real>(sum: &mut [T], other: Gradient, of: &Tensor) -> Result<()> {
            if let Gradient::Number(number) = other {
                let number = T::of(number);
                for_slices(sum, 1, 1, &|_, sum| sum.iter_mut().for_each(|sum| *sum += number));
                return Ok(());
            }
            let add = |cpu: &CpuStorage, start: usize, sum: &mut [T]| {
                let other = &cpu.as_slice::<T>()?[start..];
                if other.len() < sum.len() {
                    candle_core::bail!("backward: {} elements of a gradient, expected {}", other.len(), sum.len());
                }
                add_to(sum, other);
                Ok(())
            };
            match other {
                Gradient::Owned(storage) => add(&storage, 0, sum),
                other => {
                    let tensor = other.into_tensor(of)?.contiguous()?;
                    let (storage, layout) = tensor.storage_and_layout();
                    match &*storage {
                        Storage::Cpu(cpu) => add(cpu, layout.start_offset(), sum),
                        _ => candle_core::bail!("backward: a gradient is not on the CPU"),
                    }
                }
            }
        }
        match &mut sum {
            CpuStorage::F32(values) => into(values, self, of)?,
            CpuStorage::F64(values) => into(values, self, of)?,
            _ => return Err(candle_core::Error::UnsupportedDTypeForOp(of.dtype(), "backward").bt()),
        }
        Ok(sum)
    }

    /// Adds this to what was found of the gradient of `of` before.
    pub(super) fn accumulate(self, slot: &mut Option<Self>, of: &Tensor) -> Result<()> {
        if let Self::Shared(tensor) = &self
            && (tensor.shape() != of.shape() || tensor.dtype() != of.dtype())
        {
            let (got, expected) = ((tensor.shape(), tensor.dtype()), (of.shape(), of.dtype()));
            candle_core::bail!("backward: a gradient {got:?}, expected {expected:?}");
        }
        *slot = Some(match slot.take() {
            Some(sum) => sum.add(self, of)?,
            None => self,
        });
        Ok(())
    }
}
