//! How nodes become coarser nodes: reducing features, connecting the coarser nodes, lifting back.

use super::{dense, neighborhoods};
use crate::{Adjacency, Batch, Coarsening, Result};
use candle_core::{D, Tensor};
use core_tensor::ops;
use core_tensor::sparse::{Index, SparsePattern};

/// The outcome of [`Pool::select`](super::Pool::select).
#[derive(Debug, Clone)]
pub enum Selection {
    /// Every node belongs to one cluster; the coarser batch was computed beforehand.
    Clusters(Coarsening),
    /// Some nodes are kept, gated by their scores; the others are dropped.
    Kept(Kept),
    /// Every node belongs to every cluster of its graph with some weight.
    Dense(DenseSelection),
}

/// Kept nodes.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The kept nodes: graph by graph, the best first.
    pub nodes: Vec<u32>,
    /// Factor on the features of each kept node, `[kept]`.
    pub gate: Tensor,
    /// Weights of each node's neighbourhood, if kept nodes represent their neighbours too: the pattern has a row per centre.
    pub neighborhoods: Option<(SparsePattern, Tensor)>,
    pub(super) num_nodes: usize,
}

/// A soft assignment.
#[derive(Debug, Clone)]
pub struct DenseSelection {
    /// `[graphs, slots, clusters]`: rows of absent nodes are zero.
    pub assignment: Tensor,
    /// For each node its row in the flattened `[graphs · slots]`.
    pub slots: Index,
    /// The pooled adjacency `[graphs, clusters, clusters]`.
    pub adjacency: Tensor,
    /// Named losses that the pool adds to the task's.
    pub losses: Vec<(&'static str, Tensor)>,
    pub(super) rows_to_slots: SparsePattern,
}

impl Selection {
    /// Features of the coarser nodes, `[n, f] → [m, f]`.
    ///
    /// # Errors
    /// An `x` of another number of nodes.
    pub fn reduce(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Clusters(coarsening) => Ok(coarsening.clusters.sum(x)?),
            Self::Kept(kept) => {
                let x = match &kept.neighborhoods {
                    Some((pattern, weights)) => pattern.matmul_weighted(weights, x)?,
                    None => x.clone(),
                };
                let rows = Index::new(&kept.nodes, kept.num_nodes)?.gather(&x)?;
                Ok(ops::mul(&rows, &kept.gate.unsqueeze(1)?)?)
            }
            Self::Dense(dense) => {
                let (graphs, slots, clusters) = dense.assignment.dims3()?;
                let features = x.dim(D::Minus1)?;
                let x = dense.rows_to_slots.matmul(x)?.reshape((graphs, slots, features))?;
                let pooled = ops::to_contiguous(&dense.assignment.transpose(1, 2)?)?.matmul(&x)?;
                Ok(pooled.reshape((graphs * clusters, features))?)
            }
        }
    }

    /// The graphs of the coarser nodes.
    ///
    /// # Errors
    /// A batch of another number of nodes.
    pub fn connect(&self, batch: &Batch) -> Result<Batch> {
        match self {
            Self::Clusters(coarsening) => Ok(coarsening.batch.clone()),
            Self::Kept(kept) => {
                let adjacency = match &kept.neighborhoods {
                    None => induced(batch.adjacency(), &kept.nodes)?,
                    Some((pattern, weights)) => {
                        neighborhoods::connect(batch.adjacency(), pattern, weights, &kept.nodes)?
                    }
                };
                let of_node = batch.graphs().ids();
                let graphs: Vec<u32> = kept.nodes.iter().map(|&node| of_node[node as usize]).collect();
                Batch::new(adjacency, &graphs, batch.num_graphs())
            }
            Self::Dense(dense) => dense::to_batch(&dense.adjacency, batch.adjacency()),
        }
    }

    /// Coarse features back on the nodes, `[m, f] → [n, f]`: each cluster's row copied to its members; kept rows back at their nodes and zeros elsewhere; `S X'`.
    ///
    /// # Errors
    /// Features of another number of coarser nodes.
    pub fn lift(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Clusters(coarsening) => Ok(coarsening.clusters.broadcast(x)?),
            Self::Kept(kept) => {
                let positions: Vec<u32> = (0..kept.nodes.len() as u32).collect();
                let place = SparsePattern::from_edges(kept.num_nodes, kept.nodes.len(), &kept.nodes, &positions)?;
                Ok(place.matmul(x)?)
            }
            Self::Dense(dense) => {
                let (graphs, slots, clusters) = dense.assignment.dims3()?;
                let features = x.dim(D::Minus1)?;
                let x = dense.assignment.matmul(&ops::to_contiguous(&x.reshape((graphs, clusters, features))?)?)?;
                Ok(dense.slots.gather(&x.reshape((graphs * slots, features))?)?)
            }
        }
    }
}

/// The subgraph on `nodes`, renumbered in their order.
fn induced(adjacency: &Adjacency, nodes: &[u32]) -> Result<Adjacency> {
    let mut position = vec![u32::MAX; adjacency.num_nodes()];
    for (i, &node) in nodes.iter().enumerate() {
        position[node as usize] = i as u32;
    }
    let mut kept_entries = Vec::new();
    let mut sources = Vec::new();
    let mut targets = Vec::new();
    for (entry, (&source, &target)) in adjacency.sources().iter().zip(adjacency.targets()).enumerate() {
        let (source, target) = (position[source as usize], position[target as usize]);
        if source != u32::MAX && target != u32::MAX {
            kept_entries.push(entry as u32);
            sources.push(source);
            targets.push(target);
        }
    }
    let induced = Adjacency::from_edge_index(nodes.len(), &sources, &targets, adjacency.dtype(), adjacency.device())?;
    match adjacency.weights() {
        None => Ok(induced),
        Some(weights) => induced.with_weights(core_tensor::sparse::gather(weights, &kept_entries)?),
    }
}
