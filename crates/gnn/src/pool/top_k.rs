//! TopK pooling: keep the nodes with the largest projection on a learned direction.

use super::norm::{norm, one_where_zero};
use super::pooled::Pool;
use super::selection::{Kept, Selection};
use crate::{Batch, Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use core_tensor::rounding::ceil_to_count;
use core_tensor::sparse::Index;
use core_tensor::{init, ops};

/// `s = tanh(X p / ‖p‖)`, 0 where `p = 0`; keeps the `⌈ratio · n⌉` best nodes of each graph, with features `X s`.
#[derive(Debug, Clone)]
pub struct TopKPool {
    direction: Tensor,
    ratio: f64,
}

/// A pool with `select.weight` `[1, features]`, uniform in `±1/√features`.
///
/// # Errors
/// A ratio outside `(0, 1]`, or a parameter that exists with another shape.
pub fn top_k_pool(features: usize, ratio: f64, vb: VarBuilder<'_>) -> Result<TopKPool> {
    let ratio = check_ratio(ratio)?;
    let direction = vb.pp("select").get_with_hints((1, features), "weight", init::fan_in_uniform(features))?;
    Ok(TopKPool { direction, ratio })
}

impl TopKPool {
    /// The score of each node, `[n]`.
    ///
    /// # Errors
    /// Features of another width.
    pub fn scores(&self, x: &Tensor) -> Result<Tensor> {
        let norm = one_where_zero(&norm(&ops::sum_all(&ops::sqr(&self.direction)?)?)?)?;
        let projection = ops::linear(x, &self.direction, None)?.squeeze(1)?;
        Ok(ops::tanh(&ops::div(&projection, &norm)?)?)
    }
}

impl Pool for TopKPool {
    fn select(&self, x: &Tensor, batch: &Batch) -> Result<Selection> {
        let features = self.direction.dims()[1];
        batch.adjacency().check_layer("TopKPool::select", x, features, &self.direction)?;
        keep_best(&self.scores(x)?, batch, self.ratio).map(Selection::Kept)
    }
}

pub(super) fn check_ratio(ratio: f64) -> Result<f64> {
    if ratio > 0.0 && ratio <= 1.0 {
        return Ok(ratio);
    }
    let expected = "a share of nodes to keep in (0, 1]";
    Err(Error::InvalidConfig { what: "ratio", got: ratio.to_string(), expected })
}

/// The nodes with the largest scores of each graph, gated by their scores; the earlier node wins a tie.
pub(super) fn keep_best(scores: &Tensor, batch: &Batch, ratio: f64) -> Result<Kept> {
    let values: Vec<f64> = scores.detach().to_dtype(DType::F64)?.to_vec1()?;
    if let Some(position) = values.iter().position(|value| value.is_nan()) {
        let got = values[position];
        return Err(Error::NotFinite { operation: "Pool::select", what: "scores", position, got });
    }
    let mut members = vec![Vec::new(); batch.num_graphs()];
    for (node, &graph) in batch.graphs().ids().iter().enumerate() {
        members[graph as usize].push(node as u32);
    }
    let mut nodes = Vec::new();
    for mut members in members {
        let count = ceil_to_count(ratio * members.len() as f64);
        members.sort_by(|&a, &b| values[b as usize].total_cmp(&values[a as usize]));
        nodes.extend_from_slice(&members[..count.min(members.len())]);
    }
    let gate = Index::new(&nodes, batch.num_nodes())?.gather(scores)?;
    Ok(Kept { nodes, gate, neighborhoods: None, num_nodes: batch.num_nodes() })
}
