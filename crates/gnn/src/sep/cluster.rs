//! Communities of a graph in one call.

use super::config::{Components, MergeCriterion, TreeConfig};
use super::refinement::Refinement;
use super::tree::CodingTree;
use crate::{Graph, Result};

/// The community of each vertex, numbered from 0 in order of first appearance: the partition that codes the graph's edges shortest among those
/// found, so the number of communities follows from the graph.
///
/// A tree of height 3 is built by [`MergeCriterion::InsertParent`] over all components together and refined with seed 0. The layer whose clusters
/// alone have the least entropy ([`CodingTree::best_layer`]) is refined once more, as a tree of height 2. A component is never in one community with
/// another; an isolated vertex is a community of its own. Some partition saves bits on any sparse graph: before you believe one, compare with the same graph after its edges were shuffled, as the example `cluster` does. Build a [`CodingTree`] yourself for other heights, seeds or nested communities.
///
/// # Errors
/// A graph without nodes.
///
/// ```
/// use gnn::{Graph, sep::cluster};
/// // two triangles joined by an edge, and a vertex alone
/// let graph = Graph::from_edges(7, &[(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (2, 3)])?;
/// assert_eq!(cluster(&graph)?, [0, 0, 0, 1, 1, 1, 2]);
/// # Ok::<(), gnn::Error>(())
/// ```
pub fn cluster(graph: &Graph) -> Result<Vec<u32>> {
    let config = TreeConfig::new(3)
        .with_criterion(MergeCriterion::InsertParent)
        .with_components(Components::Join)
        .with_refinement(Refinement::default());
    let tree = CodingTree::build(graph, config)?;
    let labels = tree.labels(tree.best_layer())?;
    let num_clusters = labels.iter().max().map_or(1, |&last| last as usize + 1);
    let flat = CodingTree::from_layers(graph, &[labels, vec![0; num_clusters]])?;
    let mut labels = flat.refine(graph, &Refinement::default())?.labels(1)?;
    // an isolated vertex costs nothing anywhere; here it is alone
    let mut number = vec![None; labels.len()];
    let mut count = 0;
    for (vertex, label) in labels.iter_mut().enumerate() {
        let mut next = || {
            count += 1;
            count - 1
        };
        *label = match graph.degree(vertex) > 0.0 {
            true => *number[*label as usize].get_or_insert_with(next),
            false => next(),
        };
    }
    Ok(labels)
}
