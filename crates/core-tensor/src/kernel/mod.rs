//! CPU kernels of your own: a differentiable operation from two functions of slices, and what its loops need. For our crates and the brave.
//!
//! An operation is a [`Kernel`]: `forward` computes the elements of the result from slices of the arguments, `backward` the gradients. [`apply`] makes a Candle operation of it, with the tape, layouts,
//! dtypes, errors, and gradients of variables that are handed to [`crate::backward`] the moment they are found. Needed `unsafe` stays in here.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use core_tensor::kernel::{Gradients, Kernel, Real, apply, for_slices, multiversion};
//!
//! /// `y = a · tanh(b)`.
//! struct ScaledTanh;
//!
//! multiversion! {
//!     fn values<T>(a: &[T], b: &[T], y: &mut [T]) {
//!         for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
//!             *y = a * Real::tanh(b);
//!         }
//!     }
//! }
//!
//! impl Kernel for ScaledTanh {
//!     const NAME: &'static str = "scaled tanh";
//!
//!     fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
//!         let mut y = vec![T::ZERO; x[0].len()];
//!         // pieces of whole elements, over threads, 16 steps for each
//!         for_slices(&mut y, 1, 16, &|first, y| values(&x[0][first..], &x[1][first..], y));
//!         Ok(y)
//!     }
//!
//!     fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], needs: [bool; 3]) -> candle_core::Result<Gradients<T>> {
//!         let of_a = needs[0].then(|| grad.iter().zip(x[1]).map(|(&g, &b)| g * Real::tanh(b)).collect());
//!         let of_b = needs[1].then(|| {
//!             let slope = |b: T| T::ONE - Real::tanh(b) * Real::tanh(b);
//!             grad.iter().zip(x[0]).zip(x[1]).map(|((&g, &a), &b)| g * a * slope(b)).collect()
//!         });
//!         Ok([of_a, of_b, None])
//!     }
//! }
//!
//! let (a, b) = (Var::new(&[2f32, 3.], &Device::Cpu)?, Tensor::new(&[0f32, 100.], &Device::Cpu)?);
//! let y = apply(ScaledTanh, &[a.as_tensor(), &b], a.shape())?;
//! assert_eq!(y.to_vec1::<f32>()?, [0., 3.]);
//! let gradients = core_tensor::backward(&y.sum_all()?)?;
//! assert_eq!(gradients.get(&a).unwrap().to_vec1::<f32>()?, [0., 1.]);
//! # Ok::<(), core_tensor::Error>(())
//! ```
//!
//! | for | there is |
//! |---|---|
//! | the operation | [`Kernel`], [`Gradients`], [`apply`] |
//! | element types | [`Real`] with `exp`, `tanh`, `erf`, …; [`dispatch_tensor!`], [`with_slice`] for tensors outside of a kernel |
//! | vector loops | [`multiversion!`], [`exp_all`], [`sum_all`], [`sum1`], [`sum2`], [`sum3`], [`dot()`] |
//! | matrices | [`Matrix`], [`gemm()`], [`gemm_strided`], [`product`], [`transpose`] |
//! | threads | [`for_slices`], [`for_slices2`], [`for_rows`], [`for_row_entries`], [`for_tasks`], [`MIN_WORK_PER_TASK`] |
//!
//! Loops over threads cut work by its shape and compute each output element in one task, so results have the same bits for any number of threads.

mod adapter;
pub(crate) mod constants;
mod contiguous;
mod exponential;
mod gamma;
mod gemm;
mod lanes;
mod parallel;
mod real;
mod simd;
mod storage;
mod strided;
mod transpose;

pub use adapter::{Gradients, Kernel, apply};
/// For [`dispatch_tensor!`].
#[doc(hidden)]
pub use candle_core;
pub use gemm::{Matrix, gemm, gemm_strided, product};
pub use parallel::{MIN_WORK_PER_TASK, for_row_entries, for_rows, for_slices, for_slices2, for_tasks};
pub use real::Real;
#[doc(hidden)]
#[cfg(target_arch = "x86_64")]
pub use simd::{Instructions, instructions};
pub use simd::{dot, exp_all, multiversion, sum_all, sum1, sum2, sum3};
pub use storage::{dispatch_tensor, with_slice};
pub use transpose::transpose;

pub(crate) use contiguous::contiguous;
pub(crate) use gamma::beyond as gamma_beyond;
#[cfg(target_arch = "x86_64")]
pub(crate) use lanes::{Avx2, Avx512};
pub(crate) use lanes::{LANES, Lanes};
pub(crate) use parallel::Parts;
pub(crate) use simd::{FEW_LANES, for_lanes, joined};
pub(crate) use storage::{build, collect, dispatch_real, into_storage, is_taped, keeps_tapes, slice, written};
pub(crate) use strided::{Dims, gather, scatter_add, simplified};
pub(crate) use transpose::{Extent, transpose_into};
