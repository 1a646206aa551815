//! Sparse matrices, message passing and operations over segments, with gradients.
//!
//! A [`SparsePattern`] holds the positions of entries; its methods multiply, normalise and reduce along it:
//!
//! | operation | formula |
//! |---|---|
//! | [`SparsePattern::matmul`] | `y[r] = Σ_{e: row(e) = r} x[col(e)]` |
//! | [`SparsePattern::matmul_weighted`] | `y[r] = Σ_{e: row(e) = r} v[e] · x[col(e)]` |
//! | [`SparsePattern::sampled_dot`] | `v[e] = ⟨a[row(e)], b[col(e)]⟩` |
//! | [`SparsePattern::segment_mean`], [`segment_max`](SparsePattern::segment_max), [`segment_min`](SparsePattern::segment_min) | mean, maximum, minimum instead of the sum |
//! | [`SparsePattern::segment_softmax`] | `p[e] = exp(s[e]) / Σ_{e': row(e') = row(e)} exp(s[e'])` |
//! | [`SparsePattern::gather_rows`], [`gather_cols`](SparsePattern::gather_cols) | `v[e] = x[row(e)]`, `v[e] = x[col(e)]` |
//! | [`SparsePattern::sum_entries`] | `y[r] = Σ_{e: row(e) = r} v[e]` |
//!
//! [`RowBlocks`] multiplies with a matrix that is zero but for dense blocks of rows and columns. [`Segments`] does the same as a pattern for the rows of one tensor that are assigned to groups (the nodes of a batch of graphs), and
//! [`gather`] picks rows by index. On the CPU each is one fused kernel over threads, with the same bits for any number of
//! threads. On CUDA the products are kernels too; everything else, and other devices, run compositions of Candle operations.

#[cfg(feature = "cuda")]
mod cuda;
mod device_indices;
mod extremum;
mod gather;
mod kernels;
mod matmul;
mod pattern;
#[doc(hidden)]
pub mod reference;
mod row_blocks;
mod sampled_dot;
mod segments;
mod softmax;

pub use gather::{Index, gather};
pub use pattern::SparsePattern;
pub use row_blocks::RowBlocks;
pub use segments::Segments;
