//! Trees whose leaves have different depths: the single-shot construction, and filling with one-child nodes.

use super::greedy::Workspace;
use super::layers::Layers;
use super::problem::{Problem, vertex_extents};
use super::rule::Rule;
use crate::{Error, Graph, Result};

/// The paper's Algorithm 1: one greedy tree over all vertices, compressed to `height`, then filled.
pub(super) fn single_shot(graph: &Graph, rule: &Rule, height: usize, workspace: &mut Workspace) -> Result<Layers> {
    let vertices = vertex_extents(graph);
    let volume = vertices.iter().map(|vertex| vertex.volume).sum();
    let problem = Problem::of_vertices(graph, &vertices, volume);
    workspace.solve(&problem, rule, Some(height));
    let tree = &mut workspace.tree;
    let mut number = vec![None; tree.num_nodes()];
    let nodes: Vec<u32> = (0..graph.num_nodes() as u32).chain(tree.internal_nodes()).collect();
    for (position, &node) in nodes.iter().enumerate() {
        number[node as usize] = Some(position as u32);
    }
    let parent: Vec<Option<u32>> = nodes
        .iter()
        .map(|&node| match tree.parent(node) {
            u32::MAX => None,
            above => number[above as usize],
        })
        .collect();
    Ok(Layers { extents: Vec::new(), parents: layers_of(graph.num_nodes(), &parent)? })
}

/// Layers of the tree given by parent pointers (leaves first). A node of height `h` under a parent of height `h'` is in layers `h..h'`.
pub(super) fn layers_of(num_leaves: usize, parent: &[Option<u32>]) -> Result<Vec<Vec<u32>>> {
    let heights = heights(num_leaves, parent)?;
    let height = heights.iter().copied().max().unwrap_or(0);
    let mut layers = Vec::with_capacity(height);
    let mut current: Vec<u32> = (0..num_leaves as u32).collect();
    for layer in 0..height {
        // where each node of this layer goes: itself while its parent is higher than the next layer
        let mut position = vec![u32::MAX; parent.len()];
        let mut next = Vec::new();
        let mut up = Vec::with_capacity(current.len());
        for &node in &current {
            let target = match parent[node as usize] {
                Some(above) if heights[above as usize] == layer + 1 => above,
                _ => node,
            };
            let slot = &mut position[target as usize];
            if *slot == u32::MAX {
                *slot = next.len() as u32;
                next.push(target);
            }
            up.push(*slot);
        }
        layers.push(up);
        current = next;
    }
    Ok(layers)
}

/// Height of every node: its longest distance to a leaf.
fn heights(num_leaves: usize, parent: &[Option<u32>]) -> Result<Vec<usize>> {
    const OPERATION: &str = "CodingTree::from_parent_pointers";
    let num_nodes = parent.len();
    if num_nodes <= num_leaves {
        let reason = format!("{num_nodes} nodes for {num_leaves} vertices; a root above them is needed");
        return Err(Error::invalid_data(OPERATION, reason));
    }
    let mut num_children = vec![0usize; num_nodes];
    let mut num_roots = 0;
    for (node, above) in parent.iter().enumerate() {
        match above {
            None => num_roots += 1,
            Some(above) if (*above as usize) < num_leaves || *above as usize >= num_nodes => {
                let reason = format!("node {node} has parent {above}; inner nodes are {num_leaves}..{num_nodes}");
                return Err(Error::invalid_data(OPERATION, reason));
            }
            Some(above) => num_children[*above as usize] += 1,
        }
    }
    if num_roots != 1 {
        return Err(Error::invalid_data(
            OPERATION,
            format!("{num_roots} nodes have no parent; exactly one root is needed"),
        ));
    }
    if let Some(node) = (num_leaves..num_nodes).find(|&node| num_children[node] == 0) {
        return Err(Error::invalid_data(OPERATION, format!("inner node {node} has no children")));
    }
    let mut heights = vec![0usize; num_nodes];
    let mut ready: Vec<usize> = (0..num_leaves).collect();
    let mut num_done = 0;
    while let Some(node) = ready.pop() {
        num_done += 1;
        if let Some(above) = parent[node] {
            let above = above as usize;
            heights[above] = heights[above].max(heights[node] + 1);
            num_children[above] -= 1;
            if num_children[above] == 0 {
                ready.push(above);
            }
        }
    }
    if num_done != num_nodes {
        return Err(Error::invalid_data(OPERATION, "the parent pointers contain a cycle"));
    }
    Ok(heights)
}
