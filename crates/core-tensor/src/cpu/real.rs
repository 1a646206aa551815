//! The element types of our kernels: f32 and f64.

use super::exponential::{erf_f32, exp_f32, exp_m1_f32, tanh_f32};
use candle_core::cpu::erf::erf_f64;
use candle_core::{CpuStorage, WithDType};
use std::ops::Neg;

/// A floating-point number that kernels compute with.
pub(crate) trait Real: WithDType + Neg<Output = Self> + Default {
    const ZERO: Self;
    const ONE: Self;
    const NEG_INFINITY: Self;

    /// Nearest value of this type.
    fn of(value: f64) -> Self {
        Self::from_f64(value)
    }
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    fn tanh(self) -> Self;
    fn exp_m1(self) -> Self;
    fn erf(self) -> Self;
    fn abs(self) -> Self;
    fn is_nan(self) -> bool;
    /// The same slice, if this is f32.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;
    /// The same slice, if this is f32.
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]>;
    /// Calls `f` with this thread's scratch memory, whatever it holds; with new memory when called from within itself.
    fn with_scratch<R>(f: impl FnOnce(&mut Vec<Self>) -> R) -> R;
    /// The elements of a CPU storage of this type, to change them.
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
    /// The larger of two numbers; compiles to one instruction; any NaN gives an unspecified one of the two.
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

/// Elements of scratch memory that a thread keeps.
const LARGEST_SCRATCH: usize = 4 << 20;

macro_rules! real {
    ($T:ident, $Variant:ident, $exp:path, $tanh:path, $exp_m1:path, $erf:path, $values:ident => $single:expr) => {
        impl Real for $T {
            const ZERO: Self = 0.;
            const ONE: Self = 1.;
            const NEG_INFINITY: Self = $T::NEG_INFINITY;

            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $T::ln(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $T::sqrt(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $tanh(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                $exp_m1(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $T::abs(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $T::is_nan(self)
            }
            fn as_f32($values: &[Self]) -> Option<&[f32]> {
                $single
            }
            fn as_f32_mut($values: &mut [Self]) -> Option<&mut [f32]> {
                $single
            }
            fn with_scratch<R>(f: impl FnOnce(&mut Vec<Self>) -> R) -> R {
                thread_local!(static SCRATCH: std::cell::RefCell<Vec<$T>> = const { std::cell::RefCell::new(Vec::new()) });
                SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
                    Ok(mut scratch) => {
                        let result = f(&mut scratch);
                        // What is rarely needed is not kept.
                        if scratch.len() > LARGEST_SCRATCH {
                            *scratch = Vec::new();
                        }
                        result
                    }
                    Err(_) => f(&mut Vec::new()),
                })
            }
            fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
                match storage {
                    CpuStorage::$Variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}
real!(f32, F32, exp_f32, tanh_f32, exp_m1_f32, erf_f32, values => Some(values));
real!(f64, F64, f64::exp, f64::tanh, f64::exp_m1, erf_f64, _values => None);
