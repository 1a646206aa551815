//! The messages between distinct nodes with a loop at every node: where nodes attend to themselves.

use crate::Result;
use candle_core::Tensor;
use core_tensor::ops;
use core_tensor::sparse::{Index, Segments, SparsePattern};

/// The messages between distinct nodes in their order, then the loops of nodes 0, 1, 2, ….
#[derive(Debug)]
pub(crate) struct Looped {
    pattern: SparsePattern,
    /// The messages between distinct nodes, among all.
    kept: Index,
    /// The node that each of them goes to.
    targets: Segments,
}

impl Looped {
    pub(crate) fn new(pattern: &SparsePattern) -> Result<Self> {
        let is_kept = |entry: &u32| pattern.rows()[*entry as usize] != pattern.cols()[*entry as usize];
        let kept: Vec<u32> = (0..pattern.num_entries() as u32).filter(is_kept).collect();
        let mut rows: Vec<u32> = kept.iter().map(|&entry| pattern.rows()[entry as usize]).collect();
        let mut cols: Vec<u32> = kept.iter().map(|&entry| pattern.cols()[entry as usize]).collect();
        let targets = Segments::new(&rows, pattern.num_rows())?;
        rows.extend(0..pattern.num_rows() as u32);
        cols.extend(0..pattern.num_rows() as u32);
        let kept = Index::new(&kept, pattern.num_entries())?;
        Ok(Self {
            pattern: SparsePattern::from_edges(pattern.num_rows(), pattern.num_cols(), &rows, &cols)?,
            kept,
            targets,
        })
    }

    pub(crate) fn pattern(&self) -> &SparsePattern {
        &self.pattern
    }

    /// Features of these messages from those of all, `[num_entries, f]`: a loop has the mean of what comes in from other nodes, zero where nothing does.
    pub(crate) fn features(&self, edges: &Tensor) -> Result<Tensor> {
        if self.kept.indices().is_empty() {
            return Ok(Tensor::zeros((self.pattern.num_rows(), edges.dims()[1]), edges.dtype(), edges.device())?);
        }
        let kept = match self.kept.indices().len() == self.kept.num_rows() {
            true => edges.clone(),
            false => self.kept.gather(edges)?,
        };
        Ok(ops::cat(&[&kept, &self.targets.mean(&kept)?], 0)?)
    }
}
