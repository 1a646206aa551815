//! What every CPU kernel of this crate needs: the element types, access to the data of a tensor, loops over threads, and
//! loops compiled for several instruction sets.

mod exponential;
mod gemm;
mod parallel;
mod real;
mod simd;
mod storage;

pub(crate) use gemm::{Matrix, gemm};
pub(crate) use parallel::{MIN_WORK_PER_TASK, for_row_entries, for_rows, for_slices, for_slices2};
pub(crate) use real::Real;
pub(crate) use simd::{exp_all, multiversion};
pub(crate) use storage::{build, collect, contiguous, dispatch_real, dispatch_tensor, into_storage, slice, with_slice};
