//! Random views of graphs: what is left after nodes, edges or features were dropped. Every function keeps at least one node.

use crate::{Error, Features, Graph, Result};
use candle_core::{DType, Tensor};
use core_tensor::ops;
use core_tensor::random::Rng;
use core_tensor::rounding::{ceil_to_count, floor_to_count};
use core_tensor::sparse::{SparsePattern, gather};

/// One way to draw a view. Ratios are shares in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Augmentation {
    /// Everything stays.
    Identity,
    /// [`drop_nodes`] with this ratio.
    DropNodes(f64),
    /// [`drop_edges`] with this ratio.
    DropEdges(f64),
    /// [`mask_features`] with this ratio.
    MaskFeatures(f64),
    /// [`mask_entries`] with this ratio.
    MaskEntries(f64),
    /// [`random_walk_subgraph`] that keeps this share of the nodes.
    Subgraph(f64),
}

impl Augmentation {
    /// Draws a view: its graph, the nodes that are left, in ascending order, and its features.
    ///
    /// # Errors
    /// A ratio outside [0, 1], a graph without nodes, or features of another number of nodes.
    pub fn apply(self, graph: &Graph, features: &Features, rng: &mut Rng) -> Result<(Graph, Vec<u32>, Features)> {
        check_graph("Augmentation::apply", graph)?;
        if features.num_nodes() != graph.num_nodes() {
            let (got, expected) = (features.num_nodes(), graph.num_nodes());
            return Err(Error::Length { operation: "Augmentation::apply", what: "features", got, expected });
        }
        let all = || (0..graph.num_nodes() as u32).collect();
        Ok(match self {
            Self::Identity => (graph.clone(), all(), features.clone()),
            Self::DropNodes(ratio) => {
                let nodes = drop_nodes(graph, ratio, rng)?;
                (graph.induced_subgraph(&nodes)?, nodes.clone(), select_rows(features, &nodes)?)
            }
            Self::Subgraph(share) => {
                let nodes = random_walk_subgraph(graph, share, rng)?;
                (graph.induced_subgraph(&nodes)?, nodes.clone(), select_rows(features, &nodes)?)
            }
            Self::DropEdges(ratio) => (drop_edges(graph, ratio, rng)?, all(), features.clone()),
            Self::MaskFeatures(ratio) => (graph.clone(), all(), mask_features(features, ratio, rng)?),
            Self::MaskEntries(ratio) => (graph.clone(), all(), mask_entries(features, ratio, rng)?),
        })
    }
}

fn check_graph(operation: &'static str, graph: &Graph) -> Result<()> {
    if graph.num_nodes() == 0 { Err(Error::EmptyGraph { operation }) } else { Ok(()) }
}

fn check_ratio(what: &'static str, ratio: f64) -> Result<()> {
    if (0.0..=1.0).contains(&ratio) {
        return Ok(());
    }
    Err(Error::InvalidConfig { what, got: ratio.to_string(), expected: "a share in [0, 1]" })
}

/// The nodes that are left, in ascending order, when ⌊ratio · n⌋ of them, drawn without replacement, are dropped; one is left at least.
///
/// # Errors
/// A ratio outside [0, 1], or a graph without nodes.
pub fn drop_nodes(graph: &Graph, ratio: f64, rng: &mut Rng) -> Result<Vec<u32>> {
    check_graph("drop_nodes", graph)?;
    check_ratio("ratio of drop_nodes", ratio)?;
    let n = graph.num_nodes();
    let kept = (n - floor_to_count(ratio * n as f64).min(n)).max(1);
    let mut nodes = rng.sample_without_replacement(n, kept);
    nodes.sort_unstable();
    Ok(nodes)
}

/// The graph without some edges: each undirected edge is dropped with probability `ratio`, in both directions at once. Self-loops are edges too.
///
/// # Errors
/// A ratio outside [0, 1].
pub fn drop_edges(graph: &Graph, ratio: f64, rng: &mut Rng) -> Result<Graph> {
    check_ratio("ratio of drop_edges", ratio)?;
    let kept: Vec<(u32, u32, f64)> = graph.edges().filter(|_| rng.unit() >= ratio).collect();
    if graph.is_weighted() {
        return Graph::from_weighted_edges(graph.num_nodes(), &kept);
    }
    let kept: Vec<(u32, u32)> = kept.into_iter().map(|(u, v, _)| (u, v)).collect();
    Graph::from_edges(graph.num_nodes(), &kept)
}

/// Features with some columns set to zero for all nodes: each with probability `ratio`.
///
/// # Errors
/// A ratio outside [0, 1].
pub fn mask_features(features: &Features, ratio: f64, rng: &mut Rng) -> Result<Features> {
    check_ratio("ratio of mask_features", ratio)?;
    let width = features.num_columns();
    let keeps: Vec<f32> = (0..width).map(|_| if rng.unit() >= ratio { 1.0 } else { 0.0 }).collect();
    match features {
        Features::Sparse { pattern, values } => {
            let of_entries: Vec<f32> = pattern.cols().iter().map(|&column| keeps[column as usize]).collect();
            scaled(pattern, values, of_entries)
        }
        other => {
            let keeps = Tensor::from_vec(keeps, (1, width), other.device())?.to_dtype(other.dtype())?;
            Ok(Features::Dense(ops::mul(&other.to_dense()?, &keeps)?))
        }
    }
}

/// Features with each entry set to zero with probability `ratio`, independently.
///
/// # Errors
/// A ratio outside [0, 1].
pub fn mask_entries(features: &Features, ratio: f64, rng: &mut Rng) -> Result<Features> {
    check_ratio("ratio of mask_entries", ratio)?;
    let mut draw =
        |count: usize| -> Vec<f32> { (0..count).map(|_| if rng.unit() >= ratio { 1.0 } else { 0.0 }).collect() };
    match features {
        Features::Sparse { pattern, values } => scaled(pattern, values, draw(pattern.num_entries())),
        other => {
            let x = other.to_dense()?;
            let keeps = Tensor::from_vec(draw(x.elem_count()), x.shape(), x.device())?.to_dtype(x.dtype())?;
            Ok(Features::Dense(ops::mul(&x, &keeps)?))
        }
    }
}

fn scaled(pattern: &SparsePattern, values: &Tensor, factors: Vec<f32>) -> Result<Features> {
    let factors = Tensor::from_vec(factors, values.shape(), values.device())?.to_dtype(values.dtype())?;
    Ok(Features::Sparse { pattern: pattern.clone(), values: ops::mul(values, &factors)? })
}

/// ⌈share · n⌉ nodes, one at least, in ascending order, that a random walk meets; where it is stuck, or has met nothing new for a hundred
/// steps, it starts again at a random node that it has not met.
///
/// # Errors
/// A share outside [0, 1], or a graph without nodes.
pub fn random_walk_subgraph(graph: &Graph, share: f64, rng: &mut Rng) -> Result<Vec<u32>> {
    check_graph("random_walk_subgraph", graph)?;
    check_ratio("share of random_walk_subgraph", share)?;
    let n = graph.num_nodes();
    let wanted = ceil_to_count(share * n as f64).clamp(1, n);
    let mut is_met = vec![false; n];
    let mut at = rng.below(n);
    is_met[at] = true;
    let (mut count, mut steps) = (1, 0);
    while count < wanted {
        let neighbors = graph.neighbors(at);
        steps += 1;
        let is_stuck = neighbors.iter().all(|&next| next as usize == at);
        if is_stuck || steps > 100 {
            let new: Vec<usize> = (0..n).filter(|&node| !is_met[node]).collect();
            at = new[rng.below(new.len())];
            steps = 0;
        } else {
            at = neighbors[rng.below(neighbors.len())] as usize;
        }
        if !is_met[at] {
            is_met[at] = true;
            count += 1;
            steps = 0;
        }
    }
    Ok((0..n as u32).filter(|&node| is_met[node as usize]).collect())
}

/// The features of some nodes, in this order.
///
/// # Errors
/// A node that does not exist.
pub fn select_rows(features: &Features, nodes: &[u32]) -> Result<Features> {
    let Features::Sparse { pattern, values } = features else {
        return Ok(Features::Dense(gather(&features.to_dense()?, nodes)?));
    };
    let (mut rows, mut columns, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for (row, &node) in nodes.iter().enumerate() {
        let (Some(of_row), Some(ids)) = (pattern.row_cols(node as usize), pattern.row_entries(node as usize)) else {
            let (index, bound) = (u64::from(node), pattern.num_rows());
            let (operation, what) = ("select_rows", "nodes");
            return Err(Error::OutOfRange { operation, what, position: row, index, bound });
        };
        columns.extend_from_slice(of_row);
        entries.extend_from_slice(ids);
        rows.extend(std::iter::repeat_n(row as u32, of_row.len()));
    }
    let pattern = SparsePattern::from_edges(nodes.len(), pattern.num_cols(), &rows, &columns)?;
    let values: Vec<f64> = {
        let all: Vec<f64> = values.to_dtype(DType::F64)?.to_vec1()?;
        entries.iter().map(|&entry| all[entry as usize]).collect()
    };
    let count = values.len();
    let values = Tensor::from_vec(values, count, features.device())?.to_dtype(features.dtype())?;
    Ok(Features::Sparse { pattern, values })
}
