//! What refinement moves: nodes of one layer, or several of them as one.

use super::members::group_members;
use crate::Graph;

/// Items and the edge weights between them (CSR, both directions, no self-loops).
#[derive(Debug, Default)]
pub(super) struct Items {
    offsets: Vec<usize>,
    targets: Vec<u32>,
    weights: Vec<f64>,
    pub(super) volumes: Vec<f64>,
    /// Edge weight between the nodes that an item is made of: it moves with the item and counts at its parent.
    pub(super) internal: Vec<f64>,
}

impl Items {
    /// The vertices of `graph` and their edges without self-loops.
    pub(super) fn of_vertices(graph: &Graph) -> Self {
        let n = graph.num_nodes();
        let mut items = Self { offsets: vec![0], internal: vec![0.0; n], ..Self::default() };
        for node in 0..n {
            for (neighbor, weight) in graph.weighted_neighbors(node) {
                if neighbor as usize != node {
                    items.targets.push(neighbor);
                    items.weights.push(weight);
                }
            }
            items.offsets.push(items.targets.len());
            items.volumes.push(graph.degree(node));
        }
        items
    }

    pub(super) fn len(&self) -> usize {
        self.volumes.len()
    }

    /// `(neighbour, weight)` of an item.
    pub(super) fn neighbors(&self, item: usize) -> impl Iterator<Item = (u32, f64)> + '_ {
        let range = self.offsets[item]..self.offsets[item + 1];
        self.targets[range.clone()].iter().copied().zip(self.weights[range].iter().copied())
    }

    /// One item for each of the `count` labels, with the weight of the edges inside as its own.
    pub(super) fn joined(&self, labels: &[u32], count: usize) -> Self {
        let (starts, members) = group_members(labels, count);
        let mut joined = Self { offsets: vec![0], ..Self::default() };
        let mut slot = vec![u32::MAX; count];
        for label in 0..count {
            let row_start = joined.targets.len();
            let (mut volume, mut internal, mut inside) = (0.0, 0.0, 0.0);
            for &member in &members[starts[label]..starts[label + 1]] {
                volume += self.volumes[member as usize];
                internal += self.internal[member as usize];
                for (neighbor, weight) in self.neighbors(member as usize) {
                    let other = labels[neighbor as usize];
                    if other as usize == label {
                        inside += weight;
                        continue;
                    }
                    match slot[other as usize] {
                        u32::MAX => {
                            slot[other as usize] = (joined.targets.len() - row_start) as u32;
                            joined.targets.push(other);
                            joined.weights.push(weight);
                        }
                        place => joined.weights[row_start + place as usize] += weight,
                    }
                }
            }
            for &other in &joined.targets[row_start..] {
                slot[other as usize] = u32::MAX;
            }
            joined.offsets.push(joined.targets.len());
            joined.volumes.push(volume);
            // each edge inside was met from both of its ends
            joined.internal.push(internal + inside / 2.0);
        }
        joined
    }

    /// The same items as nodes of a tree: what is inside counts at a lower ancestor than the item's parent.
    pub(super) fn without_internal(mut self) -> Self {
        self.internal.fill(0.0);
        self
    }
}
