//! Network in network.

use crate::error::check_positive;
use crate::layers::{Convolution, NormalizedConvolution, Window};
use crate::{ImageNetwork, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::Mode;
use core_tensor::nn::{Linear, conv2d_no_bias, linear};
use core_tensor::ops::{self, Pool2dConfig};

/// The numbers of a [`NetworkInNetwork`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInNetworkConfig {
    /// Channels of an image, 3.
    pub input_channels: usize,
    /// The number of logits.
    pub num_classes: usize,
    /// Divides the widths 192, 160, 96, 192, …, rounded up, 1.
    pub divisor: usize,
}

impl NetworkInNetworkConfig {
    /// The full width on images of 3 channels.
    pub fn new(num_classes: usize) -> Self {
        Self { input_channels: 3, num_classes, divisor: 1 }
    }
}

/// Network in network (Lin, Chen, Yan, 2014) with batch norm: three blocks of three convolutions without bias, each followed by batch norm and relu. 5×5 and 1×1
/// twice, then the maximum of 3×3 windows at stride 2; the same with a mean; 3×3 and 1×1 twice, then the mean over the positions and a linear layer.
///
/// Parameters: `0.0.conv`, `0.0.norm` (block and layer), …, `2.2.norm`, `head`.
#[derive(Debug, Clone)]
pub struct NetworkInNetwork {
    blocks: Vec<Vec<NormalizedConvolution>>,
    head: Linear,
}

/// The widths and kernels, block by block.
const LAYERS: [[(usize, usize); 3]; 3] =
    [[(192, 5), (160, 1), (96, 1)], [(192, 5), (192, 1), (192, 1)], [(192, 3), (192, 1), (192, 1)]];
const HALVING: Pool2dConfig = Pool2dConfig { kernel: (3, 3), stride: (2, 2), padding: (1, 1) };

/// Network in network, initialised as PyTorch does by default: weights uniform in `±1/√fan_in`.
///
/// # Errors
/// [`Error::InvalidConfig`](crate::Error::InvalidConfig) for a number of `config` that is 0; parameters that exist with other shapes.
pub fn network_in_network(config: &NetworkInNetworkConfig, vb: VarBuilder<'_>) -> Result<NetworkInNetwork> {
    let NetworkInNetworkConfig { input_channels, num_classes, divisor } = *config;
    check_positive(
        "network_in_network",
        &[("input_channels", input_channels), ("num_classes", num_classes), ("divisor", divisor)],
    )?;
    let mut inputs = input_channels;
    let mut blocks = Vec::new();
    for (block, layers) in LAYERS.iter().enumerate() {
        let mut convolutions = Vec::new();
        for (layer, &(outputs, kernel)) in layers.iter().enumerate() {
            let outputs = outputs.div_ceil(divisor);
            let vb = vb.pp(block).pp(layer);
            let convolution = conv2d_no_bias(inputs, outputs, kernel, Window::new(kernel, 1).config(), vb.pp("conv"))?;
            let convolution = Convolution::new(convolution, &vb.pp("conv"));
            convolutions.push(NormalizedConvolution::new(convolution, outputs, vb.pp("norm"))?);
            inputs = outputs;
        }
        blocks.push(convolutions);
    }
    Ok(NetworkInNetwork { blocks, head: linear(inputs, num_classes, vb.pp("head"))? })
}

impl ImageNetwork for NetworkInNetwork {
    fn features_observed(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let mut x = images.clone();
        for (at, block) in self.blocks.iter().enumerate() {
            x = match at {
                0 => x,
                1 => ops::max_pool2d(&x, HALVING)?,
                _ => ops::avg_pool2d(&x, HALVING)?,
            };
            for layer in block {
                x = layer.forward_relu(&x, mode, observe)?;
            }
        }
        Ok(ops::global_avg_pool(&x)?)
    }

    fn head(&self) -> &Linear {
        &self.head
    }
}
