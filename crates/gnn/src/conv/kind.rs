//! The choice of a convolution as data.

use super::cheb::cheb_conv;
use super::convolution::Convolution;
use super::gat::{GatConfig, gat_conv};
use super::gcn::gcn_conv;
use super::gin::gin_conv;
use super::sage::sage_conv;
use crate::{Error, Result};
use candle_nn::VarBuilder;

/// Which convolution a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ConvolutionKind {
    /// Kipf & Welling's graph convolution.
    Gcn,
    /// Graph isomorphism network (GIN-0) with a two-layer perceptron; edge weights are left aside. Behind a dense pool
    /// ([`PoolKind::DiffPool`](crate::pool::PoolKind::DiffPool), [`PoolKind::MinCut`](crate::pool::PoolKind::MinCut)), whose graphs are complete and
    /// say by their weights alone what is connected, a [`GraphEncoder`](crate::encoder::GraphEncoder) takes [`ConvolutionKind::GinWeighted`] instead.
    Gin,
    /// The same with edge weights as factors of the sum.
    GinWeighted,
    /// GraphSAGE with the mean aggregator.
    Sage,
    /// Chebyshev filters of order 2.
    Cheb,
    /// Graph attention; the heads' outputs stand side by side.
    Gat {
        /// Number of heads; divides the width of the output.
        heads: usize,
    },
    /// Graph attention with GATv2's scores.
    GatV2 {
        /// Number of heads; divides the width of the output.
        heads: usize,
    },
}

impl ConvolutionKind {
    /// Builds a layer `inputs → outputs` of this kind.
    ///
    /// # Errors
    /// Parameters that exist with other shapes, or a number of heads that does not divide `outputs`.
    pub fn build(self, inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Box<dyn Convolution>> {
        Ok(match self {
            Self::Gcn => Box::new(gcn_conv(inputs, outputs, vb)?),
            Self::Gin => Box::new(gin_conv(inputs, outputs, vb)?),
            Self::GinWeighted => Box::new(gin_conv(inputs, outputs, vb)?.with_edge_weights()),
            Self::Sage => Box::new(sage_conv(inputs, outputs, vb)?),
            Self::Cheb => Box::new(cheb_conv(inputs, outputs, 2, vb)?),
            Self::Gat { heads } => Box::new(gat_conv(attention(inputs, outputs, heads, false)?, vb)?),
            Self::GatV2 { heads } => Box::new(gat_conv(attention(inputs, outputs, heads, true)?, vb)?),
        })
    }

    /// The kind that makes sense on complete graphs whose weights say what is connected.
    pub(crate) fn behind_dense_pool(self) -> Self {
        match self {
            Self::Gin => Self::GinWeighted,
            other => other,
        }
    }
}

fn attention(inputs: usize, outputs: usize, heads: usize, is_dynamic: bool) -> Result<GatConfig> {
    if heads == 0 || !outputs.is_multiple_of(heads) {
        let (got, expected) = (format!("{heads} for a width of {outputs}"), "a divisor of the layer's width");
        return Err(Error::InvalidConfig { what: "number of heads", got, expected });
    }
    Ok(GatConfig { heads, is_dynamic, ..GatConfig::new(inputs, outputs / heads) })
}
