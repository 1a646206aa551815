//! Graph convolution of Kipf & Welling (ICLR 2017).

use super::convolution::Convolution;
use crate::{Adjacency, Features, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use core_tensor::{init, ops};

const OPERATION: &str = "GcnConv::forward";

/// `D^-1/2 (A + I) D^-1/2 X Wᵀ + b`, with `D` the row sums of `A + I`.
#[derive(Debug, Clone)]
pub struct GcnConv {
    weight: Tensor,
    bias: Tensor,
}

/// A layer with `lin.weight` `[outputs, inputs]` (Glorot uniform) and `bias` `[outputs]` (zero).
///
/// # Errors
/// Parameters that exist with other shapes.
pub fn gcn_conv(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<GcnConv> {
    gcn_conv_with(inputs, outputs, init::glorot_uniform(inputs, outputs), vb)
}

/// The same with other initial weights.
///
/// # Errors
/// As [`gcn_conv`].
pub fn gcn_conv_with(inputs: usize, outputs: usize, weight: Init, vb: VarBuilder<'_>) -> Result<GcnConv> {
    let weight = vb.pp("lin").get_with_hints((outputs, inputs), "weight", weight)?;
    let bias = vb.get_with_hints(outputs, "bias", Init::Const(0.0))?;
    Ok(GcnConv { weight, bias })
}

impl GcnConv {
    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub(crate) fn inputs(&self) -> usize {
        self.weight.dims()[1]
    }

    /// `x Wᵀ + b`: what is left when the neighbours are summed already.
    pub(crate) fn transform(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(x, &self.weight, Some(&self.bias))?)
    }

    fn without_bias(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        let (outputs, inputs) = self.weight.dims2()?;
        adjacency.check_layer(OPERATION, x, inputs, &self.weight)?;
        // the product with the adjacency goes where the features are narrower
        if inputs < outputs {
            Ok(ops::linear(&adjacency.propagate_symmetric(x)?, &self.weight, None)?)
        } else {
            adjacency.propagate_symmetric(&ops::linear(x, &self.weight, None)?)
        }
    }
}

impl Convolution for GcnConv {
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        Ok(ops::bias_add(&self.without_bias(x, adjacency)?, &self.bias)?)
    }

    fn forward_relu(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        Ok(ops::bias_relu(&self.without_bias(x, adjacency)?, &self.bias)?)
    }

    fn forward_features(&self, features: &Features, adjacency: &Adjacency) -> Result<Tensor> {
        features.check(OPERATION, (adjacency.num_nodes(), self.weight.dims2()?.1), &self.weight)?;
        adjacency.check(OPERATION, self.weight.dtype(), self.weight.device())?;
        let projected = adjacency.propagate_symmetric(&features.project(&self.weight)?)?;
        Ok(ops::bias_add(&projected, &self.bias)?)
    }
}
