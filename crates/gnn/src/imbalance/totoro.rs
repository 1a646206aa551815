//! Conflict of labels by personalised PageRank.

use crate::{Error, Graph, Result};
use rayon::prelude::*;

/// How personalised PageRank is computed.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PageRankConfig {
    /// The chance p to return to the start in a step; 0.15.
    pub restart: f64,
    /// Ends when the residual's norm is below this share of the right side's; 1e-10.
    pub tolerance: f64,
    /// Iterations at most; 1,000. The condition of the system is at most (2 − p)/p, 12.4 for p = 0.15, for which about 40 suffice.
    pub max_iterations: usize,
}

impl Default for PageRankConfig {
    fn default() -> Self {
        Self { restart: 0.15, tolerance: 1e-10, max_iterations: 1000 }
    }
}

/// What [`totoro`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Totoro {
    /// T of each labelled node, in the order in which they were given. 0: nobody else's label reaches it.
    pub conflict: Vec<f64>,
    /// Their mean: the topology imbalance of the set of labels.
    pub mean: f64,
    /// P_c: for each class, how much each node is reached from its labelled nodes, `[classes][nodes]`.
    pub influence: Vec<Vec<f64>>,
}

/// The conflict of each labelled node with labels of other classes,
///
/// ```text
/// Π = p (I − (1 − p) Â)⁻¹,  Â = D^-½ (A + I) D^-½,   P_c = mean over labelled nodes of class c of their rows of Π
/// T_v = Σ_u Π_vu Σ_{c ≠ y_v} P_c(u)
/// ```
///
/// `labelled` are nodes and `classes[i]` the class of `labelled[i]`. Two solves by conjugate gradients for each class, all classes side by side: Π is symmetric and never formed, memory is
/// `O(edges + nodes · classes)`.
///
/// # Errors
/// No labelled node, lists of different lengths, a node that does not exist or is named twice, a class without labelled nodes below the largest, a restart outside (0, 1], or
/// [`Error::InvalidData`] when the iterations did not suffice.
///
/// ```
/// use gnn::Graph;
/// use gnn::imbalance::{PageRankConfig, totoro};
/// // two triangles joined by an edge; the ends of the edge are in conflict
/// let graph = Graph::from_edges(6, &[(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 3)])?;
/// let found = totoro(&graph, &[0, 2, 3, 5], &[0, 0, 1, 1], PageRankConfig::default())?;
/// assert!(found.conflict[1] > found.conflict[0] && found.conflict[2] > found.conflict[3]);
/// # Ok::<(), gnn::Error>(())
/// ```
pub fn totoro(graph: &Graph, labelled: &[u32], classes: &[u32], config: PageRankConfig) -> Result<Totoro> {
    const OPERATION: &str = "totoro";
    if labelled.is_empty() {
        return Err(Error::invalid_data(OPERATION, "no labelled node"));
    }
    if classes.len() != labelled.len() {
        let (got, expected) = (classes.len(), labelled.len());
        return Err(Error::Length { operation: OPERATION, what: "classes", got, expected });
    }
    if !(config.restart > 0.0 && config.restart <= 1.0) {
        let (got, expected) = (config.restart.to_string(), "a number in (0, 1]");
        return Err(Error::InvalidConfig { what: "restart", got, expected });
    }
    let n = graph.num_nodes();
    let mut is_labelled = vec![false; n];
    for (position, &node) in labelled.iter().enumerate() {
        match is_labelled.get_mut(node as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(Error::invalid_data(OPERATION, format!("node {node} is labelled twice"))),
            None => {
                let (index, bound) = (u64::from(node), n);
                return Err(Error::OutOfRange { operation: OPERATION, what: "labelled", position, index, bound });
            }
        }
    }
    let num_classes = classes.iter().max().map_or(0, |&class| class as usize + 1);
    if num_classes > labelled.len() {
        let reason = format!("{num_classes} classes with {} labelled nodes: some class has none", labelled.len());
        return Err(Error::invalid_data(OPERATION, reason));
    }
    let mut counts = vec![0usize; num_classes];
    classes.iter().for_each(|&class| counts[class as usize] += 1);
    if let Some(class) = counts.iter().position(|&count| count == 0) {
        return Err(Error::invalid_data(OPERATION, format!("class {class} has no labelled node")));
    }
    let walk = Walk::new(graph, config);
    // Π is symmetric, so that a mean of its rows is Π times the mean of unit vectors
    let mut starts = vec![0.0; n * num_classes];
    for (&node, &class) in labelled.iter().zip(classes) {
        starts[node as usize * num_classes + class as usize] = 1.0 / counts[class as usize] as f64;
    }
    let influence = walk.solve(&starts, num_classes)?;
    let twice = walk.solve(&influence, num_classes)?;
    let conflict: Vec<f64> = labelled
        .iter()
        .zip(classes)
        .map(|(&node, &class)| {
            let row = &twice[node as usize * num_classes..(node as usize + 1) * num_classes];
            let others = row.iter().enumerate().filter(|&(of, _)| of != class as usize).map(|(_, value)| value);
            others.sum::<f64>().max(0.0)
        })
        .collect();
    let mean = conflict.iter().sum::<f64>() / conflict.len() as f64;
    let column = |class: usize| influence.iter().skip(class).step_by(num_classes).copied().collect();
    Ok(Totoro { conflict, mean, influence: (0..num_classes).map(column).collect() })
}

/// The symmetric operator `I − (1 − p) Â`.
struct Walk<'a> {
    graph: &'a Graph,
    scale: Vec<f64>,
    /// The weight of the loop at each node, added or there before.
    loops: Vec<f64>,
    config: PageRankConfig,
}

impl<'a> Walk<'a> {
    fn new(graph: &'a Graph, config: PageRankConfig) -> Self {
        let (mut scale, mut loops) = (Vec::new(), Vec::new());
        for node in 0..graph.num_nodes() {
            let own = graph.weighted_neighbors(node).find(|entry| entry.0 as usize == node);
            let own = own.map_or(1.0, |entry| entry.1);
            scale.push(1.0 / (graph.degree(node) + own).sqrt());
            loops.push(own);
        }
        Self { graph, scale, loops, config }
    }

    /// `(I − (1 − p) Â) x`, `[nodes, columns]`.
    fn apply(&self, x: &[f64], columns: usize, out: &mut [f64]) {
        let keep = 1.0 - self.config.restart;
        out.par_chunks_mut(columns).zip(x.par_chunks(columns)).with_min_len(256).enumerate().for_each(
            |(node, (out, own))| {
                let scale = self.scale[node];
                let of_loop = keep * self.loops[node] * scale * scale;
                out.iter_mut().zip(own).for_each(|(out, own)| *out = own - of_loop * own);
                for (neighbor, weight) in self.graph.weighted_neighbors(node) {
                    let neighbor = neighbor as usize;
                    if neighbor == node {
                        continue;
                    }
                    let factor = keep * weight * scale * self.scale[neighbor];
                    let row = &x[neighbor * columns..(neighbor + 1) * columns];
                    out.iter_mut().zip(row).for_each(|(out, value)| *out -= factor * value);
                }
            },
        );
    }

    /// `Π b`, all columns side by side, each with its own conjugate gradients.
    fn solve(&self, b: &[f64], columns: usize) -> Result<Vec<f64>> {
        let dots = |a: &[f64], b: &[f64]| -> Vec<f64> {
            let mut sums = vec![0.0; columns];
            for (a, b) in a.chunks_exact(columns).zip(b.chunks_exact(columns)) {
                sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
            }
            sums
        };
        let mut residual: Vec<f64> = b.iter().map(|value| value * self.config.restart).collect();
        let mut x = vec![0.0; b.len()];
        let mut direction = residual.clone();
        let mut squares = dots(&residual, &residual);
        let goals: Vec<f64> = squares.iter().map(|square| square * self.config.tolerance.powi(2)).collect();
        let is_done = |squares: &[f64]| squares.iter().zip(&goals).all(|(square, goal)| square <= goal);
        let mut image = vec![0.0; b.len()];
        for _ in 0..self.config.max_iterations {
            if is_done(&squares) {
                return Ok(x);
            }
            self.apply(&direction, columns, &mut image);
            let curvatures = dots(&direction, &image);
            let ratio = |top: f64, bottom: f64| if bottom > 0.0 { top / bottom } else { 0.0 };
            let steps: Vec<f64> = squares.iter().zip(&curvatures).map(|(&top, &bottom)| ratio(top, bottom)).collect();
            let rows = x.chunks_exact_mut(columns).zip(direction.chunks_exact(columns));
            for ((x, direction), (residual, image)) in
                rows.zip(residual.chunks_exact_mut(columns).zip(image.chunks_exact(columns)))
            {
                for (at, step) in steps.iter().enumerate() {
                    x[at] += step * direction[at];
                    residual[at] -= step * image[at];
                }
            }
            let next = dots(&residual, &residual);
            let keeps: Vec<f64> = next.iter().zip(&squares).map(|(&top, &bottom)| ratio(top, bottom)).collect();
            for (direction, residual) in direction.chunks_exact_mut(columns).zip(residual.chunks_exact(columns)) {
                for (at, keep) in keeps.iter().enumerate() {
                    direction[at] = residual[at] + keep * direction[at];
                }
            }
            squares = next;
        }
        if is_done(&squares) {
            return Ok(x);
        }
        let reason = format!("{} iterations of conjugate gradients did not suffice", self.config.max_iterations);
        Err(Error::invalid_data("totoro", reason))
    }
}
