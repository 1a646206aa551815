//! DiffPool and MinCutPool as functions of dense, padded tensors.
//!
//! `x` is `[graphs, slots, features]`, `adjacency` `[graphs, slots, slots]`, `logits` `[graphs, slots, clusters]`, and `mask` `[graphs, slots]` is 1 where a slot holds a node.

use super::norm::{norm, one_where_zero};
use crate::{Adjacency, Batch, Result};
use candle_core::{D, Tensor};
use core_tensor::ops;

/// Added inside the logarithm and to normalisers, as in PyTorch Geometric.
const EPSILON: f64 = 1e-15;

/// What a dense pool returns.
#[derive(Debug, Clone)]
pub struct DensePooled {
    /// The assignment `S`, `[graphs, slots, clusters]`, zero in padded rows.
    pub assignment: Tensor,
    /// `Sᵀ X`, `[graphs, clusters, features]`; `None` without features.
    pub x: Option<Tensor>,
    /// The pooled adjacency, `[graphs, clusters, clusters]`.
    pub adjacency: Tensor,
    /// The pool's two losses.
    pub losses: [(&'static str, Tensor); 2],
}

/// DiffPool: `A' = Sᵀ A S`; losses `link = ‖A - S Sᵀ‖_F / numel(A)` over the whole padded batch and `entropy`, the mean over all rows, padded ones included, of
/// `-Σ_c S log(S + 1e-15)`. The norm has gradient 0 at 0.
///
/// # Errors
/// Shapes that do not fit.
pub fn diff_pool(x: Option<&Tensor>, adjacency: &Tensor, logits: &Tensor, mask: &Tensor) -> Result<DensePooled> {
    let assignment = masked_softmax(logits, mask)?;
    let transposed = ops::to_contiguous(&assignment.transpose(1, 2)?)?;
    let pooled = transposed.matmul(adjacency)?.matmul(&assignment)?;
    let difference = (adjacency - assignment.matmul(&transposed)?)?;
    let link = (norm(&ops::sum_all(&ops::sqr(&difference)?)?)? / adjacency.elem_count() as f64)?;
    let log = (&assignment + EPSILON)?.log()?;
    let entropy = ops::mean_all(&(&assignment * log)?.sum(D::Minus1)?.neg()?)?;
    let x = pool_features(x, mask, &transposed)?;
    Ok(DensePooled { assignment, x, adjacency: pooled, losses: [("link", link), ("entropy", entropy)] })
}

/// MinCutPool: `A' = Sᵀ A S` with zero diagonal, normalised by `√row sum + 1e-15` on both sides; losses `cut = -tr(Sᵀ A S) / tr(Sᵀ D S)` and
/// `orthogonality = ‖SᵀS/‖SᵀS‖_F - I/√K‖_F`, each the mean over graphs; a
/// graph without edges cuts nothing and counts 0 (PyTorch Geometric gives NaN); one without nodes counts 0 in both. Norms have gradient 0 at 0.
///
/// # Errors
/// Shapes that do not fit.
pub fn min_cut_pool(x: Option<&Tensor>, adjacency: &Tensor, logits: &Tensor, mask: &Tensor) -> Result<DensePooled> {
    let assignment = masked_softmax(logits, mask)?;
    let (_, _, clusters) = assignment.dims3()?;
    let transposed = ops::to_contiguous(&assignment.transpose(1, 2)?)?;
    let pooled = transposed.matmul(adjacency)?.matmul(&assignment)?;
    let eye = Tensor::eye(clusters, pooled.dtype(), pooled.device())?.unsqueeze(0)?;

    let degrees = adjacency.sum(D::Minus1)?.unsqueeze(D::Minus1)?;
    let weighted = ops::mul(&assignment, &degrees)?;
    let numerator = ops::mul(&pooled, &eye)?.sum((1, 2))?;
    let denominator = (weighted * &assignment)?.sum((1, 2))?;
    let cut = ops::mean_all(&(numerator / one_where_zero(&denominator)?)?.neg()?)?;

    let overlap = transposed.matmul(&assignment)?;
    // without nodes it is all zeros: such a graph has nothing to be orthogonal
    let square = ops::sqr(&overlap)?.sum_keepdim((1, 2))?;
    let has_nodes = square.gt(0.0)?.to_dtype(square.dtype())?;
    let target = ops::affine(&ops::mul(&eye, &has_nodes)?, 1.0 / (clusters as f64).sqrt(), 0.0)?;
    let difference = (ops::div(&overlap, &one_where_zero(&norm(&square)?)?)? - target)?;
    let orthogonality = ops::mean_all(&norm(&ops::sqr(&difference)?.sum((1, 2))?)?)?;

    let off_diagonal = ops::mul(&pooled, &(eye.neg()? + 1.0)?)?;
    // a row without connections is all zeros: any scale will do, and 1 keeps its gradients finite
    let scale = (one_where_zero(&off_diagonal.sum(D::Minus1)?)?.sqrt()? + EPSILON)?;
    let pooled = ops::div(&ops::div(&off_diagonal, &scale.unsqueeze(1)?)?, &scale.unsqueeze(2)?)?;
    let x = pool_features(x, mask, &transposed)?;
    let losses = [("cut", cut), ("orthogonality", orthogonality)];
    Ok(DensePooled { assignment, x, adjacency: pooled, losses })
}

fn masked_softmax(logits: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let softmax = candle_nn::ops::softmax(logits, D::Minus1)?;
    Ok(ops::mul(&softmax, &mask.unsqueeze(D::Minus1)?)?)
}

fn pool_features(x: Option<&Tensor>, mask: &Tensor, transposed: &Tensor) -> Result<Option<Tensor>> {
    let Some(x) = x else { return Ok(None) };
    let x = ops::mul(x, &mask.unsqueeze(D::Minus1)?)?;
    Ok(Some(transposed.matmul(&x)?))
}

/// The padded dense adjacency `[graphs, slots, slots]` and mask `[graphs, slots]` of a batch, and the flat slot of each node.
///
/// # Errors
/// Those of the tensor layer.
pub fn from_batch(batch: &Batch) -> Result<(Tensor, Tensor, Vec<u32>)> {
    let adjacency = batch.adjacency();
    let counts = batch.graphs().counts();
    let slots = counts.iter().copied().max().unwrap_or(0) as usize;
    let graphs = batch.num_graphs();
    let mut next = vec![0u32; graphs];
    let mut within = Vec::with_capacity(batch.num_nodes());
    for &graph in batch.graphs().ids() {
        within.push(next[graph as usize]);
        next[graph as usize] += 1;
    }
    let ids = batch.graphs().ids();
    let slot_of_node: Vec<u32> = ids.iter().zip(&within).map(|(graph, slot)| graph * slots as u32 + slot).collect();
    let places: Vec<u32> = std::iter::zip(adjacency.targets(), adjacency.sources())
        .map(|(&target, &source)| slot_of_node[target as usize] * slots as u32 + within[source as usize])
        .collect();
    let ones = || Tensor::ones(adjacency.num_entries(), adjacency.dtype(), adjacency.device());
    let weights = adjacency.weights().map_or_else(ones, |weights| Ok(weights.clone()))?;
    let flat = core_tensor::sparse::Segments::new(&places, graphs * slots * slots)?.sum(&weights)?;
    let mut mask = vec![0f64; graphs * slots];
    for &slot in &slot_of_node {
        mask[slot as usize] = 1.0;
    }
    let mask = Tensor::from_vec(mask, (graphs, slots), adjacency.device())?.to_dtype(adjacency.dtype())?;
    Ok((flat.reshape((graphs, slots, slots))?, mask, slot_of_node))
}

/// Dense pooled graphs as a batch whose weights stay on the tape; the diagonal becomes self-loops. Dtype and device are those of `like`.
pub(super) fn to_batch(adjacency: &Tensor, like: &Adjacency) -> Result<Batch> {
    let (graphs, clusters, _) = adjacency.dims3()?;
    let mut sources = Vec::with_capacity(adjacency.elem_count());
    let mut targets = Vec::with_capacity(adjacency.elem_count());
    for graph in 0..graphs {
        for row in 0..clusters {
            targets.extend(std::iter::repeat_n((graph * clusters + row) as u32, clusters));
            sources.extend((0..clusters).map(|column| (graph * clusters + column) as u32));
        }
    }
    let pooled = Adjacency::from_edge_index(graphs * clusters, &sources, &targets, like.dtype(), like.device())?
        .with_weights(adjacency.flatten_all()?)?;
    let graph_of_node: Vec<u32> = (0..graphs * clusters).map(|node| (node / clusters) as u32).collect();
    Batch::new(pooled, &graph_of_node, graphs)
}
