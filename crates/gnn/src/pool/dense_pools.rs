//! DiffPool and MinCutPool as layers on batches.

use super::dense::{self, DensePooled};
use super::pooled::Pool;
use super::selection::{DenseSelection, Selection};
use crate::conv::{Convolution, GcnConv, gcn_conv};
use crate::{Batch, Error, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear};
use core_tensor::sparse::{Index, SparsePattern};

/// DiffPool with assignment logits from a GCN.
///
/// With `S = softmax(GCN(X, A))` over the clusters: features `Sᵀ X`, adjacency `Sᵀ A S`, losses `link = ‖A - S Sᵀ‖_F / numel(A)` over the whole
/// padded batch and `entropy`, the mean over all rows, padded ones included, of `-Σ_c S log(S + 1e-15)`.
#[derive(Debug, Clone)]
pub struct DiffPool {
    assign: GcnConv,
    num_clusters: usize,
}

/// MinCutPool with assignment logits from a linear layer.
///
/// With `S = softmax(X Wᵀ + b)` over the clusters: features `Sᵀ X`; adjacency `Sᵀ A S` with zero diagonal, normalised by `√row sum + 1e-15` on both
/// sides; losses `cut = -tr(Sᵀ A S) / tr(Sᵀ D S)` and `orthogonality = ‖SᵀS/‖SᵀS‖_F - I/√K‖_F`, each the mean over graphs. A graph without edges
/// cuts nothing and counts 0 (PyTorch Geometric gives NaN); one without nodes counts 0 in both.
#[derive(Debug, Clone)]
pub struct MinCutPool {
    assign: Linear,
    num_clusters: usize,
}

/// A pool into `num_clusters` clusters per graph, with a GCN `assign`.
///
/// # Errors
/// No clusters, or parameters that exist with other shapes.
pub fn diff_pool(features: usize, num_clusters: usize, vb: VarBuilder<'_>) -> Result<DiffPool> {
    let num_clusters = check_clusters(num_clusters)?;
    Ok(DiffPool { assign: gcn_conv(features, num_clusters, vb.pp("assign"))?, num_clusters })
}

/// A pool into `num_clusters` clusters per graph, with a linear layer `assign`.
///
/// # Errors
/// No clusters, or parameters that exist with other shapes.
pub fn min_cut_pool(features: usize, num_clusters: usize, vb: VarBuilder<'_>) -> Result<MinCutPool> {
    let num_clusters = check_clusters(num_clusters)?;
    Ok(MinCutPool { assign: linear(features, num_clusters, vb.pp("assign"))?, num_clusters })
}

fn check_clusters(num_clusters: usize) -> Result<usize> {
    if num_clusters > 0 {
        return Ok(num_clusters);
    }
    Err(Error::InvalidConfig { what: "num_clusters", got: "0".into(), expected: "at least 1" })
}

impl Pool for DiffPool {
    fn select(&self, x: &Tensor, batch: &Batch) -> Result<Selection> {
        batch.adjacency().check_layer("DiffPool::select", x, self.assign.inputs(), self.assign.weight())?;
        let logits = self.assign.forward(x, batch.adjacency())?;
        select_dense(&logits, self.num_clusters, batch, |adjacency, logits, mask| {
            dense::diff_pool(None, adjacency, logits, mask)
        })
    }
}

impl Pool for MinCutPool {
    fn select(&self, x: &Tensor, batch: &Batch) -> Result<Selection> {
        let weight = self.assign.weight();
        batch.adjacency().check_layer("MinCutPool::select", x, weight.dims()[1], weight)?;
        let logits = self.assign.forward(x)?;
        select_dense(&logits, self.num_clusters, batch, |adjacency, logits, mask| {
            dense::min_cut_pool(None, adjacency, logits, mask)
        })
    }
}

fn select_dense(
    logits: &Tensor,
    num_clusters: usize,
    batch: &Batch,
    pool: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<DensePooled>,
) -> Result<Selection> {
    let (adjacency, mask, slot_of_node) = dense::from_batch(batch)?;
    let (graphs, slots) = mask.dims2()?;
    let nodes: Vec<u32> = (0..batch.num_nodes() as u32).collect();
    let rows_to_slots = SparsePattern::from_edges(graphs * slots, batch.num_nodes(), &slot_of_node, &nodes)?;
    let logits = rows_to_slots.matmul(logits)?.reshape((graphs, slots, num_clusters))?;
    let pooled = pool(&adjacency, &logits, &mask)?;
    Ok(Selection::Dense(DenseSelection {
        assignment: pooled.assignment,
        slots: Index::new(&slot_of_node, graphs * slots)?,
        adjacency: pooled.adjacency,
        losses: pooled.losses.into(),
        rows_to_slots,
    }))
}
