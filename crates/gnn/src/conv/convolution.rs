//! What every graph convolution does.

use crate::{Adjacency, Features, Result};
use candle_core::Tensor;

/// A layer that maps node features `[n, in]` to `[n, out]` along the edges of a graph.
pub trait Convolution: std::fmt::Debug + Send + Sync {
    /// The new features, `[n, out]`.
    ///
    /// # Errors
    /// Features that do not fit the graph or the layer.
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor>;

    /// [`Convolution::forward`] followed by a ReLU; layers that can fuse the two do.
    ///
    /// # Errors
    /// As [`Convolution::forward`].
    fn forward_relu(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        Ok(core_tensor::ops::relu(&self.forward(x, adjacency)?)?)
    }

    /// [`Convolution::forward`] of features that may be sparse.
    ///
    /// # Errors
    /// As [`Convolution::forward`].
    fn forward_features(&self, features: &Features, adjacency: &Adjacency) -> Result<Tensor> {
        self.forward(&features.to_dense()?, adjacency)
    }
}
