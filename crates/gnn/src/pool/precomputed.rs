//! Pooling along clusters that were computed before training.

use super::pooled::Pool;
use super::selection::Selection;
use crate::door::check_kind;
use crate::{Batch, Error, Result};
use candle_core::Tensor;

/// Sums the features of each cluster of the batch's next coarser level, `X' = Sᵀ X`; [`Selection::lift`] copies a cluster's row to its
/// members, `X = S X'`.
///
/// Without parameters: the clusters come with the batch (see [`Hierarchy`](crate::Hierarchy)). With those of a coding tree this is SEP's pool.
#[derive(Debug, Clone, Copy)]
pub struct PrecomputedPool;

impl Pool for PrecomputedPool {
    fn select(&self, x: &Tensor, batch: &Batch) -> Result<Selection> {
        const OPERATION: &str = "PrecomputedPool::select";
        if x.dims().first() != Some(&batch.num_nodes()) {
            let expected = format!("[{} nodes, features]", batch.num_nodes());
            return Err(Error::Shape { operation: OPERATION, what: "x", got: x.dims().to_vec(), expected });
        }
        let adjacency = batch.adjacency();
        check_kind(OPERATION, "x", x, adjacency.dtype(), adjacency.device())?;
        match batch.coarser() {
            Some(coarsening) => Ok(Selection::Clusters(coarsening.clone())),
            None => {
                Err(Error::invalid_data(OPERATION, "the batch has no coarser level; make it with Hierarchy::batch"))
            }
        }
    }
}
