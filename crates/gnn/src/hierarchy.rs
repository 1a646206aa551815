//! A graph with coarser graphs above it, from any clustering.

use crate::batch::{Batch, Coarsening};
use crate::level::LevelGraph;
use crate::{Error, Graph, Result};
use candle_core::{DType, Device};
use core_tensor::sparse::Segments;

/// A graph and a chain of ever coarser graphs, ready to be put into batches again and again.
///
/// The clusters may come from anywhere: [`CodingTree::hierarchy`](crate::sep::CodingTree::hierarchy) takes them from a coding tree,
/// [`Hierarchy::from_assignments`] from METIS, Louvain or any other program.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    levels: Vec<LevelGraph>,
    assignments: Vec<Vec<u32>>,
}

impl Hierarchy {
    /// The hierarchy of `graph` under `assignments`: `assignments[d][i]` is the cluster, a node of level `d + 1`, of node `i` of level `d`.
    /// Level 0 is the graph itself; clusters of each level are numbered from 0 without gaps.
    ///
    /// Two clusters are joined by an edge if any edge of the finer level joins nodes of them. With `is_weighted` its weight is the sum
    /// of those edges' weights (an edge of an unweighted graph counts 1), else coarser levels are unweighted, as SEP has them. Edges
    /// inside a cluster are dropped. Costs `O(m log m)` for `m` edges, level by level.
    ///
    /// # Errors
    /// A graph without nodes, a level with another number of labels than there are nodes in it, a label outside of the next level, a
    /// cluster without members, or weights whose sum is not finite.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use gnn::{Graph, Hierarchy};
    /// let path = Graph::from_edges(6, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)])?;
    /// // pairs of nodes, then the first two pairs against the last
    /// let hierarchy = Hierarchy::from_assignments(&path, &[vec![0, 0, 1, 1, 2, 2], vec![0, 0, 1]], false)?;
    /// let batch = Hierarchy::batch(&[&hierarchy], DType::F32, &Device::Cpu)?;
    /// let pairs = batch.coarser().map(|coarsening| coarsening.batch.num_nodes());
    /// assert_eq!(pairs, Some(3));
    /// # Ok::<(), gnn::Error>(())
    /// ```
    pub fn from_assignments(graph: &Graph, assignments: &[Vec<u32>], is_weighted: bool) -> Result<Self> {
        const OPERATION: &str = "Hierarchy::from_assignments";
        let mut levels = vec![LevelGraph::new(OPERATION, graph)?];
        let mut coarsest: Option<Graph> = None;
        for (level, labels) in assignments.iter().enumerate() {
            let finer = coarsest.as_ref().unwrap_or(graph);
            if labels.len() != finer.num_nodes() {
                let (got, expected) = (labels.len(), finer.num_nodes());
                let reason = format!("assignments[{level}] has {got} labels, but level {level} has {expected} nodes");
                return Err(Error::invalid_data(OPERATION, reason));
            }
            let num_clusters = count_clusters(labels).map_err(|empty| {
                let reason = format!("assignments[{level}] leaves cluster {empty} of level {} empty", level + 1);
                Error::invalid_data(OPERATION, reason)
            })?;
            let coarser = finer.quotient(labels, num_clusters, is_weighted)?;
            levels.push(LevelGraph::new(OPERATION, &coarser)?);
            coarsest = Some(coarser);
        }
        Ok(Self { levels, assignments: assignments.to_vec() })
    }

    /// Number of nodes of the graph itself.
    pub fn num_nodes(&self) -> usize {
        self.levels[0].num_nodes()
    }

    /// Number of coarser levels.
    pub fn num_levels(&self) -> usize {
        self.assignments.len()
    }

    /// The graphs side by side, level by level.
    ///
    /// # Errors
    /// No graph, or graphs with different numbers of levels.
    pub fn batch(parts: &[&Self], dtype: DType, device: &Device) -> Result<Batch> {
        const OPERATION: &str = "Hierarchy::batch";
        let num_levels = parts.first().ok_or(Error::EmptyGraph { operation: OPERATION })?.num_levels();
        if let Some(other) = parts.iter().find(|part| part.num_levels() != num_levels) {
            let reason = format!("graphs with {num_levels} and {} coarser levels in one batch", other.num_levels());
            return Err(Error::invalid_data(OPERATION, reason));
        }
        let level = |level: usize| {
            let graphs: Vec<&LevelGraph> = parts.iter().map(|part| &part.levels[level]).collect();
            Batch::from_levels(OPERATION, &graphs, dtype, device)
        };
        let mut batch = level(num_levels)?;
        for below in (0..num_levels).rev() {
            let mut clusters = Vec::new();
            let mut offset = 0;
            for part in parts {
                clusters.extend(part.assignments[below].iter().map(|&cluster| cluster + offset));
                offset += part.levels[below + 1].num_nodes() as u32;
            }
            let clusters = Segments::new(&clusters, batch.num_nodes())?;
            batch = level(below)?.with_coarser(Coarsening { clusters, batch })?;
        }
        Ok(batch)
    }
}

/// One more than the largest label; the smallest cluster without members if there is one.
fn count_clusters(labels: &[u32]) -> Result<usize, usize> {
    let largest = labels.iter().copied().max().map_or(0, |label| label as usize);
    // with n labels one of the clusters 0..=n is empty, so larger labels need no place here
    let mut has_member = vec![false; labels.len().min(largest) + 1];
    for &label in labels {
        if let Some(seen) = has_member.get_mut(label as usize) {
            *seen = true;
        }
    }
    match has_member.iter().position(|&seen| !seen) {
        Some(empty) => Err(empty),
        None => Ok(largest + 1),
    }
}
