//! From tensors to slices and back.

use super::Real;
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, WithDType};
use std::mem::MaybeUninit;

/// The elements of a contiguous argument of a custom operation. The public wrappers make their arguments contiguous, so the
/// error is for a caller that forgot.
pub(crate) fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout, op: &'static str) -> Result<&'a [T]> {
    let data = storage.as_slice::<T>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => Err(candle_core::Error::RequiresContiguous { op }.bt()),
    }
}

/// Calls `f` with the elements of a contiguous tensor on the CPU. The storage is locked for reading meanwhile.
///
/// # Errors
///
/// A tensor on another device, of another dtype than `T`, or not contiguous, and those of `f`.
pub fn with_slice<T: WithDType, R>(tensor: &Tensor, op: &'static str, f: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => f(slice(cpu, layout, op)?),
        _ => candle_core::bail!("{op}: expected a tensor on the CPU"),
    }
}

/// A CPU storage that owns these elements.
pub(crate) fn into_storage<T: WithDType>(values: Vec<T>) -> CpuStorage {
    T::to_cpu_storage_owned(values)
}

/// Whether the gradient that is about to be computed must itself be on the tape, for a second derivative: because the incoming one is, or because
/// Candle was told to keep the tapes of gradients. In the latter case the first gradient, which may be a plain tensor, must not cut the tape.
pub(crate) fn is_taped(grad: &Tensor) -> bool {
    grad.track_op() || keeps_tapes()
}

/// Whether Candle was told to keep the tapes of gradients.
pub(crate) fn keeps_tapes() -> bool {
    static KEEPS_TAPES: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *KEEPS_TAPES
        .get_or_init(|| std::env::var("CANDLE_GRAD_DO_NOT_DETACH").is_ok_and(|value| !value.is_empty() && value != "0"))
}

/// A vector of `len` elements that `fill` writes.
///
/// # Safety
///
/// `fill` must initialise every element.
pub(crate) unsafe fn build<T: Real>(len: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut out = Vec::with_capacity(len);
    fill(&mut out.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller promises that all `len` elements are initialised.
    unsafe { out.set_len(len) };
    out
}

/// As [`build`], for loops over plain slices.
///
/// # Safety
///
/// `fill` must write every element, and read none before.
pub(crate) unsafe fn written<T: Real>(len: usize, fill: impl FnOnce(&mut [T])) -> Vec<T> {
    let mut out = Vec::with_capacity(len);
    // SAFETY: the capacity is at least `len`; the elements are numbers, any bits of which are valid, and the caller promises that none is read before it is written.
    unsafe {
        fill(std::slice::from_raw_parts_mut(out.as_mut_ptr(), len));
        out.set_len(len);
    }
    out
}

/// A vector of `units · unit` elements that `fill(first unit, elements)` computes in pieces, over threads; `work` is the
/// number of steps for a unit.
///
/// # Safety
///
/// `fill` must initialise every element it is given.
pub(crate) unsafe fn collect<T: Real>(
    units: usize,
    unit: usize,
    work: usize,
    fill: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync,
) -> Vec<T> {
    let len = units * unit;
    let mut out = Vec::with_capacity(len);
    super::for_slices(&mut out.spare_capacity_mut()[..len], unit, work, &fill);
    // SAFETY: the capacity is at least `len`; `for_slices` hands out all elements, and the caller promises that `fill`
    // initialises those it gets.
    unsafe { out.set_len(len) };
    out
}

/// Runs a generic function for the element type of a CPU storage.
macro_rules! dispatch_real {
    ($storage:expr, $op:expr, $T:ident => $body:expr) => {
        match $storage {
            candle_core::CpuStorage::F32(_) => {
                type $T = f32;
                $body
            }
            candle_core::CpuStorage::F64(_) => {
                type $T = f64;
                $body
            }
            other => {
                Err(candle_core::Error::UnsupportedDTypeForOp(candle_core::backend::BackendStorage::dtype(other), $op)
                    .bt())
            }
        }
    };
}
pub(crate) use dispatch_real;

/// Runs an expression for the element type of a tensor: in `dispatch_tensor!(tensor, operation, T => body)`, `T` is f32 or f64 in `body`, which gives a `candle_core::Result`. Other types are an
/// error that names the operation.
///
/// ```
/// use candle_core::{Device, Tensor, WithDType};
/// use core_tensor::kernel::{Real, dispatch_tensor, with_slice};
///
/// let x = Tensor::new(&[1f32, 2., 4.], &Device::Cpu)?;
/// let largest: f64 = dispatch_tensor!(x, "largest", T => with_slice::<T, _>(&x, "largest", |x| {
///     Ok(x.iter().fold(T::NEG_INFINITY, |largest, &x| x.larger(largest)).to_f64())
/// }))?;
/// assert_eq!(largest, 4.);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __dispatch_tensor {
    ($tensor:expr, $op:expr, $T:ident => $body:expr) => {
        match $tensor.dtype() {
            $crate::kernel::candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::kernel::candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err($crate::kernel::candle_core::Error::UnsupportedDTypeForOp(other, $op).bt()),
        }
    };
}
#[doc(inline)]
pub use __dispatch_tensor as dispatch_tensor;
