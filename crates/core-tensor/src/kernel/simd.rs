//! One loop, compiled for several instruction sets and chosen at run time, so that programs stay portable.

use super::Real;

/// Defines a generic function over [`Real`](crate::kernel::Real) whose body is compiled three times on x86-64 (for AVX-512, for AVX2, and for the baseline) and chosen at run time. The result has
/// the same bits on all of them, because no fused multiply-add is ever formed. Elsewhere it is an ordinary function.
///
/// The function returns nothing and has the type parameter `T` and at most one more. What the body calls must be inlined into it, by `#[inline(always)]`, to be compiled for the same instructions.
///
/// ```
/// use core_tensor::kernel::{Real, multiversion};
///
/// multiversion! {
///     /// `y = σ(x)`, element by element.
///     fn sigmoid<T>(x: &[T], y: &mut [T]) {
///         for (y, &x) in y.iter_mut().zip(x) {
///             *y = T::ONE / (T::ONE + Real::exp(-x));
///         }
///     }
/// }
///
/// let mut y = [0f32; 2];
/// sigmoid(&[0., 100.], &mut y);
/// assert_eq!(y, [0.5, 1.]);
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<T $(, $Extra:ident: $Bound:path)?>($($arg:ident : $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<T: $crate::kernel::Real $(, $Extra: $Bound)?>($($arg: $ty),*) {
            #[allow(clippy::too_many_arguments)]
            #[inline(always)]
            fn portable<T: $crate::kernel::Real $(, $Extra: $Bound)?>($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
                fn avx512<T: $crate::kernel::Real $(, $Extra: $Bound)?>($($arg: $ty),*) {
                    portable($($arg),*)
                }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2")]
                fn avx2<T: $crate::kernel::Real $(, $Extra: $Bound)?>($($arg: $ty),*) {
                    portable($($arg),*)
                }
                if ::std::arch::is_x86_feature_detected!("avx512f")
                    && ::std::arch::is_x86_feature_detected!("avx512dq")
                    && ::std::arch::is_x86_feature_detected!("avx512vl")
                    && ::std::arch::is_x86_feature_detected!("avx512bw")
                {
                    // SAFETY: the four instruction sets were found on this machine.
                    return unsafe { avx512($($arg),*) };
                }
                if ::std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the instruction set was found on this machine.
                    return unsafe { avx2($($arg),*) };
                }
            }
            portable($($arg),*)
        }
    };
}
#[doc(inline)]
pub use __multiversion as multiversion;

multiversion! {
    /// Replaces every element by its exponential.
    pub fn exp_all<T>(values: &mut [T]) {
        for value in values {
            *value = Real::exp(*value);
        }
    }
}

multiversion! {
    /// Adds the sum of all elements to the first element of `out`: sixteen interleaved sums, then those in order.
    pub fn sum_all<T>(x: &[T], out: &mut [T]) {
        let mut lanes = [T::ZERO; 16];
        let mut chunks = x.chunks_exact(16);
        for chunk in &mut chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += x;
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
            *lane += x;
        }
        for lane in lanes {
            out[0] += lane;
        }
    }
}

/// The sum of `f` over the elements of a slice in sixteen interleaved sums, to be inlined into a [`multiversion`] body.
#[inline(always)]
pub fn sum1<T: Real>(a: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; 16];
    let mut chunks = a.chunks_exact(16);
    for a in &mut chunks {
        for (lane, &a) in lanes.iter_mut().zip(a) {
            *lane += f(a);
        }
    }
    for (lane, &a) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += f(a);
    }
    lanes.into_iter().fold(T::ZERO, |sum, lane| sum + lane)
}

/// Like [`sum1`] over pairs of elements of slices of equal length.
#[inline(always)]
pub fn sum2<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; 16];
    let (mut aa, mut bb) = (a.chunks_exact(16), b.chunks_exact(16));
    for (a, b) in (&mut aa).zip(&mut bb) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(aa.remainder()).zip(bb.remainder()) {
        *lane += f(a, b);
    }
    lanes.into_iter().fold(T::ZERO, |sum, lane| sum + lane)
}

/// Like [`sum1`] over triples of elements of slices of equal length.
#[inline(always)]
pub fn sum3<T: Real>(a: &[T], b: &[T], c: &[T], f: impl Fn(T, T, T) -> T) -> T {
    let mut lanes = [T::ZERO; 16];
    let (mut aa, mut bb, mut cc) = (a.chunks_exact(16), b.chunks_exact(16), c.chunks_exact(16));
    for ((a, b), c) in (&mut aa).zip(&mut bb).zip(&mut cc) {
        for (((lane, &a), &b), &c) in lanes.iter_mut().zip(a).zip(b).zip(c) {
            *lane += f(a, b, c);
        }
    }
    for (((lane, &a), &b), &c) in lanes.iter_mut().zip(aa.remainder()).zip(bb.remainder()).zip(cc.remainder()) {
        *lane += f(a, b, c);
    }
    lanes.into_iter().fold(T::ZERO, |sum, lane| sum + lane)
}
