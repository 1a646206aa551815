//! What every CPU kernel of this crate needs: the element types, access to the data of a tensor, loops over threads, and
//! loops compiled for several instruction sets.

pub(crate) mod conv;
mod exponential;
mod fused;
mod gemm;
mod parallel;
mod real;
mod simd;
mod storage;
mod transpose;
mod winograd;

pub(crate) use fused::{Gradients, Kernel, apply};
pub(crate) use gemm::{Matrix, gemm, gemm_strided};
pub(crate) use parallel::{MIN_WORK_PER_TASK, Parts, for_row_entries, for_rows, for_slices, for_slices2, for_tasks};
pub(crate) use real::Real;
pub(crate) use simd::{exp_all, multiversion, sum_all, sum1, sum2, sum3};
pub(crate) use storage::{
    build, collect, contiguous, dispatch_real, dispatch_tensor, into_storage, is_taped, slice, with_slice,
};
pub(crate) use transpose::{Extent, transpose, transpose_into};
