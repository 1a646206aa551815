//! Sixteen numbers in registers, for loops that compilers would otherwise turn over the wrong index.

use super::Real;

/// How many numbers there are.
pub(crate) const LANES: usize = 16;

/// Sixteen numbers. The functions of those for instruction sets may only be called where these are enabled, inlined.
pub(crate) trait Lanes<T>: Copy {
    /// Whether there are registers for more than a dozen of these.
    const IS_WIDE: bool;
    fn splat(x: T) -> Self;
    /// The first sixteen elements.
    fn load(x: &[T]) -> Self;
    fn store(self, out: &mut [T; LANES]);
    /// `self · factor + sum`, rounded once.
    fn mul_add(self, factor: Self, sum: Self) -> Self;
    /// Asks for what lies at an address, which need not be valid, to be brought near.
    #[inline(always)]
    fn prefetch(_: *const T) {}
}

impl<T: Real> Lanes<T> for [T; LANES] {
    const IS_WIDE: bool = false;

    #[inline(always)]
    fn splat(x: T) -> Self {
        [x; LANES]
    }

    #[inline(always)]
    fn load(x: &[T]) -> Self {
        let mut lanes = [T::ZERO; LANES];
        lanes.copy_from_slice(&x[..LANES]);
        lanes
    }

    #[inline(always)]
    fn store(self, out: &mut [T; LANES]) {
        *out = self;
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, mut sum: Self) -> Self {
        for ((sum, x), factor) in sum.iter_mut().zip(self).zip(factor) {
            *sum = x.mul_add(factor, *sum);
        }
        sum
    }
}

/// For functions with AVX-512 F.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512(std::arch::x86_64::__m512);

#[cfg(target_arch = "x86_64")]
impl Lanes<f32> for Avx512 {
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: the caller has AVX-512; so below.
        Self(unsafe { std::arch::x86_64::_mm512_set1_ps(x) })
    }

    #[inline(always)]
    fn load(x: &[f32]) -> Self {
        let x = &x[..LANES];
        // SAFETY: there are sixteen elements; the load needs no alignment.
        Self(unsafe { std::arch::x86_64::_mm512_loadu_ps(x.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        // SAFETY: there are sixteen elements; the store needs no alignment.
        unsafe { std::arch::x86_64::_mm512_storeu_ps(out.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { std::arch::x86_64::_mm512_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    fn prefetch(address: *const f32) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}

/// For functions with AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2([std::arch::x86_64::__m256; 2]);

#[cfg(target_arch = "x86_64")]
impl Lanes<f32> for Avx2 {
    const IS_WIDE: bool = false;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: the caller has AVX2 and FMA; so below.
        Self([unsafe { std::arch::x86_64::_mm256_set1_ps(x) }; 2])
    }

    #[inline(always)]
    fn load(x: &[f32]) -> Self {
        let x = &x[..LANES];
        // SAFETY: there are sixteen elements; loads need no alignment.
        Self([0, 8].map(|at| unsafe { std::arch::x86_64::_mm256_loadu_ps(x[at..].as_ptr()) }))
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        let [low, high] = self.0;
        let (first, second) = out.split_at_mut(LANES / 2);
        // SAFETY: there are eight elements each; stores need no alignment.
        unsafe {
            std::arch::x86_64::_mm256_storeu_ps(first.as_mut_ptr(), low);
            std::arch::x86_64::_mm256_storeu_ps(second.as_mut_ptr(), high);
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, sum: Self) -> Self {
        let ([a, b], [c, d], [e, f]) = (self.0, factor.0, sum.0);
        // SAFETY: as above.
        unsafe { Self([std::arch::x86_64::_mm256_fmadd_ps(a, c, e), std::arch::x86_64::_mm256_fmadd_ps(b, d, f)]) }
    }
}
