//! Several graphs side by side, with the coarser graphs of their coding trees.

use crate::adjacency::{Adjacency, SymmetricNormalisation};
use crate::graph::mismatch;
use crate::sep::CodingTree;
use crate::{Error, Graph, Result};
use candle_core::{DType, Device, Tensor};
use core_tensor::sparse::{Segments, SparsePattern};
use std::sync::Arc;

/// Graphs in block-diagonal form: their nodes one after the other, and which graph each node belongs to.
#[derive(Debug, Clone)]
pub struct Batch {
    adjacency: Adjacency,
    graphs: Segments,
    coarser: Option<Arc<Coarsening>>,
}

/// The next coarser level of a batch: the cluster of each node, and the batch of clusters.
#[derive(Debug, Clone)]
pub struct Coarsening {
    /// Cluster of each node.
    pub clusters: Segments,
    /// The clusters as nodes.
    pub batch: Batch,
}

impl Batch {
    /// A batch from its parts; `graph_of_node[i]` is one of `0..num_graphs`.
    ///
    /// # Errors
    /// A list that does not fit the adjacency, or an entry outside `0..num_graphs`.
    pub fn new(adjacency: Adjacency, graph_of_node: &[u32], num_graphs: usize) -> Result<Self> {
        if graph_of_node.len() != adjacency.num_nodes() {
            let detail = format!("{} graph numbers for {} nodes", graph_of_node.len(), adjacency.num_nodes());
            return Err(mismatch("Batch::new", detail));
        }
        let graphs = Segments::new(graph_of_node, num_graphs)?;
        Ok(Self { adjacency, graphs, coarser: None })
    }

    /// One graph alone.
    ///
    /// # Errors
    /// A graph without nodes.
    pub fn single(graph: &Graph, dtype: DType, device: &Device) -> Result<Self> {
        Self::from_graphs(&[graph], dtype, device)
    }

    /// The graphs side by side, without trees.
    ///
    /// # Errors
    /// No graph, or one without nodes.
    pub fn from_graphs(graphs: &[&Graph], dtype: DType, device: &Device) -> Result<Self> {
        let levels: Vec<LevelGraph> = graphs.iter().map(|graph| LevelGraph::new(graph)).collect::<Result<_>>()?;
        let parts: Vec<&LevelGraph> = levels.iter().collect();
        join("Batch::from_graphs", &parts, dtype, device)
    }

    /// The same nodes and graphs with the given coarser level.
    ///
    /// # Errors
    /// Clusters of another number of nodes, or a coarser batch of another number of clusters or graphs.
    pub fn with_coarser(self, coarsening: Coarsening) -> Result<Self> {
        let fits = coarsening.clusters.num_rows() == self.num_nodes()
            && coarsening.clusters.num_segments() == coarsening.batch.num_nodes()
            && coarsening.batch.num_graphs() == self.num_graphs();
        if !fits {
            let detail = format!(
                "{} nodes in {} clusters over {} graphs do not fit a batch of {} nodes and {} graphs",
                coarsening.clusters.num_rows(),
                coarsening.batch.num_nodes(),
                coarsening.batch.num_graphs(),
                self.num_nodes(),
                self.num_graphs()
            );
            return Err(mismatch("Batch::with_coarser", detail));
        }
        Ok(Self { coarser: Some(Arc::new(coarsening)), ..self })
    }

    /// The adjacency of all nodes.
    pub fn adjacency(&self) -> &Adjacency {
        &self.adjacency
    }

    /// Which graph each node belongs to.
    pub fn graphs(&self) -> &Segments {
        &self.graphs
    }

    /// The next coarser level, if the batch was made from trees.
    pub fn coarser(&self) -> Option<&Coarsening> {
        self.coarser.as_deref()
    }

    /// Number of nodes of all graphs.
    pub fn num_nodes(&self) -> usize {
        self.adjacency.num_nodes()
    }

    /// Number of graphs.
    pub fn num_graphs(&self) -> usize {
        self.graphs.num_segments()
    }
}

/// A graph with the graphs of the layers of its coding tree, ready to be put into batches again and again.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    levels: Vec<LevelGraph>,
    parents: Vec<Vec<u32>>,
}

impl Hierarchy {
    /// The graph itself and the unweighted graphs of layers `1..=num_levels` of `tree`.
    ///
    /// # Errors
    /// A tree of another graph, or one of less than `num_levels` levels.
    pub fn new(graph: &Graph, tree: &CodingTree, num_levels: usize) -> Result<Self> {
        if graph.num_nodes() == 0 {
            return Err(Error::EmptyGraph { operation: "Hierarchy::new" });
        }
        let mut levels = vec![LevelGraph::new(graph)?];
        let mut parents = Vec::with_capacity(num_levels);
        for layer in 0..num_levels {
            parents.push(tree.parents(layer)?.to_vec());
            levels.push(LevelGraph::new(&tree.layer_graph(graph, layer + 1, false)?)?);
        }
        Ok(Self { levels, parents })
    }

    /// Number of nodes of the graph itself.
    pub fn num_nodes(&self) -> usize {
        self.levels[0].num_nodes
    }

    /// Number of coarser levels.
    pub fn num_levels(&self) -> usize {
        self.parents.len()
    }

    /// The graphs side by side, level by level.
    ///
    /// # Errors
    /// No graph, or graphs with different numbers of levels.
    pub fn batch(parts: &[&Self], dtype: DType, device: &Device) -> Result<Batch> {
        const OPERATION: &str = "Hierarchy::batch";
        let num_levels = parts.first().ok_or(Error::EmptyGraph { operation: OPERATION })?.num_levels();
        if let Some(other) = parts.iter().find(|part| part.num_levels() != num_levels) {
            let detail = format!("graphs with {num_levels} and {} levels in one batch", other.num_levels());
            return Err(mismatch(OPERATION, detail));
        }
        let level = |level: usize| {
            let graphs: Vec<&LevelGraph> = parts.iter().map(|part| &part.levels[level]).collect();
            join(OPERATION, &graphs, dtype, device)
        };
        let mut batch = level(num_levels)?;
        for below in (0..num_levels).rev() {
            let mut clusters = Vec::new();
            let mut offset = 0;
            for part in parts {
                clusters.extend(part.parents[below].iter().map(|&parent| parent + offset));
                offset += part.levels[below + 1].num_nodes as u32;
            }
            let clusters = Segments::new(&clusters, batch.num_nodes())?;
            batch = level(below)?.with_coarser(Coarsening { clusters, batch })?;
        }
        Ok(batch)
    }
}

/// Entries of one graph with its loops, weighted for the symmetric normalisation, so that a batch of it costs copies only.
#[derive(Debug, Clone)]
struct LevelGraph {
    num_nodes: usize,
    targets: Vec<u32>,
    sources: Vec<u32>,
    loops: Vec<u32>,
    /// Normalised values of the entries, then of the loops that were added.
    values: Vec<f64>,
    weights: Option<Vec<f64>>,
}

impl LevelGraph {
    fn new(graph: &Graph) -> Result<Self> {
        let num_nodes = graph.num_nodes();
        if num_nodes == 0 {
            return Err(Error::EmptyGraph { operation: "batch" });
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
}

fn join(operation: &'static str, parts: &[&LevelGraph], dtype: DType, device: &Device) -> Result<Batch> {
    if parts.is_empty() {
        return Err(Error::EmptyGraph { operation });
    }
    let num_nodes: usize = parts.iter().map(|part| part.num_nodes).sum();
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
    let plain = SparsePattern::from_edges(num_nodes, num_nodes, &rows, &cols)?;
    offset = 0;
    for part in parts {
        rows.extend(part.loops.iter().map(|&node| node + offset));
        cols.extend(part.loops.iter().map(|&node| node + offset));
        values.extend_from_slice(&part.values[part.targets.len()..]);
        offset += part.num_nodes as u32;
    }
    let pattern = SparsePattern::from_edges(num_nodes, num_nodes, &rows, &cols)?;
    let normalised = SymmetricNormalisation { pattern, values: host_tensor(&values, dtype, device)? };
    let mut adjacency = Adjacency::from_normalised(plain, normalised, dtype, device);
    if parts.iter().any(|part| part.weights.is_some()) {
        let mut weights = Vec::with_capacity(num_entries);
        for part in parts {
            match &part.weights {
                Some(own) => weights.extend_from_slice(own),
                None => weights.resize(weights.len() + part.targets.len(), 1.0),
            }
        }
        adjacency = adjacency.with_weights(host_tensor(&weights, dtype, device)?)?;
    }
    Batch::new(adjacency, &graph_of_node, parts.len())
}

fn host_tensor(values: &[f64], dtype: DType, device: &Device) -> Result<Tensor> {
    match dtype {
        DType::F32 => {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Ok(Tensor::from_slice(&values, values.len(), device)?)
        }
        _ => Ok(Tensor::from_slice(values, values.len(), device)?.to_dtype(dtype)?),
    }
}
