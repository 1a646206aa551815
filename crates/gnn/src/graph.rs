//! An undirected graph in compressed sparse row (CSR) form, on the host.

use crate::{Error, Result};
use petgraph::visit::{EdgeRef, IntoEdgeReferences, NodeIndexable};

/// An undirected, optionally weighted graph.
///
/// Row `v` of the CSR arrays lists the neighbours of `v` in ascending order; an edge between two distinct nodes is in
/// both rows, a self-loop once in its own. Isolated nodes and several components are allowed, as is a graph without nodes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Graph {
    offsets: Vec<usize>,
    neighbors: Vec<u32>,
    weights: Option<Vec<f64>>,
}

impl Graph {
    /// An unweighted graph from node pairs in any order and either direction; repeated pairs count once.
    ///
    /// # Errors
    /// An end outside `0..num_nodes`, or more nodes than 32-bit indices can name.
    pub fn from_edges(num_nodes: usize, edges: &[(u32, u32)]) -> Result<Self> {
        Self::build("Graph::from_edges", num_nodes, edges.iter().map(|&(u, v)| (u, v, 1.0)), false)
    }

    /// A weighted graph from `(u, v, weight)`, each undirected edge once in either direction; weights of repeated edges add.
    ///
    /// # Errors
    /// As [`Graph::from_edges`], weights that are not finite and greater than 0, and weights of one edge whose sum is not finite.
    pub fn from_weighted_edges(num_nodes: usize, edges: &[(u32, u32, f64)]) -> Result<Self> {
        const OPERATION: &str = "Graph::from_weighted_edges";
        if let Some(position) = edges.iter().position(|edge| !(edge.2.is_finite() && edge.2 > 0.0)) {
            let (got, expected) = (edges[position].2, "a finite number greater than 0");
            return Err(Error::Value { operation: OPERATION, what: "weights", position, got, expected });
        }
        Self::build(OPERATION, num_nodes, edges.iter().copied(), true)
    }

    /// The unweighted graph of any petgraph graph; node `i` is petgraph's `to_index(node)`. Directions are dropped.
    ///
    /// # Errors
    /// More nodes than 32-bit indices can name.
    pub fn from_petgraph<G>(graph: G) -> Result<Self>
    where
        G: IntoEdgeReferences + NodeIndexable,
    {
        let num_nodes = check_num_nodes("Graph::from_petgraph", graph.node_bound())?;
        let edges: Vec<_> = graph
            .edge_references()
            .map(|edge| (graph.to_index(edge.source()) as u32, graph.to_index(edge.target()) as u32))
            .collect();
        Self::from_edges(num_nodes, &edges)
    }

    /// As [`Graph::from_petgraph`], with `weight` read from each edge.
    ///
    /// # Errors
    /// As [`Graph::from_weighted_edges`].
    pub fn from_petgraph_weighted<G>(graph: G, weight: impl Fn(&G::EdgeWeight) -> f64) -> Result<Self>
    where
        G: IntoEdgeReferences + NodeIndexable,
    {
        let num_nodes = check_num_nodes("Graph::from_petgraph_weighted", graph.node_bound())?;
        let edges: Vec<_> = graph
            .edge_references()
            .map(|edge| {
                let (source, target) = (graph.to_index(edge.source()), graph.to_index(edge.target()));
                (source as u32, target as u32, weight(edge.weight()))
            })
            .collect();
        Self::from_weighted_edges(num_nodes, &edges)
    }

    fn build(
        operation: &'static str,
        num_nodes: usize,
        edges: impl ExactSizeIterator<Item = (u32, u32, f64)> + Clone,
        is_weighted: bool,
    ) -> Result<Self> {
        check_num_nodes(operation, num_nodes)?;
        let limit = u32::MAX as usize / 2;
        if edges.len() > limit {
            return Err(Error::TooLarge { operation, what: "number of edges", got: edges.len(), limit });
        }
        let mut counts = vec![0usize; num_nodes + 1];
        for (position, (u, v, _)) in edges.clone().enumerate() {
            if let Some(end) = [u, v].into_iter().find(|&end| end as usize >= num_nodes) {
                let (index, bound) = (u64::from(end), num_nodes);
                return Err(Error::OutOfRange { operation, what: "edges", position, index, bound });
            }
            counts[u as usize + 1] += 1;
            if u != v {
                counts[v as usize + 1] += 1;
            }
        }
        for node in 0..num_nodes {
            counts[node + 1] += counts[node];
        }
        let mut entries = vec![(0u32, 0f64); counts[num_nodes]];
        let mut next = counts.clone();
        let mut place = |row: u32, entry: (u32, f64)| {
            entries[next[row as usize]] = entry;
            next[row as usize] += 1;
        };
        for (u, v, weight) in edges {
            place(u, (v, weight));
            if u != v {
                place(v, (u, weight));
            }
        }
        let graph = Self::merge_rows(&counts, entries, is_weighted);
        // each weight was finite, but sums of repeated edges can overflow
        if let Some(position) = graph.weights.iter().flatten().position(|weight| !weight.is_finite()) {
            let got = f64::INFINITY;
            return Err(Error::NotFinite { operation, what: "sums of edge weights", position, got });
        }
        Ok(graph)
    }

    /// Sorts each row and merges its repeated neighbours.
    fn merge_rows(row_starts: &[usize], mut entries: Vec<(u32, f64)>, is_weighted: bool) -> Self {
        let num_nodes = row_starts.len() - 1;
        let mut offsets = Vec::with_capacity(num_nodes + 1);
        offsets.push(0);
        let mut neighbors: Vec<u32> = Vec::with_capacity(entries.len());
        let mut weights: Vec<f64> = Vec::with_capacity(if is_weighted { entries.len() } else { 0 });
        for bounds in row_starts.windows(2) {
            let row = &mut entries[bounds[0]..bounds[1]];
            // stable, so that repeated weights add in the order of the input
            row.sort_by_key(|entry| entry.0);
            let row_start = neighbors.len();
            for &(neighbor, weight) in row.iter() {
                if neighbors.len() > row_start && neighbors.last() == Some(&neighbor) {
                    if let Some(last) = weights.last_mut() {
                        *last += weight;
                    }
                } else {
                    neighbors.push(neighbor);
                    if is_weighted {
                        weights.push(weight);
                    }
                }
            }
            offsets.push(neighbors.len());
        }
        Self { offsets, neighbors, weights: is_weighted.then_some(weights) }
    }

    /// Number of nodes.
    pub fn num_nodes(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of undirected edges, self-loops included.
    pub fn num_edges(&self) -> usize {
        let loops = (0..self.num_nodes()).filter(|&v| self.neighbors(v).binary_search(&(v as u32)).is_ok()).count();
        (self.neighbors.len() + loops) / 2
    }

    /// Number of CSR entries: two per edge between distinct nodes, one per self-loop.
    pub fn num_entries(&self) -> usize {
        self.neighbors.len()
    }

    /// Whether the edges carry weights; without, every weight is 1.
    pub fn is_weighted(&self) -> bool {
        self.weights.is_some()
    }

    /// The neighbours of `node` in ascending order, itself among them if it has a self-loop; empty for a node that does not exist.
    pub fn neighbors(&self, node: usize) -> &[u32] {
        match (self.offsets.get(node), self.offsets.get(node + 1)) {
            (Some(&start), Some(&end)) => &self.neighbors[start..end],
            _ => &[],
        }
    }

    /// `(neighbour, weight)` of `node`, in ascending order of the neighbour.
    pub fn weighted_neighbors(&self, node: usize) -> impl Iterator<Item = (u32, f64)> + '_ {
        let start = self.offsets.get(node).copied().unwrap_or(0);
        self.neighbors(node)
            .iter()
            .enumerate()
            .map(move |(k, &neighbor)| (neighbor, self.weights.as_ref().map_or(1.0, |weights| weights[start + k])))
    }

    /// Every undirected edge once as `(u, v, weight)` with `u <= v`, in ascending order.
    pub fn edges(&self) -> impl Iterator<Item = (u32, u32, f64)> + '_ {
        (0..self.num_nodes()).flat_map(move |u| {
            let u = u as u32;
            self.weighted_neighbors(u as usize).filter_map(move |(v, weight)| (u <= v).then_some((u, v, weight)))
        })
    }

    /// The CSR row offsets, `num_nodes + 1` of them.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The weighted degree of `node` without its self-loop; 0 for an isolated node.
    pub fn degree(&self, node: usize) -> f64 {
        // not `sum`, which is -0.0 for no neighbours
        self.weighted_neighbors(node).filter(|entry| entry.0 as usize != node).fold(0.0, |sum, entry| sum + entry.1)
    }

    /// The component of each node, numbered in order of their first nodes, and the number of components.
    pub fn components(&self) -> (Vec<u32>, usize) {
        let mut component = vec![u32::MAX; self.num_nodes()];
        let mut stack = Vec::new();
        let mut count = 0;
        for start in 0..self.num_nodes() {
            if component[start] != u32::MAX {
                continue;
            }
            component[start] = count;
            stack.push(start as u32);
            while let Some(node) = stack.pop() {
                for &neighbor in self.neighbors(node as usize) {
                    if component[neighbor as usize] == u32::MAX {
                        component[neighbor as usize] = count;
                        stack.push(neighbor);
                    }
                }
            }
            count += 1;
        }
        (component, count as usize)
    }

    /// The subgraph induced on `nodes`; node `i` of the result is `nodes[i]`.
    ///
    /// # Errors
    /// A node that does not exist or is listed twice.
    pub fn induced_subgraph(&self, nodes: &[u32]) -> Result<Self> {
        const OPERATION: &str = "Graph::induced_subgraph";
        let mut position = vec![u32::MAX; self.num_nodes()];
        for (i, &node) in nodes.iter().enumerate() {
            match position.get_mut(node as usize) {
                Some(slot) if *slot == u32::MAX => *slot = i as u32,
                Some(_) => return Err(Error::invalid_data(OPERATION, format!("duplicate node {node}"))),
                None => {
                    let (index, bound) = (u64::from(node), self.num_nodes());
                    return Err(Error::OutOfRange { operation: OPERATION, what: "nodes", position: i, index, bound });
                }
            }
        }
        let mut edges = Vec::new();
        for (i, &node) in nodes.iter().enumerate() {
            for (neighbor, weight) in self.weighted_neighbors(node as usize) {
                let j = position[neighbor as usize];
                if j != u32::MAX && i as u32 <= j {
                    edges.push((i as u32, j, weight));
                }
            }
        }
        Self::build(OPERATION, nodes.len(), edges.into_iter(), self.is_weighted())
    }

    /// The quotient graph under `cluster` (one of `0..num_clusters` for each node): an edge joins two distinct clusters iff some edge joins
    /// nodes of them. Its weight is the sum of those edges' weights if `is_weighted`, else the quotient is unweighted. No self-loops.
    ///
    /// # Errors
    /// A `cluster` of the wrong length or with an entry outside `0..num_clusters`, or weights whose sum is not finite.
    pub fn quotient(&self, cluster: &[u32], num_clusters: usize, is_weighted: bool) -> Result<Self> {
        const OPERATION: &str = "Graph::quotient";
        if cluster.len() != self.num_nodes() {
            let (got, expected) = (cluster.len(), self.num_nodes());
            return Err(Error::Length { operation: OPERATION, what: "cluster", got, expected });
        }
        if let Some(position) = cluster.iter().position(|&label| label as usize >= num_clusters) {
            let (index, bound) = (u64::from(cluster[position]), num_clusters);
            return Err(Error::OutOfRange { operation: OPERATION, what: "cluster", position, index, bound });
        }
        let edges: Vec<_> = self
            .edges()
            .map(|(u, v, weight)| (cluster[u as usize], cluster[v as usize], weight))
            .filter(|(a, b, _)| a != b)
            .collect();
        Self::build(OPERATION, num_clusters, edges.into_iter(), is_weighted)
    }
}

/// Refuses more nodes than a `u32` can number; one number is kept free as a mark.
pub(crate) fn check_num_nodes(operation: &'static str, num_nodes: usize) -> Result<usize> {
    let limit = u32::MAX as usize - 1;
    if num_nodes > limit {
        return Err(Error::TooLarge { operation, what: "number of nodes", got: num_nodes, limit });
    }
    Ok(num_nodes)
}
