//! Convolutions with batch norm, one after the other.

use crate::error::check_positive;
use crate::layers::{NormalizedConvolution, Window, convolution};
use crate::{ImageNetwork, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear};
use core_tensor::{Mode, ops};

/// The numbers of a [`PlainCnn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainCnnConfig {
    /// Channels of an image.
    pub input_channels: usize,
    /// The number of logits.
    pub num_classes: usize,
    /// Outputs and stride of each 3×3 convolution.
    pub layers: Vec<(usize, usize)>,
}

/// 3×3 convolutions without bias, each with batch norm and relu, then the mean over the positions and a linear layer: a residual network without shortcuts.
///
/// Parameters: `conv1`, `bn1`, `conv2`, `bn2`, …, `fc`.
#[derive(Debug, Clone)]
pub struct PlainCnn {
    convolutions: Vec<NormalizedConvolution>,
    head: Linear,
}

/// A plain network, initialised as [`resnet`](crate::resnet).
///
/// # Errors
/// [`Error::InvalidConfig`](crate::Error::InvalidConfig) for a number of `config` that is 0, or no layers; parameters that exist with other shapes.
pub fn plain_cnn(config: &PlainCnnConfig, vb: VarBuilder<'_>) -> Result<PlainCnn> {
    const OPERATION: &str = "plain_cnn";
    let PlainCnnConfig { input_channels, num_classes, ref layers } = *config;
    check_positive(
        OPERATION,
        &[("input_channels", input_channels), ("num_classes", num_classes), ("the number of layers", layers.len())],
    )?;
    let mut inputs = input_channels;
    let mut convolutions = Vec::new();
    for (at, &(outputs, stride)) in layers.iter().enumerate() {
        check_positive(OPERATION, &[("a width in layers", outputs), ("a stride in layers", stride)])?;
        let layer = convolution(inputs, outputs, Window::new(3, stride), vb.pp(format!("conv{}", at + 1)))?;
        convolutions.push(NormalizedConvolution::new(layer, outputs, vb.pp(format!("bn{}", at + 1)))?);
        inputs = outputs;
    }
    Ok(PlainCnn { convolutions, head: linear(inputs, num_classes, vb.pp("fc"))? })
}

impl ImageNetwork for PlainCnn {
    fn features_observed(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let mut x = images.clone();
        for layer in &self.convolutions {
            x = layer.forward_relu(&x, mode, observe)?;
        }
        Ok(ops::global_avg_pool(&x)?)
    }

    fn head(&self) -> &Linear {
        &self.head
    }
}
