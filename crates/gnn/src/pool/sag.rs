//! SAGPool: TopK on scores that a graph convolution computes.

use super::norm::{norm, one_where_zero};
use super::pooled::Pool;
use super::selection::Selection;
use super::top_k::{check_ratio, keep_best};
use crate::conv::{Convolution, gcn_conv, graph_conv};
use crate::{Batch, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::{init, ops};

/// `s = tanh(a w / |w|)`, 0 where `w = 0`, with `a = GNN(X, A)`; keeps the `⌈ratio · n⌉` best nodes of each graph, with features `X s`.
#[derive(Debug)]
pub struct SagPool {
    gnn: Box<dyn Convolution>,
    scale: Tensor,
    features: usize,
    ratio: f64,
}

/// Which convolution scores the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SagScore {
    /// [`GraphConv`](crate::conv::GraphConv), PyTorch Geometric's default.
    GraphConv,
    /// [`GcnConv`](crate::conv::GcnConv), the paper's choice.
    Gcn,
}

/// A pool with the parameters of its convolution under `gnn` and `select.weight` `[1, 1]`, uniform in `±1`.
///
/// # Errors
/// A ratio outside `(0, 1]`, or parameters that exist with other shapes.
pub fn sag_pool(features: usize, ratio: f64, score: SagScore, vb: VarBuilder<'_>) -> Result<SagPool> {
    let ratio = check_ratio(ratio)?;
    let gnn: Box<dyn Convolution> = match score {
        SagScore::GraphConv => Box::new(graph_conv(features, 1, vb.pp("gnn"))?),
        SagScore::Gcn => Box::new(gcn_conv(features, 1, vb.pp("gnn"))?),
    };
    let scale = vb.pp("select").get_with_hints((1, 1), "weight", init::fan_in_uniform(1))?;
    Ok(SagPool { gnn, scale, features, ratio })
}

impl SagPool {
    /// The score of each node, `[n]`.
    ///
    /// # Errors
    /// Features that do not fit the batch or the layer.
    pub fn scores(&self, x: &Tensor, batch: &Batch) -> Result<Tensor> {
        batch.adjacency().check_layer("SagPool::select", x, self.features, &self.scale)?;
        let attention = self.gnn.forward(x, batch.adjacency())?;
        let direction = ops::div(&self.scale, &one_where_zero(&norm(&ops::sqr(&self.scale)?)?)?)?;
        Ok(ops::tanh(&ops::mul(&attention, &direction)?.squeeze(1)?)?)
    }
}

impl Pool for SagPool {
    fn select(&self, x: &Tensor, batch: &Batch) -> Result<Selection> {
        keep_best(&self.scores(x, batch)?, batch, self.ratio).map(Selection::Kept)
    }
}
