//! A graph prepared for batches, and several of them joined into one block-diagonal adjacency.

use crate::adjacency::{Adjacency, SymmetricNormalisation};
use crate::graph::check_num_nodes;
use crate::{Error, Graph, Result};
use candle_core::{DType, Device, Tensor};
use core_tensor::sparse::SparsePattern;

/// The entries of one graph and of the loops that symmetric normalisation adds, with normalised values: putting it into a batch only copies.
#[derive(Debug, Clone)]
pub(crate) struct LevelGraph {
    num_nodes: usize,
    targets: Vec<u32>,
    sources: Vec<u32>,
    loops: Vec<u32>,
    /// Normalised values of the entries, then of the loops that were added.
    values: Vec<f64>,
    weights: Option<Vec<f64>>,
}

impl LevelGraph {
    pub(crate) fn new(operation: &'static str, graph: &Graph) -> Result<Self> {
        let num_nodes = graph.num_nodes();
        if num_nodes == 0 {
            return Err(Error::EmptyGraph { operation });
        }
        let mut level = Self {
            num_nodes,
            targets: Vec::with_capacity(graph.num_entries()),
            sources: Vec::with_capacity(graph.num_entries()),
            loops: Vec::new(),
            values: Vec::new(),
            weights: None,
        };
        let mut weights = Vec::with_capacity(graph.num_entries());
        let mut scale = vec![0.0; num_nodes];
        for (node, scale) in scale.iter_mut().enumerate() {
            let mut degree = 0.0;
            let mut has_loop = false;
            for (neighbor, weight) in graph.weighted_neighbors(node) {
                level.targets.push(node as u32);
                level.sources.push(neighbor);
                weights.push(weight);
                degree += weight;
                has_loop |= neighbor as usize == node;
            }
            if !has_loop {
                level.loops.push(node as u32);
                degree += 1.0;
            }
            *scale = 1.0 / f64::sqrt(degree);
        }
        let entries = level.targets.iter().zip(&level.sources).zip(&weights);
        level.values = entries.map(|((&t, &s), weight)| weight * scale[t as usize] * scale[s as usize]).collect();
        level.values.extend(level.loops.iter().map(|&node| scale[node as usize].powi(2)));
        level.weights = graph.is_weighted().then_some(weights);
        Ok(level)
    }

    pub(crate) fn num_nodes(&self) -> usize {
        self.num_nodes
    }
}

/// The graphs side by side: their adjacency, and which graph each node belongs to. Unweighted graphs have weight 1 beside weighted ones.
pub(crate) fn join(
    operation: &'static str,
    parts: &[&LevelGraph],
    dtype: DType,
    device: &Device,
) -> Result<(Adjacency, Vec<u32>)> {
    if parts.is_empty() {
        return Err(Error::EmptyGraph { operation });
    }
    let num_nodes = check_num_nodes(operation, parts.iter().map(|part| part.num_nodes).sum())?;
    let num_entries: usize = parts.iter().map(|part| part.targets.len()).sum();
    let num_loops: usize = parts.iter().map(|part| part.loops.len()).sum();
    let mut rows = Vec::with_capacity(num_entries + num_loops);
    let mut cols = Vec::with_capacity(num_entries + num_loops);
    let mut values = Vec::with_capacity(num_entries + num_loops);
    let mut graph_of_node = Vec::with_capacity(num_nodes);
    let mut offset = 0;
    for (graph, part) in parts.iter().enumerate() {
        rows.extend(part.targets.iter().map(|&node| node + offset));
        cols.extend(part.sources.iter().map(|&node| node + offset));
        values.extend_from_slice(&part.values[..part.targets.len()]);
        graph_of_node.extend(std::iter::repeat_n(graph as u32, part.num_nodes));
        offset += part.num_nodes as u32;
    }
    let pattern = SparsePattern::from_edges(num_nodes, num_nodes, &rows, &cols)?;
    offset = 0;
    for part in parts {
        rows.extend(part.loops.iter().map(|&node| node + offset));
        cols.extend(part.loops.iter().map(|&node| node + offset));
        values.extend_from_slice(&part.values[part.targets.len()..]);
        offset += part.num_nodes as u32;
    }
    let looped = SparsePattern::from_edges(num_nodes, num_nodes, &rows, &cols)?;
    let normalised = SymmetricNormalisation { pattern: looped, values: host_tensor(&values, dtype, device)? };
    let weights = match joined_weights(parts, num_entries) {
        Some(weights) => Some(host_tensor(&weights, dtype, device)?),
        None => None,
    };
    Ok((Adjacency::from_normalised(pattern, weights, normalised, dtype, device), graph_of_node))
}

/// The weights of all entries; `None` if no graph has any.
fn joined_weights(parts: &[&LevelGraph], num_entries: usize) -> Option<Vec<f64>> {
    if parts.iter().all(|part| part.weights.is_none()) {
        return None;
    }
    let mut weights = Vec::with_capacity(num_entries);
    for part in parts {
        match &part.weights {
            Some(own) => weights.extend_from_slice(own),
            None => weights.resize(weights.len() + part.targets.len(), 1.0),
        }
    }
    Some(weights)
}

pub(crate) fn host_tensor(values: &[f64], dtype: DType, device: &Device) -> Result<Tensor> {
    match dtype {
        DType::F32 => {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Ok(Tensor::from_slice(&values, values.len(), device)?)
        }
        _ => Ok(Tensor::from_slice(values, values.len(), device)?.to_dtype(dtype)?),
    }
}
