//! One loop, compiled for several instruction sets and chosen at run time, so that programs stay portable.

use super::Real;

/// Defines a generic function over [`Real`](crate::kernel::Real) whose body is compiled three times on x86-64 (for AVX-512, for AVX2, and for the baseline) and chosen at run time. The result has
/// the same bits on all of them: a multiplication and an addition are fused only where the source says so, by [`Real::mul_add`](crate::kernel::Real::mul_add), which rounds once everywhere (on x86-64
/// without fused instructions, that is before 2013, by a slow call of the C library). Elsewhere it is an ordinary function.
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
                #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,fma")]
                fn avx512<T: $crate::kernel::Real $(, $Extra: $Bound)?>($($arg: $ty),*) {
                    portable($($arg),*)
                }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2,fma")]
                fn avx2<T: $crate::kernel::Real $(, $Extra: $Bound)?>($($arg: $ty),*) {
                    portable($($arg),*)
                }
                match $crate::kernel::instructions() {
                    // SAFETY: the instruction sets were found on this machine.
                    $crate::kernel::Instructions::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::kernel::Instructions::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::kernel::Instructions::Baseline => {}
                }
            }
            portable($($arg),*)
        }
    };
}
#[doc(inline)]
pub use __multiversion as multiversion;

/// The instruction sets for which loops are compiled.
#[doc(hidden)]
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// Those that every processor of the architecture has.
    Baseline,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 (F, DQ, VL, BW) and FMA.
    Avx512,
}

/// The largest instruction set of this machine.
#[doc(hidden)]
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn instructions() -> Instructions {
    use std::sync::atomic::{AtomicU8, Ordering};
    // 0 until it was looked up; one load is all that short loops pay.
    static FOUND: AtomicU8 = AtomicU8::new(0);
    #[cold]
    fn look_up() -> u8 {
        let has_fma = is_x86_feature_detected!("fma");
        let has_avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw");
        let found = match (has_fma && has_avx512, has_fma && is_x86_feature_detected!("avx2")) {
            (true, _) => 3,
            (false, true) => 2,
            (false, false) => 1,
        };
        FOUND.store(found, Ordering::Relaxed);
        found
    }
    let found = match FOUND.load(Ordering::Relaxed) {
        0 => look_up(),
        found => found,
    };
    match found {
        3 => Instructions::Avx512,
        2 => Instructions::Avx2,
        _ => Instructions::Baseline,
    }
}

multiversion! {
    /// Replaces every element by its exponential.
    pub fn exp_all<T>(values: &mut [T]) {
        for value in values {
            *value = Real::exp(*value);
        }
    }
}

multiversion! {
    /// Adds the sum of all elements to the first element of `out`, in the order of [`sum1`].
    pub fn sum_all<T>(x: &[T], out: &mut [T]) {
        out[0] += sum1(x, |x| x);
    }
}

/// Interleaved sums: enough for the additions of one vector not to wait for those of the one before.
const LANES: usize = 64;
/// Those of short slices, and of what is left.
pub(crate) const FEW_LANES: usize = 16;

/// The sums of interleaved lanes: halves are added until sixteen are left.
#[inline(always)]
fn folded<T: Real>(mut lanes: [T; LANES]) -> [T; FEW_LANES] {
    let mut width = LANES / 2;
    while width >= FEW_LANES {
        for at in 0..width {
            lanes[at] += lanes[at + width];
        }
        width /= 2;
    }
    std::array::from_fn(|at| lanes[at])
}

/// Sixteen numbers joined to one by `join`, halves first.
#[inline(always)]
pub(crate) fn joined<T: Real>(mut lanes: [T; FEW_LANES], join: impl Fn(T, T) -> T) -> T {
    let mut width = FEW_LANES / 2;
    while width > 0 {
        for at in 0..width {
            lanes[at] = join(lanes[at], lanes[at + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Calls `f` with the place of the first and sixteen elements at a time, and with the last sixteen of them, where copies of `filler` replace those that it has seen; with what there is and copies of
/// `filler` behind it if that is less.
#[inline(always)]
pub(crate) fn for_lanes<T: Real>(x: &[T], filler: T, mut f: impl FnMut(usize, [T; FEW_LANES])) {
    let mut done = 0;
    for chunk in x.chunks_exact(FEW_LANES) {
        let mut lanes = [filler; FEW_LANES];
        lanes.copy_from_slice(chunk);
        f(done, lanes);
        done += FEW_LANES;
    }
    if done == x.len() {
        return;
    }
    let mut lanes = [filler; FEW_LANES];
    if let Some(last) = x.last_chunk::<FEW_LANES>() {
        let seen = (done + FEW_LANES - x.len()) as u32;
        for (at, (lane, &x)) in lanes.iter_mut().zip(last).enumerate() {
            *lane = if (at as u32) < seen { filler } else { x };
        }
        f(x.len() - FEW_LANES, lanes);
    } else {
        lanes[..x.len()].copy_from_slice(x);
        f(0, lanes);
    }
}

/// The sum of `f` over the elements of a slice: 64 interleaved sums while that many elements are left, sixteen for the others, to be inlined into a [`multiversion`] body.
#[inline(always)]
pub fn sum1<T: Real>(a: &[T], f: impl Fn(T) -> T) -> T {
    fold1(a, |sum, a| sum + f(a))
}

/// Like [`sum1`] over pairs of elements of slices of equal length.
#[inline(always)]
pub fn sum2<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    fold2(a, b, |sum, a, b| sum + f(a, b))
}

/// Like [`sum1`] over triples of elements of slices of equal length.
#[inline(always)]
pub fn sum3<T: Real>(a: &[T], b: &[T], c: &[T], f: impl Fn(T, T, T) -> T) -> T {
    let mut lanes = [T::ZERO; FEW_LANES];
    let mut done = 0;
    if a.len() >= LANES {
        let mut many = [T::ZERO; LANES];
        for ((a, b), c) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)).zip(c.chunks_exact(LANES)) {
            for (((lane, &a), &b), &c) in many.iter_mut().zip(a).zip(b).zip(c) {
                *lane += f(a, b, c);
            }
        }
        lanes = folded(many);
        done = a.len() / LANES * LANES;
    }
    let (mut aa, mut bb) = (a[done..].chunks_exact(FEW_LANES), b[done..].chunks_exact(FEW_LANES));
    let mut cc = c[done..].chunks_exact(FEW_LANES);
    for ((a, b), c) in (&mut aa).zip(&mut bb).zip(&mut cc) {
        for (((lane, &a), &b), &c) in lanes.iter_mut().zip(a).zip(b).zip(c) {
            *lane += f(a, b, c);
        }
    }
    for (((lane, &a), &b), &c) in lanes.iter_mut().zip(aa.remainder()).zip(bb.remainder()).zip(cc.remainder()) {
        *lane += f(a, b, c);
    }
    joined(lanes, |a, b| a + b)
}

/// The scalar product of slices of equal length, with fused multiplications and additions, in the order of [`sum1`].
#[inline(always)]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    fold2(a, b, |sum, a, b| a.mul_add(b, sum))
}

/// Interleaved sums of a slice, to which `add` adds an element.
#[inline(always)]
fn fold1<T: Real>(a: &[T], add: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; FEW_LANES];
    let mut done = 0;
    if a.len() >= LANES {
        let mut many = [T::ZERO; LANES];
        for a in a.chunks_exact(LANES) {
            for (lane, &a) in many.iter_mut().zip(a) {
                *lane = add(*lane, a);
            }
        }
        lanes = folded(many);
        done = a.len() / LANES * LANES;
    }
    let mut chunks = a[done..].chunks_exact(FEW_LANES);
    for a in &mut chunks {
        for (lane, &a) in lanes.iter_mut().zip(a) {
            *lane = add(*lane, a);
        }
    }
    for (lane, &a) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = add(*lane, a);
    }
    joined(lanes, |a, b| a + b)
}

/// Like [`fold1`] over pairs.
#[inline(always)]
fn fold2<T: Real>(a: &[T], b: &[T], add: impl Fn(T, T, T) -> T) -> T {
    let mut lanes = [T::ZERO; FEW_LANES];
    let mut done = 0;
    if a.len() >= LANES {
        let mut many = [T::ZERO; LANES];
        for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
            for ((lane, &a), &b) in many.iter_mut().zip(a).zip(b) {
                *lane = add(*lane, a, b);
            }
        }
        lanes = folded(many);
        done = a.len() / LANES * LANES;
    }
    let (mut aa, mut bb) = (a[done..].chunks_exact(FEW_LANES), b[done..].chunks_exact(FEW_LANES));
    for (a, b) in (&mut aa).zip(&mut bb) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = add(*lane, a, b);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(aa.remainder()).zip(bb.remainder()) {
        *lane = add(*lane, a, b);
    }
    joined(lanes, |a, b| a + b)
}
