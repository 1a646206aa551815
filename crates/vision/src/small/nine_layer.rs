//! The nine-layer network of the literature on noisy labels.

use crate::error::check_positive;
use crate::layers::{Convolution, NormalizedConvolution, Window};
use crate::{ImageNetwork, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::Mode;
use core_tensor::nn::{Linear, conv2d, linear};
use core_tensor::ops::{self, Pool2dConfig};

/// The numbers of a [`NineLayerCnn`].
#[derive(Debug, Clone, PartialEq)]
pub struct NineLayerCnnConfig {
    /// Channels of an image, 3.
    pub input_channels: usize,
    /// The number of logits.
    pub num_classes: usize,
    /// The probability with which dropout removes a whole channel, 0.25 (Co-teaching's).
    pub dropout: f64,
}

impl NineLayerCnnConfig {
    /// Images of 3 channels and Co-teaching's dropout.
    pub fn new(num_classes: usize) -> Self {
        Self { input_channels: 3, num_classes, dropout: 0.25 }
    }
}

/// The nine-layer network of Co-teaching (Han et al., 2018) and its successors: 3×3 convolutions with bias, batch norm and leaky relu of slope 0.01. Three of 128, the maximum
/// of 2×2 windows, dropout of channels; three of 256, the same; 512, 256 and 128 without padding; the mean over the positions and a linear layer.
///
/// Parameters have the names of the authors' code: `c1` to `c9`, `bn1` to `bn9`, `l_c1`. Images need 28 or more rows and columns. (In the authors' code dropout stays on in evaluation; here it follows
/// the [`Mode`].)
#[derive(Debug, Clone)]
pub struct NineLayerCnn {
    blocks: [Vec<NormalizedConvolution>; 3],
    head: Linear,
    dropout: f64,
}

/// The nine-layer network, initialised as PyTorch does by default: uniform in `±1/√fan_in`.
///
/// # Errors
/// [`Error::InvalidConfig`](crate::Error::InvalidConfig) for a size that is 0; parameters that exist with other shapes. A dropout outside `[0, 1)` is an error when the
/// network runs.
pub fn nine_layer_cnn(config: &NineLayerCnnConfig, vb: VarBuilder<'_>) -> Result<NineLayerCnn> {
    let NineLayerCnnConfig { input_channels, num_classes, dropout } = *config;
    check_positive("nine_layer_cnn", &[("input_channels", input_channels), ("num_classes", num_classes)])?;
    let (mut inputs, mut number) = (input_channels, 0);
    let mut blocks = [Vec::new(), Vec::new(), Vec::new()];
    let widths = [[128, 128, 128], [256, 256, 256], [512, 256, 128]];
    for (block, (widths, pads)) in blocks.iter_mut().zip(widths.into_iter().zip([true, true, false])) {
        for outputs in widths {
            number += 1;
            let window = Window { pads, ..Window::new(3, 1) };
            let name = vb.pp(format!("c{number}"));
            let layer = Convolution::new(conv2d(inputs, outputs, 3, window.config(), name.clone())?, &name);
            block.push(NormalizedConvolution::new(layer, outputs, vb.pp(format!("bn{number}")))?);
            inputs = outputs;
        }
    }
    Ok(NineLayerCnn { blocks, head: linear(inputs, num_classes, vb.pp("l_c1"))?, dropout })
}

/// Dropout of whole channels of `x`, `[n, channels, height, width]`.
fn dropout_channels(x: &Tensor, probability: f64, mode: &mut Mode<'_>) -> Result<Tensor> {
    let (n, channels, _, _) = x.dims4()?;
    let kept = mode.dropout(&Tensor::ones((n, channels, 1, 1), x.dtype(), x.device())?, probability)?;
    Ok(if mode.has_noise() { ops::mul(x, &kept)? } else { x.clone() })
}

impl ImageNetwork for NineLayerCnn {
    fn features_observed(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let mut x = images.clone();
        for (at, block) in self.blocks.iter().enumerate() {
            if at > 0 {
                x = dropout_channels(&ops::max_pool2d(&x, Pool2dConfig::square(2))?, self.dropout, mode)?;
            }
            for layer in block {
                x = ops::leaky_relu(&layer.forward(&x, mode, observe)?, 0.01)?;
            }
        }
        Ok(ops::global_avg_pool(&x)?)
    }

    fn head(&self) -> &Linear {
        &self.head
    }
}
