//! Graph convolutions in the style of candle-nn: a plain struct, a `Config`, a function that builds it from a `VarBuilder`.
//!
//! Parameter names are those of PyTorch Geometric, so that its state dicts load.

mod cheb;
mod gcn;
mod gin;
mod graph_conv;
mod sage;

pub use cheb::{ChebConv, cheb_conv};
pub use gcn::{GcnConv, gcn_conv};
pub use gin::{GinConv, gin_conv};
pub use graph_conv::{GraphConv, graph_conv};
pub use sage::{SageConv, sage_conv};

use crate::{Adjacency, Features, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;

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

/// Which convolution a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ConvolutionKind {
    /// Kipf & Welling's graph convolution.
    Gcn,
    /// Graph isomorphism network (GIN-0) with a two-layer perceptron.
    Gin,
    /// GraphSAGE with the mean aggregator.
    Sage,
    /// Chebyshev filters of order 2.
    Cheb,
}

impl ConvolutionKind {
    /// Builds a layer `inputs → outputs` of this kind.
    ///
    /// # Errors
    /// Parameters that exist with other shapes.
    pub fn build(self, inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Box<dyn Convolution>> {
        Ok(match self {
            Self::Gcn => Box::new(gcn_conv(inputs, outputs, vb)?),
            Self::Gin => Box::new(gin_conv(inputs, outputs, vb)?),
            Self::Sage => Box::new(sage_conv(inputs, outputs, vb)?),
            Self::Cheb => Box::new(cheb_conv(inputs, outputs, 2, vb)?),
        })
    }
}
