//! VGG with batch norm.

use crate::error::check_positive;
use crate::layers::{NormalizedConvolution, Window, convolution_with_bias};
use crate::{Error, ImageNetwork, Result};
use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::Mode;
use core_tensor::nn::{Linear, linear_with};
use core_tensor::ops::{self, Pool2dConfig};

/// What follows the convolutions of a [`Vgg`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VggHead {
    /// Torchvision's: the maximum of 2×2 windows, an adaptive mean to 7×7 positions, and three linear layers, `classifier.0`, `.3` and `.6`, the first two
    /// with relu and dropout 0.5.
    ImageNet {
        /// Outputs of the first two linear layers, 4096.
        width: usize,
    },
    /// For small images: the mean over all positions and one linear layer, `classifier`. The last stage has no maximum behind it.
    Cifar,
}

/// The numbers of a [`Vgg`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VggConfig {
    /// Channels of an image, 3.
    pub input_channels: usize,
    /// The number of logits.
    pub num_classes: usize,
    /// The outputs of the 3×3 convolutions of each stage; between stages is the maximum of 2×2 windows.
    pub stages: Vec<Vec<usize>>,
    /// What follows the convolutions.
    pub head: VggHead,
}

const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];

impl VggConfig {
    fn new(depths: [usize; 5], num_classes: usize) -> Self {
        let stages = WIDTHS.iter().zip(depths).map(|(&width, depth)| vec![width; depth]).collect();
        Self { input_channels: 3, num_classes, stages, head: VggHead::ImageNet { width: 4096 } }
    }

    /// VGG-11 in its ImageNet form: 132,868,840 parameters with 1000 classes.
    pub fn vgg11(num_classes: usize) -> Self {
        Self::new([1, 1, 2, 2, 2], num_classes)
    }

    /// VGG-13 in its ImageNet form: 133,053,736 parameters with 1000 classes.
    pub fn vgg13(num_classes: usize) -> Self {
        Self::new([2, 2, 2, 2, 2], num_classes)
    }

    /// VGG-16 in its ImageNet form: 138,365,992 parameters with 1000 classes.
    pub fn vgg16(num_classes: usize) -> Self {
        Self::new([2, 2, 3, 3, 3], num_classes)
    }

    /// VGG-19 in its ImageNet form: 143,678,248 parameters with 1000 classes.
    pub fn vgg19(num_classes: usize) -> Self {
        Self::new([2, 2, 4, 4, 4], num_classes)
    }

    /// The same network with the head for small images: [`VggHead::Cifar`].
    pub fn cifar(self) -> Self {
        Self { head: VggHead::Cifar, ..self }
    }
}

/// VGG with batch norm (Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015) with torchvision's parameter
/// names: `features.0` (convolution), `features.1` (batch norm), `features.3` or, after a maximum, `features.4`, …, and the names of [`VggHead`].
///
/// Every maximum halves the image: the presets need at least 32×32, in CIFAR's form 16×16.
#[derive(Debug, Clone)]
pub struct Vgg {
    stages: Vec<Vec<NormalizedConvolution>>,
    head: VggHead,
    hidden: Vec<Linear>,
    last: Linear,
}

/// VGG with batch norm.
///
/// Initialisation as in torchvision's `vgg.py`: convolutions normal with std `√(2 / fan_out)`, linear weights normal with std 0.01, batch norms 1 and 0, all biases 0.
///
/// # Errors
/// [`Error::InvalidConfig`] for a number of `config` that is 0 or an empty list; parameters that exist with other shapes.
pub fn vgg(config: &VggConfig, vb: VarBuilder<'_>) -> Result<Vgg> {
    const OPERATION: &str = "vgg";
    check_positive(OPERATION, &[("input_channels", config.input_channels), ("num_classes", config.num_classes)])?;
    if config.stages.is_empty() || config.stages.iter().any(Vec::is_empty) {
        return Err(Error::config(OPERATION, "stages", "has a stage without convolutions, or none"));
    }
    config.stages.iter().flatten().try_for_each(|&width| check_positive(OPERATION, &[("a width in stages", width)]))?;
    let mut inputs = config.input_channels;
    let mut at = 0;
    let mut stages = Vec::new();
    for widths in &config.stages {
        let mut stage = Vec::new();
        for &outputs in widths {
            let vb = vb.pp("features");
            let layer = convolution_with_bias(inputs, outputs, Window::new(3, 1), vb.pp(at))?;
            stage.push(NormalizedConvolution::new(layer, outputs, vb.pp(at + 1))?);
            // convolution, batch norm and relu have a number each
            at += 3;
            inputs = outputs;
        }
        // and so has the maximum
        at += 1;
        stages.push(stage);
    }
    let dense = |inputs: usize, outputs: usize, vb: VarBuilder<'_>| {
        linear_with(inputs, outputs, Init::Randn { mean: 0., stdev: 0.01 }, Some(Init::Const(0.)), vb)
    };
    let vb = vb.pp("classifier");
    let (hidden, last) = match config.head {
        VggHead::ImageNet { width } => {
            check_positive(OPERATION, &[("the width of the head", width)])?;
            let hidden = vec![dense(inputs * 49, width, vb.pp(0))?, dense(width, width, vb.pp(3))?];
            (hidden, dense(width, config.num_classes, vb.pp(6))?)
        }
        VggHead::Cifar => (Vec::new(), dense(inputs, config.num_classes, vb)?),
    };
    Ok(Vgg { stages, head: config.head, hidden, last })
}

impl ImageNetwork for Vgg {
    fn features_observed(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let mut x = images.clone();
        for (at, stage) in self.stages.iter().enumerate() {
            if at > 0 {
                x = ops::max_pool2d(&x, Pool2dConfig::square(2))?;
            }
            for layer in stage {
                x = layer.forward_relu(&x, mode, observe)?;
            }
        }
        if self.head == VggHead::Cifar {
            return Ok(ops::global_avg_pool(&x)?);
        }
        x = ops::max_pool2d(&x, Pool2dConfig::square(2))?;
        x = ops::adaptive_avg_pool2d(&x, (7, 7))?.flatten_from(1)?;
        for layer in &self.hidden {
            x = mode.dropout(&ops::relu(&layer.forward(&x)?)?, 0.5)?;
        }
        Ok(x)
    }

    fn head(&self) -> &Linear {
        &self.last
    }
}
