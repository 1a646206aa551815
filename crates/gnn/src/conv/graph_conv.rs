//! The graph convolution of Morris et al. (AAAI 2019); SAGPool scores with it.

use super::convolution::Convolution;
use crate::{Adjacency, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear, linear_no_bias};
use core_tensor::ops;

/// `W_1 x_i + W_2 Σ_j w_ij x_j + b`.
#[derive(Debug, Clone)]
pub struct GraphConv {
    of_neighbors: Linear,
    of_root: Linear,
}

/// A layer with `lin_rel` (neighbours, with bias) and `lin_root` (without), both `inputs → outputs`.
///
/// # Errors
/// Parameters that exist with other shapes.
pub fn graph_conv(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<GraphConv> {
    let of_neighbors = linear(inputs, outputs, vb.pp("lin_rel"))?;
    let of_root = linear_no_bias(inputs, outputs, vb.pp("lin_root"))?;
    Ok(GraphConv { of_neighbors, of_root })
}

impl Convolution for GraphConv {
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        let weight = self.of_neighbors.weight();
        adjacency.check_layer("GraphConv::forward", x, weight.dims2()?.1, weight)?;
        let sum = adjacency.sum_neighbors(x)?;
        Ok(ops::add(&self.of_neighbors.forward(&sum)?, &self.of_root.forward(x)?)?)
    }
}
