//! GraphSAGE (Hamilton et al., NeurIPS 2017) with the mean aggregator.

use super::convolution::Convolution;
use crate::{Adjacency, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear, linear_no_bias};
use core_tensor::ops;

/// `W_l mean_j x_j + b + W_r x_i`; the mean is over incoming messages, weights left aside, and zero where there are none.
#[derive(Debug, Clone)]
pub struct SageConv {
    of_neighbors: Linear,
    of_root: Linear,
}

/// A layer with `lin_l` (with bias) and `lin_r` (without), both `inputs → outputs`.
///
/// # Errors
/// Parameters that exist with other shapes.
pub fn sage_conv(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<SageConv> {
    let of_neighbors = linear(inputs, outputs, vb.pp("lin_l"))?;
    let of_root = linear_no_bias(inputs, outputs, vb.pp("lin_r"))?;
    Ok(SageConv { of_neighbors, of_root })
}

impl Convolution for SageConv {
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        let weight = self.of_neighbors.weight();
        adjacency.check_layer("SageConv::forward", x, weight.dims2()?.1, weight)?;
        let mean = adjacency.pattern().segment_mean(x)?;
        self.forward_with_mean(x, &mean, adjacency)
    }
}

impl SageConv {
    /// The layer with another mean than that over the neighbours.
    pub(crate) fn forward_with_mean(&self, x: &Tensor, mean: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        let weight = self.of_neighbors.weight();
        adjacency.check_layer("SageConv::forward", x, weight.dims2()?.1, weight)?;
        Ok(ops::add(&self.of_neighbors.forward(mean)?, &self.of_root.forward(x)?)?)
    }
}
