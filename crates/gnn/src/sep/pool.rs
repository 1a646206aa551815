//! Pooling and unpooling along a coding tree.

use crate::graph::mismatch;
use crate::pool::{Pool, Selection};
use crate::{Batch, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::Mode;
use core_tensor::nn::{BatchNorm1d, BatchNormConfig, Linear, batch_norm1d, linear};
use core_tensor::ops;

/// Sums the features of each cluster of the next tree layer, `X' = Sᵀ X`; [`Selection::lift`] copies a cluster's row to its members, `X = S X'`.
///
/// Without parameters: the clusters come with the batch (see [`Hierarchy::batch`](crate::Hierarchy::batch)).
#[derive(Debug, Clone, Copy)]
pub struct SepPool;

impl Pool for SepPool {
    fn select(&self, x: &Tensor, batch: &Batch) -> Result<Selection> {
        if x.dims().first() != Some(&batch.num_nodes()) {
            let detail = format!("{:?} features for {} nodes", x.dims(), batch.num_nodes());
            return Err(mismatch("SepPool", detail));
        }
        match batch.coarser() {
            Some(coarsening) => Ok(Selection::Clusters(coarsening.clone())),
            None => Err(mismatch("SepPool", "the batch has no coarser level; make it with Hierarchy::batch".into())),
        }
    }
}

/// `ReLU(BatchNorm(ReLU(Linear(x))))`: what SEP-N and SEP-U put behind each pooling and unpooling.
#[derive(Debug)]
pub(super) struct PoolMlp {
    linear: Linear,
    norm: BatchNorm1d,
}

impl PoolMlp {
    pub(super) fn new(width: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let vb = vb.pp("nn");
        Ok(Self {
            linear: linear(width, width, vb.pp("0"))?,
            norm: batch_norm1d(width, BatchNormConfig::default(), vb.pp("2"))?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let hidden = ops::linear(x, self.linear.weight(), None)?;
        let hidden = match self.linear.bias() {
            Some(bias) => ops::bias_relu(&hidden, bias)?,
            None => ops::relu(&hidden)?,
        };
        Ok(self.norm.forward_relu(&hidden, mode)?)
    }
}
