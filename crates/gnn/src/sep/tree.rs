//! Coding trees: their layers, entropy, and the ways to build them.

use super::components;
use super::config::{TreeConfig, VolumeOffset};
use super::fill::layers_of;
use super::greedy::Workspace;
use super::layers::{Insertion, Layers};
use super::problem::vertex_extents;
use super::refine::refine;
use super::refinement::Refinement;
use super::rule::{Extent, Rule};
use crate::{Error, Graph, Hierarchy, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A coding tree in which every leaf has the same depth.
///
/// Layer 0 holds the vertices, the last layer the root. [`CodingTree::parents`] of layer `d` is the hard assignment of its nodes to layer `d + 1`.
/// Nodes of each layer are numbered in order of first appearance over the vertices `0, 1, 2, …`.
///
/// ```
/// use gnn::{Graph, sep::{CodingTree, MergeCriterion, TreeConfig}};
/// // two cliques of four joined by an edge
/// let cliques = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (4, 5), (4, 6), (4, 7), (5, 6), (5, 7), (6, 7)];
/// let graph = Graph::from_edges(8, &[&cliques[..], &[(3, 4)]].concat())?;
/// let config = TreeConfig::new(2).with_criterion(MergeCriterion::InsertParent);
/// let tree = CodingTree::build(&graph, config)?;
/// assert_eq!(tree.labels(1)?, [0, 0, 0, 0, 1, 1, 1, 1]);
/// assert!(tree.entropy() < tree.one_dimensional_entropy());
/// # Ok::<(), gnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodingTree {
    parents: Vec<Vec<u32>>,
    volumes: Vec<Vec<f64>>,
    cuts: Vec<Vec<f64>>,
    volume_offset: VolumeOffset,
    trace: Vec<Insertion>,
}

impl CodingTree {
    /// Greedily minimises the structural entropy of `graph` under trees of height `config.height`. Self-loops are ignored.
    ///
    /// With [`TreeConfig::refinement`] the tree is refined as by [`CodingTree::refine`].
    ///
    /// Deterministic. Cost: about `m log m` for `m` edges of bounded degree; each merge costs the degrees of the two clusters.
    ///
    /// # Errors
    /// A graph without nodes, or settings out of range.
    pub fn build(graph: &Graph, config: TreeConfig) -> Result<Self> {
        Self::build_in(graph, config, &mut Workspace::default())
    }

    /// [`CodingTree::build`] for every graph, in parallel; the result does not depend on the number of threads.
    ///
    /// # Errors
    /// The first error of any graph.
    pub fn build_many(graphs: &[Graph], config: TreeConfig) -> Result<Vec<Self>> {
        graphs
            .par_iter()
            .with_min_len(8)
            .map_init(Workspace::default, |workspace, graph| Self::build_in(graph, config, workspace))
            .collect()
    }

    /// A tree given by its layers: `parents[d][i]` is the parent, in layer `d + 1`, of node `i` of layer `d`; the last layer must be one root.
    ///
    /// # Errors
    /// Layers that do not fit each other or the graph, or a parent without children.
    pub fn from_layers(graph: &Graph, parents: &[Vec<u32>]) -> Result<Self> {
        const OPERATION: &str = "CodingTree::from_layers";
        if graph.num_nodes() == 0 {
            return Err(Error::EmptyGraph { operation: OPERATION });
        }
        if parents.first().map(Vec::len) != Some(graph.num_nodes()) {
            let found = parents.first().map_or(0, Vec::len);
            let reason = format!("layer 0 has {found} nodes, the graph {}", graph.num_nodes());
            return Err(Error::invalid_data(OPERATION, reason));
        }
        for (layer, current) in parents.iter().enumerate() {
            let above = parents.get(layer + 1).map_or(1, Vec::len);
            let mut has_child = vec![false; above];
            for &parent in current {
                match has_child.get_mut(parent as usize) {
                    Some(seen) => *seen = true,
                    None => {
                        let reason =
                            format!("layer {layer} names parent {parent}, but layer {} has {above} nodes", layer + 1);
                        return Err(Error::invalid_data(OPERATION, reason));
                    }
                }
            }
            if let Some(node) = has_child.iter().position(|&seen| !seen) {
                return Err(Error::invalid_data(
                    OPERATION,
                    format!("node {node} of layer {} has no children", layer + 1),
                ));
            }
        }
        let layers = Layers { extents: Vec::new(), parents: parents.to_vec() };
        Ok(Self::finish(graph, layers, VolumeOffset::Zero, Vec::new()))
    }

    /// Any rooted tree as parent pointers: nodes `0..graph.num_nodes()` are the leaves, one node has no parent. Leaves above the greatest depth are
    /// filled up with one-child nodes, which does not change the entropy.
    ///
    /// # Errors
    /// A vertex with children, an inner node without children, no root or several, a cycle, or a parent that does not exist.
    pub fn from_parent_pointers(graph: &Graph, parent: &[Option<u32>]) -> Result<Self> {
        let layers = layers_of(graph.num_nodes(), parent)?;
        Self::from_layers(graph, &layers)
    }

    fn build_in(graph: &Graph, config: TreeConfig, workspace: &mut Workspace) -> Result<Self> {
        config.check()?;
        if graph.num_nodes() == 0 {
            return Err(Error::EmptyGraph { operation: "CodingTree::build" });
        }
        let mut trace = Vec::new();
        let layers = components::build(graph, &config, workspace, &mut trace)?;
        let tree = Self::finish(graph, layers, config.volume_offset, trace);
        match &config.refinement {
            Some(refinement) => tree.refine(graph, refinement),
            None => Ok(tree),
        }
    }

    /// A tree of the same height whose entropy, with the offset this one was built with, is at most that of this one; see [`Refinement`].
    /// The trace of the construction stays.
    ///
    /// Some rounds over the edges: 10⁶ edges take less than a minute on one core.
    ///
    /// # Errors
    /// Another number of vertices than the tree has, or settings out of range.
    ///
    /// ```
    /// use gnn::{Graph, sep::{CodingTree, Refinement, TreeConfig}};
    /// let edges = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (2, 3)];
    /// let graph = Graph::from_edges(6, &edges)?;
    /// let greedy = CodingTree::build(&graph, TreeConfig::new(2))?;
    /// let refined = greedy.refine(&graph, &Refinement::default())?;
    /// assert!(refined.entropy() <= greedy.entropy());
    /// assert_eq!(refined.labels(1)?, [0, 0, 0, 1, 1, 1]);
    /// # Ok::<(), gnn::Error>(())
    /// ```
    pub fn refine(&self, graph: &Graph, refinement: &Refinement) -> Result<Self> {
        self.check_num_vertices("CodingTree::refine", graph)?;
        refinement.check()?;
        let finish = |parents: Vec<Vec<u32>>| {
            let layers = Layers { extents: Vec::new(), parents };
            Self::finish(graph, layers, self.volume_offset, self.trace.clone())
        };
        let offset = Rule::new(&TreeConfig::new(1).with_volume_offset(self.volume_offset)).offset;
        let mut best = finish(self.parents.clone());
        let mut alone = vec![(0..self.num_vertices() as u32).collect(); self.height()];
        alone[self.height() - 1] = vec![0; self.num_vertices()];
        for mut parents in [self.parents.clone(), alone] {
            refine(graph, &mut parents, offset, refinement);
            let tree = finish(parents);
            // less by more than rounding: of equals the tree at hand stays
            if tree.entropy() < best.entropy() - 1e-12 {
                best = tree;
            }
        }
        Ok(best)
    }

    /// Renumbers every layer by first appearance and measures volumes and cuts in `graph`.
    fn finish(graph: &Graph, layers: Layers, volume_offset: VolumeOffset, trace: Vec<Insertion>) -> Self {
        let height = layers.parents.len();
        let vertices = vertex_extents(graph);
        let mut parents: Vec<Vec<u32>> = Vec::with_capacity(height);
        let mut volumes = vec![vertices.iter().map(|vertex| vertex.volume).collect::<Vec<_>>()];
        let mut cuts = vec![volumes[0].clone()];
        // old number -> canonical number of the layer at hand; canonical labels of the vertices in it
        let mut renumbered: Vec<u32> = (0..vertices.len() as u32).collect();
        let mut labels = renumbered.clone();
        for layer in 0..height {
            let above_size = layers.parents.get(layer + 1).map_or(1, Vec::len);
            let mut old_of_canonical = vec![0u32; renumbered.len()];
            for (old, &canonical) in renumbered.iter().enumerate() {
                old_of_canonical[canonical as usize] = old as u32;
            }
            let mut above = vec![u32::MAX; above_size];
            let mut count = 0;
            // nodes of this layer are already in order of first appearance, so their parents appear in that order too
            let current: Vec<u32> = old_of_canonical
                .iter()
                .map(|&old| {
                    let slot = &mut above[layers.parents[layer][old as usize] as usize];
                    if *slot == u32::MAX {
                        *slot = count;
                        count += 1;
                    }
                    *slot
                })
                .collect();
            labels.iter_mut().for_each(|label| *label = current[*label as usize]);
            let (volume, cut) = measure(graph, &labels, &volumes[0], count as usize);
            volumes.push(volume);
            cuts.push(cut);
            parents.push(current);
            renumbered = above;
        }
        Self { parents, volumes, cuts, volume_offset, trace }
    }

    /// Height `k`: the number of edges from the root to any leaf.
    pub fn height(&self) -> usize {
        self.parents.len()
    }

    /// Number of vertices of the graph.
    pub fn num_vertices(&self) -> usize {
        self.parents[0].len()
    }

    /// Number of nodes in each layer, vertices first, the root's 1 last.
    pub fn layer_sizes(&self) -> Vec<usize> {
        self.volumes.iter().map(Vec::len).collect()
    }

    /// The parent, in layer `layer + 1`, of each node of `layer`.
    ///
    /// # Errors
    /// A layer at or above the root.
    pub fn parents(&self, layer: usize) -> Result<&[u32]> {
        self.parents.get(layer).map(Vec::as_slice).ok_or_else(|| self.no_layer("CodingTree::parents", layer))
    }

    /// The assignments of all layers, from the vertices upwards.
    pub fn assignments(&self) -> &[Vec<u32>] {
        &self.parents
    }

    /// The ancestor in `layer` of each vertex.
    ///
    /// # Errors
    /// A layer above the root.
    pub fn labels(&self, layer: usize) -> Result<Vec<u32>> {
        if layer > self.height() {
            return Err(self.no_layer("CodingTree::labels", layer));
        }
        let mut labels: Vec<u32> = (0..self.num_vertices() as u32).collect();
        for parents in &self.parents[..layer] {
            labels.iter_mut().for_each(|label| *label = parents[*label as usize]);
        }
        Ok(labels)
    }

    /// The structural entropy `H_T(G) = -Σ g(a)/VOL log2(vol(a)/vol(parent of a))` in bits, with the offset the tree was built with added to volumes inside the logarithm.
    pub fn entropy(&self) -> f64 {
        self.entropy_with_offset(self.volume_offset)
    }

    /// [`CodingTree::entropy`] with another offset; [`VolumeOffset::Zero`] is the definition.
    pub fn entropy_with_offset(&self, volume_offset: VolumeOffset) -> f64 {
        let rule = Rule::new(&TreeConfig::new(1).with_volume_offset(volume_offset));
        let total = self.volume();
        let term = |layer: usize, node: usize, parent: &u32| {
            let extent = Extent { volume: self.volumes[layer][node], cut: self.cuts[layer][node] };
            rule.entropy_term(extent, self.volumes[layer + 1][*parent as usize], total)
        };
        let terms =
            |layer: usize| self.parents[layer].iter().enumerate().map(move |(node, parent)| term(layer, node, parent));
        // a sum of no terms, or of terms of clusters that are all there is, is -0.0
        (0..self.height()).map(|layer| terms(layer).sum::<f64>()).sum::<f64>() + 0.0
    }

    /// Entropy of the flat tree, `-Σ deg/VOL log2(deg/VOL)` in bits.
    pub fn one_dimensional_entropy(&self) -> f64 {
        let total = self.volume();
        self.volumes[0]
            .iter()
            .filter(|&&degree| degree > 0.0)
            .map(|degree| -degree / total * (degree / total).log2())
            .sum::<f64>()
            + 0.0
    }

    /// Entropy of the tree of height 2 whose clusters are the nodes of `layer`, in bits, without offset: what the partition by
    /// [`CodingTree::labels`] of that layer codes edges at. For the vertices and the root it is [`CodingTree::one_dimensional_entropy`].
    ///
    /// # Errors
    /// A layer above the root.
    pub fn two_dimensional_entropy(&self, layer: usize) -> Result<f64> {
        let labels = self.labels(layer)?;
        let rule = Rule::new(&TreeConfig::new(1));
        let total = self.volume();
        let (volumes, cuts) = (&self.volumes[layer], &self.cuts[layer]);
        let clusters = volumes.iter().zip(cuts).map(|(&volume, &cut)| Extent { volume, cut });
        let upper: f64 = clusters.map(|cluster| rule.entropy_term(cluster, total, total)).sum();
        let vertices = self.volumes[0].iter().zip(&self.cuts[0]).zip(&labels);
        let lower: f64 = vertices
            .map(|((&volume, &cut), &label)| rule.entropy_term(Extent { volume, cut }, volumes[label as usize], total))
            .sum();
        Ok(upper + lower + 0.0)
    }

    /// The layer whose clusters alone, as a tree of height 2, have the least entropy ([`CodingTree::two_dimensional_entropy`]); the highest of
    /// equals. The layers of a high tree are communities, their parts and their unions: this is the layer of the communities.
    pub fn best_layer(&self) -> usize {
        let mut best = (self.one_dimensional_entropy(), self.height());
        for layer in (1..self.height()).rev() {
            match self.two_dimensional_entropy(layer) {
                // equal sums can differ in their last bits
                Ok(entropy) if entropy < best.0 - 1e-12 => best = (entropy, layer),
                _ => {}
            }
        }
        best.1
    }

    /// The volume of the graph: the sum of its weighted degrees.
    pub fn volume(&self) -> f64 {
        self.volumes[self.height()][0]
    }

    /// The levels in the order in which the construction inserted them into the tree of height 2, before any refinement; empty for single-shot trees and for graphs of several components.
    pub fn trace(&self) -> &[Insertion] {
        &self.trace
    }

    /// The graph between the nodes of `layer`: an edge where any edge of `graph` joins two nodes' vertices, weighted by their sum if `is_weighted`.
    ///
    /// # Errors
    /// Another number of vertices than the tree has, or a layer above the root.
    pub fn layer_graph(&self, graph: &Graph, layer: usize, is_weighted: bool) -> Result<Graph> {
        const OPERATION: &str = "CodingTree::layer_graph";
        self.check_num_vertices(OPERATION, graph)?;
        if layer > self.height() {
            return Err(self.no_layer(OPERATION, layer));
        }
        graph.quotient(&self.labels(layer)?, self.volumes[layer].len(), is_weighted)
    }

    /// `graph` and the unweighted graphs of layers `1..=num_levels`, for batches that pool along this tree.
    ///
    /// # Errors
    /// A graph with another number of nodes than the tree has leaves, or a tree of less than `num_levels` levels.
    pub fn hierarchy(&self, graph: &Graph, num_levels: usize) -> Result<Hierarchy> {
        const OPERATION: &str = "CodingTree::hierarchy";
        self.check_num_vertices(OPERATION, graph)?;
        let assignments = self.parents.get(..num_levels).ok_or_else(|| self.no_layer(OPERATION, num_levels))?;
        Hierarchy::from_assignments(graph, assignments, false)
    }

    /// Whether the layers are consistent and fit the vertices of `graph`; for trees read from a file.
    pub(super) fn fits(&self, graph: &Graph) -> bool {
        let rebuilt = Self::from_layers(graph, &self.parents);
        rebuilt.is_ok_and(|rebuilt| {
            rebuilt.volumes == self.volumes && rebuilt.cuts == self.cuts && rebuilt.parents == self.parents
        })
    }

    fn check_num_vertices(&self, operation: &'static str, graph: &Graph) -> Result<()> {
        if graph.num_nodes() == self.num_vertices() {
            return Ok(());
        }
        let reason = format!("the graph has {} nodes, the tree {} leaves", graph.num_nodes(), self.num_vertices());
        Err(Error::invalid_data(operation, reason))
    }

    fn no_layer(&self, operation: &'static str, layer: usize) -> Error {
        Error::invalid_data(operation, format!("layer {layer} does not exist in a tree of height {}", self.height()))
    }
}

/// Volume and cut of each cluster.
fn measure(graph: &Graph, labels: &[u32], degrees: &[f64], num_clusters: usize) -> (Vec<f64>, Vec<f64>) {
    let mut volumes = vec![0.0; num_clusters];
    let mut cuts = vec![0.0; num_clusters];
    for (node, &label) in labels.iter().enumerate() {
        volumes[label as usize] += degrees[node];
        for (neighbor, weight) in graph.weighted_neighbors(node) {
            if labels[neighbor as usize] != label {
                cuts[label as usize] += weight;
            }
        }
    }
    (volumes, cuts)
}
