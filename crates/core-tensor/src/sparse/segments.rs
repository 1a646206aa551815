//! Reductions over groups of rows.

use super::SparsePattern;
use crate::{Error, Result};
use candle_core::Tensor;

/// The assignment of `n` rows to `num_segments` groups, such as of the nodes of a batch to its graphs. Clones share it.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// # use core_tensor::sparse::Segments;
/// let nodes = Tensor::new(&[[1f32], [2.], [5.]], &Device::Cpu)?;
/// let graphs = Segments::new(&[0, 0, 1], 2)?;
/// assert_eq!(graphs.mean(&nodes)?.to_vec2::<f32>()?, [[1.5], [5.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Segments {
    /// `[num_segments, n]`, with entry `i` at `(ids[i], i)`.
    pattern: SparsePattern,
}

impl Segments {
    /// Row `i` belongs to segment `ids[i]`; the ids need not be sorted, and segments may be empty.
    ///
    /// # Errors
    ///
    /// When an id is not below `num_segments`, or a size needs more than 32 bits.
    pub fn new(ids: &[u32], num_segments: usize) -> Result<Self> {
        let limit = u32::MAX as usize - 1;
        if ids.len() > limit {
            return Err(Error::TooLarge {
                operation: "Segments::new",
                what: "the number of rows",
                got: ids.len(),
                limit,
            });
        }
        super::pattern::check_indices("Segments::new", "ids", ids, num_segments)?;
        let rows: Vec<u32> = (0..ids.len() as u32).collect();
        Ok(Self { pattern: SparsePattern::from_edges(num_segments, ids.len(), ids, &rows)? })
    }

    /// The number of rows, `n`.
    pub fn num_rows(&self) -> usize {
        self.pattern.num_cols()
    }

    /// The number of segments.
    pub fn num_segments(&self) -> usize {
        self.pattern.num_rows()
    }

    /// The segment of each row.
    pub fn ids(&self) -> &[u32] {
        self.pattern.rows()
    }

    /// The number of rows in each segment.
    pub fn counts(&self) -> Vec<u32> {
        self.pattern.row_degrees()
    }

    /// The assignment as a sparse matrix `[num_segments, n]`.
    pub fn pattern(&self) -> &SparsePattern {
        &self.pattern
    }

    /// The sum of the rows of each segment: `[n, …]` to `[num_segments, …]`; empty segments give zero.
    ///
    /// # Errors
    ///
    /// When the first dimension of `x` is not `n`; so for the others.
    pub fn sum(&self, x: &Tensor) -> Result<Tensor> {
        self.pattern.matmul(x)
    }

    /// The mean of the rows of each segment; empty segments give zero.
    ///
    /// # Errors
    ///
    /// As for [`Self::sum`].
    pub fn mean(&self, x: &Tensor) -> Result<Tensor> {
        self.pattern.segment_mean(x)
    }

    /// The largest value in each segment, element by element; empty segments give zero; the gradient goes to the first
    /// maximum.
    ///
    /// # Errors
    ///
    /// As for [`Self::sum`].
    pub fn max(&self, x: &Tensor) -> Result<Tensor> {
        self.pattern.segment_max(x)
    }

    /// The smallest value in each segment, see [`Self::max`].
    ///
    /// # Errors
    ///
    /// As for [`Self::sum`].
    pub fn min(&self, x: &Tensor) -> Result<Tensor> {
        self.pattern.segment_min(x)
    }

    /// The softmax over the rows of each segment: `[n]` or `[n, heads]`, same shape out.
    ///
    /// # Errors
    ///
    /// As for [`Self::sum`], and when there are more than two dimensions.
    pub fn softmax(&self, scores: &Tensor) -> Result<Tensor> {
        self.pattern.segment_softmax(scores)
    }

    /// `y[i] = x[ids[i]]`: a value of each segment, `[num_segments, …]`, handed to its rows, `[n, …]`.
    ///
    /// # Errors
    ///
    /// When the first dimension of `x` is not `num_segments`.
    pub fn broadcast(&self, x: &Tensor) -> Result<Tensor> {
        self.pattern.transpose().matmul(x)
    }
}
