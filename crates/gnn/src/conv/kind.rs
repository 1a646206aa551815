//! The choice of a convolution as data.

use super::cheb::cheb_conv;
use super::convolution::Convolution;
use super::gcn::gcn_conv;
use super::gin::gin_conv;
use super::sage::sage_conv;
use crate::Result;
use candle_nn::VarBuilder;

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
