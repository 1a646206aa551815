//! Convolutions and maxima, then linear layers.

use crate::error::check_positive;
use crate::layers::{Convolution, Window};
use crate::{Error, ImageNetwork, ImageShape, Result};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use core_tensor::Mode;
use core_tensor::nn::{Linear, conv2d, linear};
use core_tensor::ops::{self, Pool2dConfig};

/// The numbers of a [`ConvPoolCnn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvPoolCnnConfig {
    /// The size of an image.
    pub image: ImageShape,
    /// The number of logits.
    pub num_classes: usize,
    /// Rows and columns of all kernels, an odd number where there is padding.
    pub kernel: usize,
    /// Whether zeros around the image keep its size in convolutions.
    pub has_padding: bool,
    /// The outputs of the convolutions of each block; behind a block is the maximum of 2×2 windows.
    pub blocks: Vec<Vec<usize>>,
    /// The outputs of the linear layers with relu.
    pub hidden: Vec<usize>,
}

impl ConvPoolCnnConfig {
    /// The network of Carlini and Wagner (2017): 3×3 convolutions without padding, twice `widths[0]` and twice `widths[1]`, two linear layers of 200.
    /// For MNIST the widths are 32 and 64, for CIFAR 64 and 128. (The authors' CIFAR network has linear layers of 256.)
    pub fn carlini(widths: [usize; 2], image: ImageShape, num_classes: usize) -> Self {
        let blocks = widths.iter().map(|&width| vec![width; 2]).collect();
        Self { image, num_classes, kernel: 3, has_padding: false, blocks, hidden: vec![200, 200] }
    }

    /// The MNIST network of Madry et al. (2018), also of Wong and Kolter and of Maini et al.: padded 5×5 convolutions of 32 and 64, a linear layer of 1024.
    pub fn madry(image: ImageShape, num_classes: usize) -> Self {
        let blocks = vec![vec![32], vec![64]];
        Self { image, num_classes, kernel: 5, has_padding: true, blocks, hidden: vec![1024] }
    }

    /// Checks the numbers and returns the image's size behind the last block.
    fn check(&self) -> Result<[usize; 2]> {
        const OPERATION: &str = "conv_pool_cnn";
        self.image.check(OPERATION)?;
        check_positive(
            OPERATION,
            &[("num_classes", self.num_classes), ("kernel", self.kernel), ("the number of blocks", self.blocks.len())],
        )?;
        if self.has_padding && self.kernel.is_multiple_of(2) {
            let reason = format!("is {}, expected an odd number where there is padding", self.kernel);
            return Err(Error::config(OPERATION, "kernel", reason));
        }
        if self.blocks.iter().any(Vec::is_empty) {
            return Err(Error::config(OPERATION, "blocks", "has a block without convolutions"));
        }
        let widths = self.blocks.iter().flatten().chain(&self.hidden);
        widths.copied().try_for_each(|width| check_positive(OPERATION, &[("a width", width)]))?;
        let lost = if self.has_padding { 0 } else { self.kernel - 1 };
        let after = |size: usize| {
            self.blocks.iter().try_fold(size, |size, block| {
                let size = size.checked_sub(lost.checked_mul(block.len())?)? / 2;
                (size > 0).then_some(size)
            })
        };
        match (after(self.image.height), after(self.image.width)) {
            (Some(height), Some(width)) => Ok([height, width]),
            _ => {
                let reason = format!("has {}×{} pixels, too few for the blocks", self.image.height, self.image.width);
                Err(Error::config(OPERATION, "image", reason))
            }
        }
    }
}

/// Blocks of convolutions with bias and relu, each block with the maximum of 2×2 windows behind it, then linear layers with relu and one without. No batch norm.
///
/// Parameters: `conv1`, `conv2`, …, `fc1`, `fc2`, …
#[derive(Debug, Clone)]
pub struct ConvPoolCnn {
    blocks: Vec<Vec<Convolution>>,
    hidden: Vec<Linear>,
    last: Linear,
    image: ImageShape,
}

/// Convolutions and maxima, then linear layers, initialised as PyTorch does by default: uniform in `±1/√fan_in`.
///
/// # Errors
/// [`Error::InvalidConfig`] for a number of `config` that is 0, an even kernel with padding, or an image that is too small; parameters that exist with other
/// shapes.
pub fn conv_pool_cnn(config: &ConvPoolCnnConfig, vb: VarBuilder<'_>) -> Result<ConvPoolCnn> {
    let [height, width] = config.check()?;
    let window = Window { pads: config.has_padding, ..Window::new(config.kernel, 1) };
    let mut inputs = config.image.channels;
    let mut number = 0;
    let mut blocks = Vec::new();
    for widths in &config.blocks {
        let mut block = Vec::new();
        for &outputs in widths {
            number += 1;
            let vb = vb.pp(format!("conv{number}"));
            let layer = conv2d(inputs, outputs, config.kernel, window.config(), vb.clone())?;
            block.push(Convolution::new(layer, &vb));
            inputs = outputs;
        }
        blocks.push(block);
    }
    inputs *= height * width;
    let mut hidden = Vec::new();
    for (at, &outputs) in config.hidden.iter().enumerate() {
        hidden.push(linear(inputs, outputs, vb.pp(format!("fc{}", at + 1)))?);
        inputs = outputs;
    }
    let last = linear(inputs, config.num_classes, vb.pp(format!("fc{}", hidden.len() + 1)))?;
    Ok(ConvPoolCnn { blocks, hidden, last, image: config.image })
}

impl ImageNetwork for ConvPoolCnn {
    fn features_observed(
        &self,
        images: &Tensor,
        _mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        self.image.check_batch("ConvPoolCnn", images)?;
        let mut x = images.clone();
        for block in &self.blocks {
            for layer in block {
                x = ops::relu(&layer.forward(&x, observe)?)?;
            }
            x = ops::max_pool2d(&x, Pool2dConfig::square(2))?;
        }
        x = x.flatten_from(1)?;
        for layer in &self.hidden {
            x = ops::relu(&layer.forward(&x)?)?;
        }
        Ok(x)
    }

    fn head(&self) -> &Linear {
        &self.last
    }
}
