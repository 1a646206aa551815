//! The perceptron behind each pooling and unpooling of SEP-N and SEP-U.

use crate::{Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::nn::{BatchNorm1d, BatchNormConfig, Linear, batch_norm1d, linear};
use core_tensor::ops;

/// `ReLU(BatchNorm(ReLU(Linear(x))))`: follows each pooling and unpooling of SEP-N and SEP-U.
#[derive(Debug)]
pub(super) struct PoolMlp {
    linear: Linear,
    norm: BatchNorm1d,
}

/// A layer with `nn.0` `width → width` and the batch norm `nn.2`.
pub(super) fn pool_mlp(width: usize, vb: VarBuilder<'_>) -> Result<PoolMlp> {
    let vb = vb.pp("nn");
    Ok(PoolMlp {
        linear: linear(width, width, vb.pp("0"))?,
        norm: batch_norm1d(width, BatchNormConfig::default(), vb.pp("2"))?,
    })
}

impl PoolMlp {
    pub(super) fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let hidden = ops::linear(x, self.linear.weight(), None)?;
        let hidden = match self.linear.bias() {
            Some(bias) => ops::bias_relu(&hidden, bias)?,
            None => ops::relu(&hidden)?,
        };
        Ok(self.norm.forward_relu(&hidden, mode)?)
    }
}
