//! What the greedy subroutine solves: items, their volumes and cuts, and the edge weights between them.

use super::rule::Extent;
use crate::Graph;

/// Items and the edge weights between them (CSR, both directions, no self-loops). Items are numbered from the oldest to the newest.
#[derive(Debug, Default)]
pub(super) struct Problem {
    pub(super) items: Vec<Extent>,
    pub(super) offsets: Vec<usize>,
    pub(super) targets: Vec<u32>,
    pub(super) shared: Vec<f64>,
    /// The volume that deltas are relative to; also the volume of a root that has to join several components.
    pub(super) reference_volume: f64,
}

impl Problem {
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.offsets.clear();
        self.offsets.push(0);
        self.targets.clear();
        self.shared.clear();
        self.reference_volume = 0.0;
    }

    pub(super) fn end_row(&mut self) {
        self.offsets.push(self.targets.len());
    }

    /// The vertices of `graph` as items, and its edges without self-loops.
    pub(super) fn of_vertices(graph: &Graph, vertices: &[Extent], reference_volume: f64) -> Self {
        let mut problem = Self::default();
        problem.clear();
        problem.items.extend_from_slice(vertices);
        problem.reference_volume = reference_volume;
        for node in 0..graph.num_nodes() {
            for (neighbor, weight) in graph.weighted_neighbors(node) {
                if neighbor as usize != node {
                    problem.targets.push(neighbor);
                    problem.shared.push(weight);
                }
            }
            problem.end_row();
        }
        problem
    }
}

/// The degrees of `graph` without self-loops, each as volume and cut of its vertex.
pub(super) fn vertex_extents(graph: &Graph) -> Vec<Extent> {
    (0..graph.num_nodes())
        .map(|node| {
            let degree = graph.degree(node);
            Extent { volume: degree, cut: degree }
        })
        .collect()
}
