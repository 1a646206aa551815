//! From a graph to layers: one construction over the whole graph, or one for each component.

use super::config::{Components, TreeConfig, TreeMode};
use super::fill::single_shot;
use super::greedy::Workspace;
use super::layers::{Insertion, Layers};
use super::levels;
use super::rule::Rule;
use crate::{Graph, Result};

/// The layers of the coding tree of `graph`, which has at least one node. Insertions are recorded in `trace` unless components are built apart.
pub(super) fn build(
    graph: &Graph,
    config: &TreeConfig,
    workspace: &mut Workspace,
    trace: &mut Vec<Insertion>,
) -> Result<Layers> {
    let rule = Rule::new(config);
    let (component, num_components) = match config.components {
        Components::Split => graph.components(),
        Components::Join => (Vec::new(), 1),
    };
    if num_components == 1 {
        build_connected(graph, &rule, config, workspace, trace)
    } else {
        build_split(graph, &component, num_components, &rule, config, workspace)
    }
}

fn build_connected(
    graph: &Graph,
    rule: &Rule,
    config: &TreeConfig,
    workspace: &mut Workspace,
    trace: &mut Vec<Insertion>,
) -> Result<Layers> {
    match config.mode {
        TreeMode::Official => Ok(levels::build(graph, rule, config.height, workspace, trace)),
        TreeMode::SingleShot => single_shot(graph, rule, config.height, workspace),
    }
}

/// A tree per component; their roots become one.
fn build_split(
    graph: &Graph,
    component: &[u32],
    num_components: usize,
    rule: &Rule,
    config: &TreeConfig,
    workspace: &mut Workspace,
) -> Result<Layers> {
    let mut members = vec![Vec::new(); num_components];
    for (node, &of) in component.iter().enumerate() {
        members[of as usize].push(node as u32);
    }
    let mut trees = Vec::with_capacity(num_components);
    for nodes in &members {
        let part = graph.induced_subgraph(nodes)?;
        trees.push(build_connected(&part, rule, config, workspace, &mut Vec::new())?);
    }
    // a single-shot tree can be lower than another; the root is one node for all, so lower ones are filled up below it
    let height = trees.iter().map(|tree| tree.parents.len()).max().unwrap_or(1);
    let mut parents: Vec<Vec<u32>> = vec![vec![0; graph.num_nodes()]];
    parents.resize(height, Vec::new());
    // nodes so far in each layer that this tree's parents are numbered in; the last is the root
    let mut sizes = vec![0u32; height];
    for (nodes, tree) in members.iter().zip(&trees) {
        for layer in 0..height {
            let is_last = layer + 1 == height;
            let offset = if is_last { 0 } else { sizes[layer + 1] };
            let own = tree.parents.get(layer).map_or(&[0][..], Vec::as_slice);
            let shifted = own.iter().map(|&parent| if is_last { 0 } else { parent + offset });
            if layer == 0 {
                for (&node, parent) in nodes.iter().zip(shifted) {
                    parents[0][node as usize] = parent;
                }
            } else {
                parents[layer].extend(shifted);
            }
        }
        for (layer, size) in sizes.iter_mut().enumerate().skip(1) {
            *size += tree.parents.get(layer).map_or(1, Vec::len) as u32;
        }
    }
    Ok(Layers { extents: Vec::new(), parents })
}
