//! How the official program prepares TU data sets.

use crate::{Adjacency, Error, Result};
use candle_core::{DType, Device, Tensor};

/// The self-loops of the official program (DIG): a loop is appended for nodes `0..largest`, where `largest` is the largest node that an edge names, so that the last node gets none (an off-by-one
/// there). With GIN every other node then counts twice in its own sum. `edges` are messages `(source, target)` in both directions; no edges, no loops.
///
/// ```
/// assert_eq!(gnn::lagraph::dig_self_loops(&[(0, 1), (1, 0), (1, 2), (2, 1)])[4..], [(0, 0), (1, 1)]);
/// ```
pub fn dig_self_loops(edges: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let largest = edges.iter().map(|&(u, v)| u.max(v)).max().unwrap_or(0);
    edges.iter().copied().chain((0..largest).map(|node| (node, node))).collect()
}

/// One-hot vectors of `min(degree, limit)`, `[num_nodes, limit + 1]`, where a node's degree is the number of messages that it sends: the official program's features of graphs without labels,
/// counted after its self-loops.
///
/// # Errors
/// An edge of a node that does not exist.
pub fn degree_features(
    num_nodes: usize,
    edges: &[(u32, u32)],
    limit: u32,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let mut degrees = vec![0u32; num_nodes];
    for (position, &(source, _)) in edges.iter().enumerate() {
        match degrees.get_mut(source as usize) {
            Some(degree) => *degree += 1,
            None => {
                let (operation, what, index) = ("degree_features", "edges", u64::from(source));
                return Err(Error::OutOfRange { operation, what, position, index, bound: num_nodes });
            }
        }
    }
    let width = limit as usize + 1;
    let mut values = vec![0f32; num_nodes * width];
    for (row, degree) in values.chunks_exact_mut(width).zip(degrees) {
        row[degree.min(limit) as usize] = 1.0;
    }
    Ok(Tensor::from_vec(values, (num_nodes, width), device)?.to_dtype(dtype)?)
}

/// The adjacency of messages `(source, target)`, loops and repetitions kept.
///
/// # Errors
/// A node that does not exist.
pub fn adjacency_of(num_nodes: usize, edges: &[(u32, u32)], dtype: DType, device: &Device) -> Result<Adjacency> {
    let (sources, targets): (Vec<u32>, Vec<u32>) = edges.iter().copied().unzip();
    Adjacency::from_edge_index(num_nodes, &sources, &targets, dtype, device)
}
