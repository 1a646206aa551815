//! The element types of kernels: f32 and f64.

use super::exponential::{
    cos_f32, erf_f32, erfc_f32, exp_f32, exp_m1_f32, ln_1p_f32, ln_f32, near_normal_f32, normal_f32, sigmoid_f32,
    sin_f32, softplus_f32, tanh_f32,
};
use super::gamma;
use candle_core::cpu::erf::{erf_f64, erfc_f64};
use candle_core::{CpuStorage, WithDType};
use std::ops::Neg;

mod sealed {
    pub trait Sealed {}
}

/// A floating-point number that kernels compute with: f32 or f64.
///
/// The functions of f32 are polynomials that compilers turn into vector instructions in the loops of [`multiversion!`](super::multiversion), correct to two units in the last place, with 0 in the place
/// of results of exponentials that would be subnormal; those of f64 are the standard library's.
pub trait Real: WithDType + Neg<Output = Self> + Default + sealed::Sealed {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// −∞.
    const NEG_INFINITY: Self;
    /// Not a number.
    const NAN: Self;

    /// Nearest value of this type.
    fn of(value: f64) -> Self {
        Self::from_f64(value)
    }
    /// `eˣ`; 0 and infinity beyond the range of the type.
    fn exp(self) -> Self;
    /// `self · factor + summand`, rounded once. In loops of [`multiversion!`](super::multiversion) one instruction on processors of the last ten years; elsewhere a call of the C library.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// `1 / (1 + e^{−x})`, to the relative precision of the type.
    fn sigmoid(self) -> Self;
    /// The sine of a number below 2⁵⁰ in magnitude; beyond that f32 gives some number, f64 the sine.
    fn sin(self) -> Self;
    /// The cosine; as [`Real::sin`].
    fn cos(self) -> Self;
    /// `eˣ − 1`, without cancellation near 0.
    fn exp_m1(self) -> Self;
    /// `log(1 + x)`, without cancellation near 0.
    fn ln_1p(self) -> Self;
    /// `log(1 + eˣ)`, to the relative precision of the type for any `x`.
    fn softplus(self) -> Self;
    /// `log Γ(x)` for a positive number; others give some number. In the relative precision of f64 for both types, as the next three.
    fn lgamma(self) -> Self;
    /// `ψ(x)`, the derivative of [`Real::lgamma`].
    fn digamma(self) -> Self;
    /// `ψ₁(x)`, the derivative of [`Real::digamma`].
    fn trigamma(self) -> Self;
    /// `ψ₂(x)`, the derivative of [`Real::trigamma`].
    fn tetragamma(self) -> Self;
    /// The error function. `1 + erf(x)` has no correct digit where `erf` is nearly −1: for the normal distribution use [`Real::normal`].
    fn erf(self) -> Self;
    /// `1 − erf(x)`, to the relative precision of the type for any `x`.
    fn erfc(self) -> Self;
    /// The distribution function and the density of the standard normal, to the relative precision of the type for any argument.
    fn normal(self) -> (Self, Self);
    /// As [`Real::normal`], for f32 with a relative error of up to 5e-7, and 0 in its tails beyond 12.9, in two thirds of the time.
    fn near_normal(self) -> (Self, Self);
    /// `|x|`.
    fn abs(self) -> Self;
    /// Whether this is not a number.
    fn is_nan(self) -> bool;
    /// 0 in the place of a subnormal number (for f32 below 2⁻¹²⁶ ≈ 1.2e-38 in magnitude): where values decay, so that no later step computes with numbers for which some processors take a hundred cycles.
    fn or_zero(self) -> Self;
    /// The same slice, if this is f32.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;
    /// The same slice, if this is f32.
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]>;
    /// The same slice, if this is f64.
    fn as_f64(values: &[Self]) -> Option<&[f64]>;
    /// The same slice, if this is f64.
    fn as_f64_mut(values: &mut [Self]) -> Option<&mut [f64]>;
    /// Calls `f` with this thread's scratch memory, whatever it holds; with new memory when called from within itself.
    #[doc(hidden)]
    fn with_scratch<R>(f: impl FnOnce(&mut Vec<Self>) -> R) -> R;
    /// The elements of a CPU storage of this type, to change them.
    #[doc(hidden)]
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
    /// The elements of a CPU storage of this type.
    #[doc(hidden)]
    fn take(storage: CpuStorage) -> Option<Vec<Self>>;
    /// The larger of two numbers; compiles to one instruction; any NaN gives an unspecified one of the two.
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

fn softplus_f64(x: f64) -> f64 {
    // A NaN must not vanish in the comparison.
    let positive = if x <= 0. { 0. } else { x };
    positive + (-x.abs()).exp().ln_1p()
}

fn normal_f64(x: f64) -> (f64, f64) {
    let distribution = 0.5 * erfc_f64(-x * std::f64::consts::FRAC_1_SQRT_2);
    (distribution, 0.398_942_280_401_432_7 * (-0.5 * x * x).exp())
}

/// Elements of scratch memory that a thread keeps.
const LARGEST_SCRATCH: usize = 4 << 20;

/// A function of f64, rounded.
macro_rules! rounded {
    ($($name:ident = $path:path),*) => {
        $(
            #[inline(always)]
            fn $name(x: f32) -> f32 {
                $path(f64::from(x)) as f32
            }
        )*
    };
}
rounded!(
    lgamma_f32 = gamma::lgamma,
    digamma_f32 = gamma::digamma,
    trigamma_f32 = gamma::trigamma,
    tetragamma_f32 = gamma::tetragamma
);

fn sigmoid_f64(x: f64) -> f64 {
    1. / (1. + (-x).exp())
}

macro_rules! real {
    (
        $T:ident, $Bits:ident, $Variant:ident,
        [$($function:ident: $path:path),*],
        $normal:path, $near_normal:path,
        $values:ident => $single:expr, $double:expr
    ) => {
        impl sealed::Sealed for $T {}

        impl Real for $T {
            const ZERO: Self = 0.;
            const ONE: Self = 1.;
            const NEG_INFINITY: Self = $T::NEG_INFINITY;
            const NAN: Self = $T::NAN;

            $(
                #[inline(always)]
                fn $function(self) -> Self {
                    $path(self)
                }
            )*
            #[inline(always)]
            fn mul_add(self, factor: Self, summand: Self) -> Self {
                $T::mul_add(self, factor, summand)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $T::sqrt(self)
            }
            #[inline(always)]
            fn normal(self) -> (Self, Self) {
                $normal(self)
            }
            #[inline(always)]
            fn near_normal(self) -> (Self, Self) {
                $near_normal(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $T::abs(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $T::is_nan(self)
            }
            #[inline(always)]
            fn or_zero(self) -> Self {
                // By its bits, since a comparison would itself be an operation with a subnormal number.
                const EXPONENT: $Bits = $T::INFINITY.to_bits();
                if self.to_bits() & EXPONENT == 0 { 0. } else { self }
            }
            fn as_f32($values: &[Self]) -> Option<&[f32]> {
                $single
            }
            fn as_f32_mut($values: &mut [Self]) -> Option<&mut [f32]> {
                $single
            }
            fn as_f64($values: &[Self]) -> Option<&[f64]> {
                $double
            }
            fn as_f64_mut($values: &mut [Self]) -> Option<&mut [f64]> {
                $double
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
            fn take(storage: CpuStorage) -> Option<Vec<Self>> {
                match storage {
                    CpuStorage::$Variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}
real!(
    f32, u32, F32,
    [
        exp: exp_f32, ln: ln_f32, tanh: tanh_f32, sigmoid: sigmoid_f32, sin: sin_f32, cos: cos_f32, exp_m1: exp_m1_f32,
        ln_1p: ln_1p_f32, softplus: softplus_f32, erf: erf_f32, erfc: erfc_f32, lgamma: lgamma_f32, digamma: digamma_f32,
        trigamma: trigamma_f32, tetragamma: tetragamma_f32
    ],
    normal_f32, near_normal_f32,
    values => Some(values), { let _ = values; None }
);
real!(
    f64, u64, F64,
    [
        exp: f64::exp, ln: f64::ln, tanh: f64::tanh, sigmoid: sigmoid_f64, sin: f64::sin, cos: f64::cos,
        exp_m1: f64::exp_m1, ln_1p: f64::ln_1p, softplus: softplus_f64, erf: erf_f64, erfc: erfc_f64, lgamma: gamma::lgamma,
        digamma: gamma::digamma, trigamma: gamma::trigamma, tetragamma: gamma::tetragamma
    ],
    normal_f64, normal_f64,
    values => { let _ = values; None }, Some(values)
);
