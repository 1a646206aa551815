//! Hierarchical pooling: one trait, pooling along given clusters, and learned pools.
//!
//! A pool *selects* how nodes become coarser nodes; from the [`Selection`] follow how features are *reduced*, how the coarser nodes are *connected*,
//! and how coarse features are *lifted* back (the terms of Grattarola et al., 2022).
//!
//! | item | paper |
//! |---|---|
//! | [`PrecomputedPool`] | clusters known beforehand; with those of a coding tree the pool of Wu et al., ICML 2022 |
//! | [`TopKPool`] | Gao & Ji, ICML 2019; Cangea et al., 2018 |
//! | [`SagPool`] | Lee et al., ICML 2019 |
//! | [`AsapPool`] | Ranjan et al., AAAI 2020 |
//! | [`DiffPool`] | Ying et al., NeurIPS 2018 |
//! | [`MinCutPool`] | Bianchi et al., ICML 2020 |

mod asap;
#[doc(hidden)] // the golden tests call its functions with reference tensors
pub mod dense;
mod dense_pools;
mod kind;
mod neighborhoods;
mod norm;
mod pooled;
mod precomputed;
mod sag;
mod selection;
mod top_k;

pub use asap::{AsapPool, asap_pool};
pub use dense_pools::{DiffPool, MinCutPool, diff_pool, min_cut_pool};
pub use kind::PoolKind;
pub use pooled::{Pool, Pooled};
pub use precomputed::PrecomputedPool;
pub use sag::{SagPool, SagScore, sag_pool};
pub use selection::{DenseSelection, Kept, Selection};
pub use top_k::{TopKPool, top_k_pool};
