//! Temporal convolutional network (Bai, Kolter, Koltun 2018), the baseline of SITHCon.

use crate::error::{check_dtype, check_sizes};
use crate::sithcon::Sequences;
use crate::weight_norm::WeightNorm;
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::nn::{self, Linear};
use core_tensor::ops::{self, Conv1dConfig};
use serde::{Deserialize, Serialize};

/// Sizes of a network; the defaults are those of the Morse decoder in the SITHCon paper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcnConfig {
    /// The channels of each block; `[25, 25]`.
    pub channels: Vec<usize>,
    /// K, the length of the kernels; 45.
    pub kernel: usize,
}

impl Default for TcnConfig {
    fn default() -> Self {
        Self { channels: vec![25, 25], kernel: 45 }
    }
}

#[derive(Debug, Clone)]
struct Convolution {
    weight: WeightNorm,
    bias: Tensor,
    config: Conv1dConfig,
}

impl Convolution {
    fn new(inputs: usize, outputs: usize, kernel: usize, dilation: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = WeightNorm::new(&[outputs, inputs, kernel], &vb)?;
        let bias = vb.get_with_hints(outputs, "bias", core_tensor::init::fan_in_uniform(inputs * kernel))?;
        let config = Conv1dConfig { dilation, is_causal: true, ..Conv1dConfig::default() };
        Ok(Self { weight, bias, config })
    }

    fn forward_relu(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::relu(&ops::conv1d(x, &self.weight.weight()?, Some(&self.bias), &self.config)?)?)
    }
}

#[derive(Debug, Clone)]
struct Block {
    first: Convolution,
    second: Convolution,
    downsample: Option<(Tensor, Tensor)>,
}

/// Blocks of two causal convolutions with weight norm and dilation 2^l, each followed by a ReLU, with a residual connection around the two; a linear map of the last step.
///
/// Parameters: `block{l}.conv1.weight_v`, `.weight_g`, `.bias`, `block{l}.conv2.…`, `block{l}.downsample.…` where the channels change, `linear`.
#[derive(Debug, Clone)]
pub struct Tcn {
    blocks: Vec<Block>,
    linear: Linear,
    features: usize,
}

const OP: &str = "TCN";

/// A [`Tcn`] from `features` channels to `outputs` numbers.
///
/// # Errors
/// Sizes of zero or above 65,536, no block, more than 30 blocks, parameters of other shapes.
pub fn tcn(features: usize, outputs: usize, config: &TcnConfig, vb: VarBuilder<'_>) -> Result<Tcn> {
    if !(1..=30).contains(&config.channels.len()) {
        return Err(Error::config(OP, "the number of blocks", config.channels.len() as f64, "1 to 30"));
    }
    let sizes = [("features", features), ("outputs", outputs), ("kernel", config.kernel)];
    check_sizes(OP, sizes.into_iter().chain(config.channels.iter().map(|&channels| ("channels", channels))))?;
    // the residual's and the last map's weights start small
    let small = Init::Randn { mean: 0., stdev: 0.01 };
    let (mut blocks, mut inputs) = (Vec::new(), features);
    for (l, &channels) in config.channels.iter().enumerate() {
        let vb = vb.pp(format!("block{l}"));
        let downsample = if inputs == channels {
            None
        } else {
            let vb = vb.pp("downsample");
            let bias = vb.get_with_hints(channels, "bias", core_tensor::init::fan_in_uniform(inputs))?;
            Some((vb.get_with_hints((channels, inputs, 1), "weight", small)?, bias))
        };
        blocks.push(Block {
            first: Convolution::new(inputs, channels, config.kernel, 1 << l, vb.pp("conv1"))?,
            second: Convolution::new(channels, channels, config.kernel, 1 << l, vb.pp("conv2"))?,
            downsample,
        });
        inputs = channels;
    }
    let bias = core_tensor::init::fan_in_uniform(inputs);
    let linear = nn::linear_with(inputs, outputs, small, Some(bias), vb.pp("linear"))?;
    Ok(Tcn { blocks, linear, features })
}

impl Tcn {
    /// The features of the last block at every step, `[batch, features, time]` to `[batch, channels, time]`.
    ///
    /// # Errors
    /// Another shape or dtype.
    pub fn forward_features(&self, x: &Tensor) -> Result<Tensor> {
        if !matches!(x.dims(), &[_, features, time] if features == self.features && time > 0) {
            return Err(Error::shape(OP, "x", x, format!("[batch, {}, time]", self.features)));
        }
        check_dtype(OP, "x", x, self.linear.weight())?;
        let mut x = x.clone();
        for block in &self.blocks {
            let y = block.second.forward_relu(&block.first.forward_relu(&x)?)?;
            let residual = match &block.downsample {
                Some((weight, bias)) => ops::conv1d(&x, weight, Some(bias), &Conv1dConfig::default())?,
                None => x,
            };
            x = ops::add_relu(&y, &residual)?;
        }
        Ok(x)
    }

    /// The outputs at the last step of each sequence, `[sequences, outputs]`. Padding follows the end of a sequence, which a causal network does not see.
    ///
    /// # Errors
    /// Another number of features or dtype.
    pub fn forward_sequences(&self, x: &Sequences) -> Result<Tensor> {
        if x.num_features() != self.features {
            return Err(Error::shape(OP, "x", x.values(), format!("[rows, {}]", self.features)));
        }
        let features = self.forward_features(&x.to_right_padded()?)?.transpose(1, 2)?.contiguous()?;
        let ends = (0..x.len()).map(|sequence| (sequence * x.longest() + x.rows(sequence).len() - 1) as u32);
        let ends = Tensor::from_vec(ends.collect::<Vec<u32>>(), x.len(), features.device())?;
        Ok(self.linear.forward(&features.flatten(0, 1)?.index_select(&ends, 0)?)?)
    }
}

impl Module for Tcn {
    /// `[batch, features, time]` to the outputs at the last step, `[batch, outputs]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let features = self.forward_features(x)?;
        let last = features.narrow(2, x.dims()[2] - 1, 1)?.squeeze(2)?.contiguous()?;
        self.linear.forward(&last)
    }
}
