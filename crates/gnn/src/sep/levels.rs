//! The official construction: a tree of height 2, then one level at a time at whichever end gains more.

use super::greedy::Workspace;
use super::layers::{Insertion, InsertionEnd, Layers};
use super::members::group_members;
use super::problem::{Problem, vertex_extents};
use super::rule::{Extent, Rule};
use crate::Graph;
use rayon::prelude::*;

/// A level that could be inserted: the parent of each node below it, its nodes, and their parents above.
#[derive(Debug, Clone)]
struct Proposal {
    delta: f64,
    below: Vec<u32>,
    nodes: Vec<Extent>,
    above: Vec<u32>,
}

/// Builds the tree of height `height >= 1` of a graph with at least one node.
pub(super) fn build(
    graph: &Graph,
    rule: &Rule,
    height: usize,
    workspace: &mut Workspace,
    trace: &mut Vec<Insertion>,
) -> Layers {
    let vertices = vertex_extents(graph);
    let volume: f64 = vertices.iter().map(|vertex| vertex.volume).sum();
    let num_vertices = vertices.len();
    let root = Extent { volume, cut: 0.0 };
    let mut layers = Layers { extents: vec![vertices, vec![root]], parents: vec![vec![0; num_vertices]] };
    if height == 1 {
        return layers;
    }
    let mut builder = Builder { rule, volume, workspace, problem: Problem::default() };
    let whole = builder.group_all(graph, &layers.extents[0]);
    layers.insert(0, whole);

    let mut leaf_up: Option<Proposal> = None;
    let mut root_down: Option<Option<Proposal>> = None;
    while layers.parents.len() < height {
        let up = leaf_up.take().unwrap_or_else(|| builder.leaf_up(graph, &layers));
        let down = root_down.take().unwrap_or_else(|| builder.root_down(graph, &layers));
        let down_delta = down.as_ref().map_or(0.0, |proposal| proposal.delta);
        let mut step = Insertion { leaf_up_delta: up.delta, root_down_delta: down_delta, end: InsertionEnd::Leaves };
        match down {
            Some(down) if up.delta < down.delta => {
                step.end = InsertionEnd::Root;
                let layer = layers.parents.len() - 1;
                layers.insert(layer, down);
                leaf_up = Some(up);
            }
            other => {
                layers.insert(0, up);
                root_down = Some(other);
            }
        }
        trace.push(step);
    }
    layers
}

impl Layers {
    /// Puts the proposed level between layers `below` and `below + 1`.
    fn insert(&mut self, below: usize, proposal: Proposal) {
        self.parents[below] = proposal.above;
        self.parents.insert(below, proposal.below);
        self.extents.insert(below + 1, proposal.nodes);
    }

    /// For each vertex its ancestor in layer `layer`.
    pub(super) fn ancestors(&self, layer: usize) -> Vec<u32> {
        let mut labels: Vec<u32> = (0..self.extents[0].len() as u32).collect();
        for parents in &self.parents[..layer] {
            labels.iter_mut().for_each(|label| *label = parents[*label as usize]);
        }
        labels
    }
}

struct Builder<'a> {
    rule: &'a Rule,
    volume: f64,
    workspace: &'a mut Workspace,
    problem: Problem,
}

/// Below this many vertices the subproblems of one level are solved on the calling thread.
const PARALLEL_VERTICES: usize = 8192;

impl Builder<'_> {
    /// The middle layer of a tree of height 2 over the whole graph.
    fn group_all(&mut self, graph: &Graph, vertices: &[Extent]) -> Proposal {
        let problem = Problem::of_vertices(graph, vertices, self.volume);
        self.workspace.solve(&problem, self.rule, Some(2));
        let (below, nodes) = balanced_middle(self.workspace, &problem);
        let above = vec![0; nodes.len()];
        Proposal { delta: 0.0, below, nodes, above }
    }

    /// A level between the vertices and their parents, every group of vertices for itself.
    fn leaf_up(&mut self, graph: &Graph, layers: &Layers) -> Proposal {
        let vertices = &layers.extents[0];
        let groups = &layers.extents[1];
        let (starts, members) = group_members(&layers.parents[0], groups.len());
        let group = |b: usize| Group { extent: groups[b], members: &members[starts[b]..starts[b + 1]] };
        let local = local_indices(&starts, &members);
        let context = LeafUp {
            graph,
            vertices,
            parents: &layers.parents[0],
            local: &local,
            volume: self.volume,
            rule: self.rule,
        };

        let parts: Vec<Part> = if vertices.len() < PARALLEL_VERTICES {
            (0..groups.len()).map(|b| context.split(&group(b), b as u32, self.workspace, &mut self.problem)).collect()
        } else {
            (0..groups.len())
                .into_par_iter()
                .with_min_len(16)
                .map_init(<(Workspace, Problem)>::default, |(workspace, problem), b| {
                    context.split(&group(b), b as u32, workspace, problem)
                })
                .collect()
        };

        let mut below = vec![0; vertices.len()];
        let mut nodes = Vec::new();
        let mut above = Vec::new();
        let mut gain = 0.0;
        for (b, part) in parts.into_iter().enumerate() {
            let first = nodes.len() as u32;
            for (&vertex, middle) in group(b).members.iter().zip(part.below) {
                below[vertex as usize] = first + middle;
            }
            above.extend(std::iter::repeat_n(b as u32, part.nodes.len()));
            nodes.extend(part.nodes);
            gain += part.gain;
        }
        Proposal { delta: gain / vertices.len() as f64, below, nodes, above }
    }

    /// A level between the root and its children; `None` with fewer than three children.
    fn root_down(&mut self, graph: &Graph, layers: &Layers) -> Option<Proposal> {
        let layer = layers.parents.len() - 1;
        let children = &layers.extents[layer];
        if children.len() < 3 {
            return None;
        }
        self.problem.clear();
        self.problem.items.extend_from_slice(children);
        self.problem.reference_volume = self.volume;
        let labels = layers.ancestors(layer);
        quotient_cuts(graph, &labels, children.len(), &mut self.problem);
        self.workspace.solve(&self.problem, self.rule, Some(2));
        let (below, nodes) = balanced_middle(self.workspace, &self.problem);

        let total = self.volume;
        let old: f64 = children
            .iter()
            .filter(|child| child.cut != 0.0 && total != 0.0)
            // the official code adds the offset to the child's volume alone here
            .map(|child| -child.cut / total * ((child.volume + self.rule.offset) / total).log2())
            .sum();
        let new = two_level_entropy(self.rule, children, &below, &nodes, total, total);
        Some(Proposal { delta: (old - new) / children.len() as f64, above: vec![0; nodes.len()], below, nodes })
    }
}

struct Group<'a> {
    extent: Extent,
    members: &'a [u32],
}

struct Part {
    below: Vec<u32>,
    nodes: Vec<Extent>,
    gain: f64,
}

/// What all groups of one leaf-up level share.
struct LeafUp<'a> {
    graph: &'a Graph,
    vertices: &'a [Extent],
    parents: &'a [u32],
    local: &'a [u32],
    volume: f64,
    rule: &'a Rule,
}

impl LeafUp<'_> {
    fn split(&self, group: &Group<'_>, index: u32, workspace: &mut Workspace, problem: &mut Problem) -> Part {
        let members: Vec<Extent> = group.members.iter().map(|&vertex| self.vertices[vertex as usize]).collect();
        if members.len() < 3 {
            return Part { below: (0..members.len() as u32).collect(), nodes: members, gain: 0.0 };
        }
        problem.clear();
        problem.reference_volume = group.extent.volume - group.extent.cut;
        for &vertex in group.members {
            let mut inside = 0.0;
            for (neighbor, weight) in self.graph.weighted_neighbors(vertex as usize) {
                if neighbor != vertex && self.parents[neighbor as usize] == index {
                    problem.targets.push(self.local[neighbor as usize]);
                    problem.shared.push(weight);
                    inside += weight;
                }
            }
            problem.items.push(Extent { volume: inside, cut: inside });
            problem.end_row();
        }
        workspace.solve(problem, self.rule, Some(2));
        let (below, mut nodes) = balanced_middle(workspace, problem);

        // volumes inside the group become volumes in the whole graph
        let mut volumes = vec![0.0; nodes.len()];
        for (vertex, &middle) in members.iter().zip(&below) {
            volumes[middle as usize] += vertex.volume;
        }
        for (node, volume) in nodes.iter_mut().zip(volumes) {
            *node = Extent { volume, cut: volume - (node.volume - node.cut) };
        }
        let old: f64 =
            members.iter().map(|vertex| self.rule.entropy_term(*vertex, group.extent.volume, self.volume)).sum();
        let new = two_level_entropy(self.rule, &members, &below, &nodes, group.extent.volume, self.volume);
        Part { below, nodes, gain: old - new }
    }
}

/// Entropy of the level `nodes` (under a parent of volume `parent_volume`) and of `items` below it.
fn two_level_entropy(
    rule: &Rule,
    items: &[Extent],
    below: &[u32],
    nodes: &[Extent],
    parent_volume: f64,
    total_volume: f64,
) -> f64 {
    let upper: f64 = nodes.iter().map(|node| rule.entropy_term(*node, parent_volume, total_volume)).sum();
    let lower: f64 = items
        .iter()
        .zip(below)
        .map(|(item, &middle)| rule.entropy_term(*item, nodes[middle as usize].volume, total_volume))
        .sum();
    upper + lower
}

/// Reads the layer between root and items off a solved problem of height 2. Items directly under the root get a node of their own; those nodes
/// come after all others, in the order of their items.
fn balanced_middle(workspace: &mut Workspace, problem: &Problem) -> (Vec<u32>, Vec<Extent>) {
    let tree = &mut workspace.tree;
    let root = (tree.num_nodes() - 1) as u32;
    let kept: Vec<u32> = tree.internal_nodes().filter(|&node| node != root).collect();
    let mut nodes: Vec<Extent> = kept.iter().map(|&node| tree.extent(node)).collect();
    let mut below = Vec::with_capacity(tree.num_items);
    for item in 0..tree.num_items {
        let parent = tree.parent(item as u32);
        if parent == root {
            below.push(nodes.len() as u32);
            nodes.push(problem.items[item]);
        } else {
            // `kept` is ascending and holds every internal node but the root
            below.push(kept.partition_point(|&node| node < parent) as u32);
        }
    }
    (below, nodes)
}

/// The position of each vertex within its group.
fn local_indices(starts: &[usize], members: &[u32]) -> Vec<u32> {
    let mut local = vec![0; members.len()];
    for bounds in starts.windows(2) {
        for (position, &vertex) in members[bounds[0]..bounds[1]].iter().enumerate() {
            local[vertex as usize] = position as u32;
        }
    }
    local
}

/// Fills in the CSR of cut weights between clusters.
fn quotient_cuts(graph: &Graph, labels: &[u32], num_clusters: usize, problem: &mut Problem) {
    let (starts, members) = group_members(labels, num_clusters);
    let mut slot = vec![u32::MAX; num_clusters];
    for cluster in 0..num_clusters {
        let row_start = problem.targets.len();
        for &vertex in &members[starts[cluster]..starts[cluster + 1]] {
            for (neighbor, weight) in graph.weighted_neighbors(vertex as usize) {
                let other = labels[neighbor as usize] as usize;
                if other == cluster {
                    continue;
                }
                if slot[other] == u32::MAX {
                    slot[other] = problem.targets.len() as u32;
                    problem.targets.push(other as u32);
                    problem.shared.push(weight);
                } else {
                    problem.shared[slot[other] as usize] += weight;
                }
            }
        }
        for &other in &problem.targets[row_start..] {
            slot[other as usize] = u32::MAX;
        }
        problem.end_row();
    }
}
