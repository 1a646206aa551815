//! Several graphs side by side, as tensors.

use crate::adjacency::Adjacency;
use crate::level::{LevelGraph, join};
use crate::{Error, Graph, Result};
use candle_core::{DType, Device};
use core_tensor::sparse::Segments;
use std::sync::Arc;

/// Graphs in block-diagonal form: their nodes one after the other, and which graph each node belongs to.
#[derive(Debug, Clone)]
pub struct Batch {
    adjacency: Adjacency,
    graphs: Segments,
    coarser: Option<Arc<Coarsening>>,
}

/// The next coarser level of a batch: the cluster of each node, and the batch whose nodes are the clusters.
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
            return Err(Error::Length {
                operation: "Batch::new",
                what: "graph_of_node",
                got: graph_of_node.len(),
                expected: adjacency.num_nodes(),
            });
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

    /// The graphs side by side, without coarser levels. For batches with coarser levels see [`Hierarchy::batch`](crate::Hierarchy::batch).
    ///
    /// # Errors
    /// No graph, or one without nodes.
    pub fn from_graphs(graphs: &[&Graph], dtype: DType, device: &Device) -> Result<Self> {
        const OPERATION: &str = "Batch::from_graphs";
        let levels: Vec<_> = graphs.iter().map(|graph| LevelGraph::new(OPERATION, graph)).collect::<Result<_>>()?;
        Self::from_levels(OPERATION, &levels.iter().collect::<Vec<_>>(), dtype, device)
    }

    pub(crate) fn from_levels(
        operation: &'static str,
        levels: &[&LevelGraph],
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let (adjacency, graph_of_node) = join(operation, levels, dtype, device)?;
        Self::new(adjacency, &graph_of_node, levels.len())
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
            let reason = format!(
                "{} nodes in {} clusters and a coarser batch of {} nodes and {} graphs do not fit a batch of {} nodes and {} graphs",
                coarsening.clusters.num_rows(),
                coarsening.clusters.num_segments(),
                coarsening.batch.num_nodes(),
                coarsening.batch.num_graphs(),
                self.num_nodes(),
                self.num_graphs()
            );
            return Err(Error::invalid_data("Batch::with_coarser", reason));
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

    /// The next coarser level, if the batch has one.
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
