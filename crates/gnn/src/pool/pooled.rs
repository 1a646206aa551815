//! What every pool does, and what it returns.

use super::selection::Selection;
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
    /// How they were selected; [`Selection::lift`] unpools.
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
