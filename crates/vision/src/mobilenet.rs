//! MobileNet, version 1.

use crate::error::check_positive;
use crate::layers::{NormalizedConvolution, Window, convolution};
use crate::{Error, ImageNetwork, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear};
use core_tensor::rounding::floor_to_count;
use core_tensor::{Mode, ops};

/// The numbers of a [`MobileNet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MobileNetConfig {
    /// Channels of an image, 3.
    pub input_channels: usize,
    /// The number of logits.
    pub num_classes: usize,
    /// Channels of the first convolution, 32.
    pub stem_width: usize,
    /// The step of the first convolution: 2 for ImageNet, 1 for CIFAR.
    pub stem_stride: usize,
    /// Outputs of the 13 blocks.
    pub widths: Vec<usize>,
}

const WIDTHS: [usize; 13] = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024];
const STRIDES: [usize; 13] = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1];

impl MobileNetConfig {
    /// The ImageNet form with all widths multiplied by `width_multiplier`, α of the paper's section 3.3, rounded down, and at least 8 as in TensorFlow's
    /// `mobilenet_v1.py`: 4,231,976 parameters with α = 1 and 1000 classes.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a multiplier that is not finite and above 0.
    pub fn mobilenet(width_multiplier: f64, num_classes: usize) -> Result<Self> {
        let is_valid = width_multiplier.is_finite() && width_multiplier > 0.;
        if !is_valid {
            let reason = format!("is {width_multiplier}, expected a finite number above 0");
            return Err(Error::config("mobilenet", "width_multiplier", reason));
        }
        let scaled = |width: usize| floor_to_count(width as f64 * width_multiplier).max(8);
        let widths = WIDTHS.iter().map(|&width| scaled(width)).collect();
        Ok(Self { input_channels: 3, num_classes, stem_width: scaled(32), stem_stride: 2, widths })
    }

    /// The same network for small images: the first convolution has stride 1.
    pub fn cifar(self) -> Self {
        Self { stem_stride: 1, ..self }
    }
}

/// MobileNet (Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017): 13 blocks of a depthwise 3×3 and a
/// pointwise convolution, each with batch norm and relu, then the mean over the positions and a linear layer.
///
/// Torchvision has no version 1; parameters have the names of the common CIFAR code (`kuangliu/pytorch-cifar`): `conv1`, `bn1`, `layers.0.conv1`
/// (depthwise), `layers.0.bn1`, `layers.0.conv2` (pointwise), `layers.0.bn2`, …, `linear`.
#[derive(Debug, Clone)]
pub struct MobileNet {
    stem: NormalizedConvolution,
    blocks: Vec<[NormalizedConvolution; 2]>,
    head: Linear,
}

/// MobileNet, version 1.
///
/// Convolutions are normal with std `√(2 / fan_out)`, as in torchvision's `mobilenetv2.py`; batch norms 1 and 0; the linear layer uniform in `±1/√inputs`.
///
/// # Errors
/// [`Error::InvalidConfig`] for a number of `config` that is 0, or other than 13 widths; parameters that exist with other shapes.
pub fn mobilenet(config: &MobileNetConfig, vb: VarBuilder<'_>) -> Result<MobileNet> {
    const OPERATION: &str = "mobilenet";
    let MobileNetConfig { input_channels, num_classes, stem_width, stem_stride, .. } = *config;
    check_positive(OPERATION, &[("input_channels", input_channels), ("num_classes", num_classes)])?;
    check_positive(OPERATION, &[("stem_width", stem_width), ("stem_stride", stem_stride)])?;
    config.widths.iter().try_for_each(|&width| check_positive(OPERATION, &[("a number in widths", width)]))?;
    if config.widths.len() != STRIDES.len() {
        let reason = format!("has {} elements, expected one for each of {} blocks", config.widths.len(), STRIDES.len());
        return Err(Error::config(OPERATION, "widths", reason));
    }
    let stem = convolution(input_channels, stem_width, Window::new(3, stem_stride), vb.pp("conv1"))?;
    let stem = NormalizedConvolution::new(stem, stem_width, vb.pp("bn1"))?;
    let mut inputs = stem_width;
    let mut blocks = Vec::new();
    for (at, (&outputs, stride)) in config.widths.iter().zip(STRIDES).enumerate() {
        let vb = vb.pp("layers").pp(at);
        let depthwise = Window { groups: inputs, ..Window::new(3, stride) };
        let depthwise = convolution(inputs, inputs, depthwise, vb.pp("conv1"))?;
        let pointwise = convolution(inputs, outputs, Window::new(1, 1), vb.pp("conv2"))?;
        blocks.push([
            NormalizedConvolution::new(depthwise, inputs, vb.pp("bn1"))?,
            NormalizedConvolution::new(pointwise, outputs, vb.pp("bn2"))?,
        ]);
        inputs = outputs;
    }
    Ok(MobileNet { stem, blocks, head: linear(inputs, num_classes, vb.pp("linear"))? })
}

impl ImageNetwork for MobileNet {
    fn features_observed(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let mut x = self.stem.forward_relu(images, mode, observe)?;
        for layer in self.blocks.iter().flatten() {
            x = layer.forward_relu(&x, mode, observe)?;
        }
        Ok(ops::global_avg_pool(&x)?)
    }

    fn head(&self) -> &Linear {
        &self.head
    }
}
