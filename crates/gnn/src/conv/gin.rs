//! Graph isomorphism network (Xu et al., ICLR 2019).

use super::convolution::Convolution;
use crate::{Adjacency, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear};
use core_tensor::ops;

/// `MLP((1 + ε) x_i + Σ_j x_j)` with `MLP = Linear → ReLU → Linear` and `ε = 0`, as in the plain GIN-0.
#[derive(Debug, Clone)]
pub struct GinConv {
    first: Linear,
    second: Linear,
}

/// A layer with `nn.0` `inputs → outputs` and `nn.2` `outputs → outputs` (PyTorch's default initialisation).
///
/// # Errors
/// Parameters that exist with other shapes.
pub fn gin_conv(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<GinConv> {
    let vb = vb.pp("nn");
    Ok(GinConv { first: linear(inputs, outputs, vb.pp("0"))?, second: linear(outputs, outputs, vb.pp("2"))? })
}

impl Convolution for GinConv {
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        // W (x + A x) = (W x) + A (W x): multiply on whichever side is narrower
        let (outputs, inputs) = self.first.weight().dims2()?;
        let hidden = if outputs < inputs {
            let projected = ops::linear(x, self.first.weight(), None)?;
            (adjacency.sum_neighbors(&projected)? + projected)?
        } else {
            ops::linear(&(adjacency.sum_neighbors(x)? + x)?, self.first.weight(), None)?
        };
        let hidden = match self.first.bias() {
            Some(bias) => ops::bias_relu(&hidden, bias)?,
            None => ops::relu(&hidden)?,
        };
        Ok(self.second.forward(&hidden)?)
    }
}
