//! Graph isomorphism network (Xu et al., ICLR 2019).

use super::convolution::Convolution;
use crate::{Adjacency, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear};
use core_tensor::ops;

/// `MLP((1 + ε) x_i + Σ_j x_j)` with `MLP = Linear → ReLU → Linear` and `ε = 0`, as in the plain GIN-0.
///
/// The sum is over incoming messages, edge weights left aside, as in the paper and in PyTorch Geometric's `GINConv`. With
/// [`GinConv::with_edge_weights`] it is `Σ_j w_ij x_j`, as in its `DenseGINConv`.
#[derive(Debug, Clone)]
pub struct GinConv {
    first: Linear,
    second: Linear,
    has_edge_weights: bool,
}

/// A layer with `nn.0` `inputs → outputs` and `nn.2` `outputs → outputs` (PyTorch's default initialisation).
///
/// # Errors
/// Parameters that exist with other shapes.
pub fn gin_conv(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<GinConv> {
    gin_conv_with(inputs, outputs, outputs, vb)
}

/// A layer whose perceptron has another width inside: `nn.0` `inputs → hidden` and `nn.2` `hidden → outputs`.
///
/// # Errors
/// As [`gin_conv`].
pub fn gin_conv_with(inputs: usize, hidden: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<GinConv> {
    let vb = vb.pp("nn");
    let (first, second) = (linear(inputs, hidden, vb.pp("0"))?, linear(hidden, outputs, vb.pp("2"))?);
    Ok(GinConv { first, second, has_edge_weights: false })
}

impl GinConv {
    /// The same layer with the edges' weights as factors of the sum.
    #[must_use]
    pub fn with_edge_weights(self) -> Self {
        Self { has_edge_weights: true, ..self }
    }

    fn sum(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        match self.has_edge_weights {
            true => adjacency.sum_neighbors(x),
            false => Ok(adjacency.pattern().matmul(x)?),
        }
    }
}

impl Convolution for GinConv {
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        self.forward_with(x, None, adjacency)
    }
}

impl GinConv {
    /// [`Convolution::forward`] with another summand `[n, in]` beside a node and its neighbours.
    pub(crate) fn forward_with(&self, x: &Tensor, summand: Option<&Tensor>, adjacency: &Adjacency) -> Result<Tensor> {
        // W (x + A x) = (W x) + A (W x): multiply on whichever side is narrower
        let (outputs, inputs) = self.first.weight().dims2()?;
        adjacency.check_layer("GinConv::forward", x, inputs, self.first.weight())?;
        let hidden = if outputs < inputs && summand.is_none() {
            let projected = ops::linear(x, self.first.weight(), None)?;
            ops::add(&self.sum(&projected, adjacency)?, &projected)?
        } else {
            let mut sum = ops::add(&self.sum(x, adjacency)?, x)?;
            if let Some(summand) = summand {
                sum = ops::add(&sum, summand)?;
            }
            ops::linear(&sum, self.first.weight(), None)?
        };
        let hidden = match self.first.bias() {
            Some(bias) => ops::bias_relu(&hidden, bias)?,
            None => ops::relu(&hidden)?,
        };
        Ok(self.second.forward(&hidden)?)
    }
}
