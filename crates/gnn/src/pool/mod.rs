//! Hierarchical pooling: one trait, and the pools that SEP is compared with.
//!
//! A pool *selects* how nodes become coarser nodes; from the [`Selection`] follow how features are *reduced*, how the coarser nodes are *connected*,
//! and how coarse features are *lifted* back (the terms of Grattarola et al., 2022).
//!
//! | item | paper |
//! |---|---|
//! | [`SepPool`](crate::sep::SepPool) | Wu et al., ICML 2022: clusters of a coding tree |
//! | [`TopKPool`] | Gao & Ji, ICML 2019; Cangea et al., 2018 |
//! | [`SagPool`] | Lee et al., ICML 2019 |
//! | [`AsapPool`] | Ranjan et al., AAAI 2020 |
//! | [`DiffPool`] | Ying et al., NeurIPS 2018 |
//! | [`MinCutPool`] | Bianchi et al., ICML 2020 |

mod asap;
pub mod dense;
mod dense_pools;
mod kind;
mod sag;
mod selection;
mod top_k;

pub use asap::{AsapPool, asap_pool};
pub use dense_pools::{DiffPool, MinCutPool, diff_pool, min_cut_pool};
pub use kind::PoolKind;
pub use sag::{SagPool, SagScore, sag_pool};
pub use selection::{DenseSelection, Kept, Selection};
pub use top_k::{TopKPool, top_k_pool};

use crate::{Batch, Result};
use candle_core::Tensor;

/// A layer that makes a batch of graphs coarser.
pub trait Pool: std::fmt::Debug + Send + Sync {
    /// Decides how the nodes, with features `x` `[n, f]`, become coarser nodes.
    ///
    /// # Errors
    /// Features that do not fit the batch or the layer.
    fn select(&self, x: &Tensor, batch: &Batch) -> Result<Selection>;

    /// Features, connections and losses of the coarser batch.
    ///
    /// # Errors
    /// As [`Pool::select`].
    fn pool(&self, x: &Tensor, batch: &Batch) -> Result<Pooled> {
        let selection = self.select(x, batch)?;
        Ok(Pooled { x: selection.reduce(x)?, batch: selection.connect(batch)?, selection })
    }
}

/// What a pool returns.
#[derive(Debug)]
pub struct Pooled {
    /// Features of the coarser nodes.
    pub x: Tensor,
    /// The coarser graphs.
    pub batch: Batch,
    /// How they came about; [`Selection::lift`] goes the way back.
    pub selection: Selection,
}

impl Pooled {
    /// The sum of the pool's own losses, to be added to the task's; `None` for pools without.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn auxiliary_loss(&self) -> Result<Option<Tensor>> {
        let Selection::Dense(dense) = &self.selection else { return Ok(None) };
        let mut losses = dense.losses.iter().map(|(_, loss)| loss.clone());
        let Some(first) = losses.next() else { return Ok(None) };
        Ok(Some(losses.try_fold(first, |sum, loss| sum + loss)?))
    }
}
