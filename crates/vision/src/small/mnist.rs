//! Two convolutions and three linear layers.

use crate::error::check_positive;
use crate::layers::{Convolution, Window};
use crate::{ImageNetwork, ImageShape, Result};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use core_tensor::nn::{BatchNorm, BatchNormConfig, Linear, batch_norm2d, conv2d, linear};
use core_tensor::{Mode, ops};

/// The numbers of an [`MnistCnn`].
#[derive(Debug, Clone, PartialEq)]
pub struct MnistCnnConfig {
    /// The size of an image, 1×28×28.
    pub image: ImageShape,
    /// The number of logits, 10.
    pub num_classes: usize,
    /// The probability of dropout, 0.3.
    pub dropout: f64,
    /// The share of a batch in the batch norm's running statistics, 0.1.
    pub momentum: f64,
}

impl Default for MnistCnnConfig {
    fn default() -> Self {
        Self { image: ImageShape { channels: 1, height: 28, width: 28 }, num_classes: 10, dropout: 0.3, momentum: 0.1 }
    }
}

/// The MNIST network of "From Noisy Prediction to True Label" (Bae et al., ICML 2022): a 3×3 convolution of 8, relu, batch norm; one of 16, tanh; linear layers of 784
/// (with dropout behind it) and 256 without activation, which are the features.
///
/// Parameters have the names of the authors' code: the convolutions are `fc1` and `fc2`, the batch norm `bn`, the linear layers `linear1`, `linear2` and `linear3`.
#[derive(Debug, Clone)]
pub struct MnistCnn {
    convolutions: [Convolution; 2],
    norm: BatchNorm,
    hidden: [Linear; 2],
    last: Linear,
    config: MnistCnnConfig,
}

/// Two convolutions and three linear layers, initialised as PyTorch does by default: uniform in `±1/√fan_in`.
///
/// # Errors
/// [`Error::InvalidConfig`](crate::Error::InvalidConfig) for a size that is 0; parameters that exist with other shapes. A dropout outside `[0, 1)` is an error when the
/// network runs.
pub fn mnist_cnn(config: &MnistCnnConfig, vb: VarBuilder<'_>) -> Result<MnistCnn> {
    const OPERATION: &str = "mnist_cnn";
    config.image.check(OPERATION)?;
    check_positive(OPERATION, &[("num_classes", config.num_classes)])?;
    let ImageShape { channels, height, width } = config.image;
    let convolution = |inputs: usize, outputs: usize, vb: VarBuilder<'_>| -> Result<Convolution> {
        Ok(Convolution::new(conv2d(inputs, outputs, 3, Window::new(3, 1).config(), vb.clone())?, &vb))
    };
    Ok(MnistCnn {
        convolutions: [convolution(channels, 8, vb.pp("fc1"))?, convolution(8, 16, vb.pp("fc2"))?],
        norm: batch_norm2d(8, BatchNormConfig { momentum: config.momentum, ..Default::default() }, vb.pp("bn"))?,
        hidden: [linear(16 * height * width, 784, vb.pp("linear1"))?, linear(784, 256, vb.pp("linear2"))?],
        last: linear(256, config.num_classes, vb.pp("linear3"))?,
        config: config.clone(),
    })
}

impl MnistCnn {
    /// What stands before the dropout, `[n, 784]`: nothing there is random, so that passes which differ in dropout alone share it.
    ///
    /// # Errors
    /// For images that do not fit, see [`ImageNetwork`].
    pub fn before_dropout(&self, images: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.hidden(images, mode, &mut |_, _| {})
    }

    /// From dropout to the features, `[n, 256]`: `forward` of an image network is the head of this of [`MnistCnn::before_dropout`].
    ///
    /// # Errors
    /// When `x` does not fit.
    pub fn after_dropout(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.hidden[1].forward(&mode.dropout(x, self.config.dropout)?)?)
    }

    fn hidden(&self, images: &Tensor, mode: &mut Mode<'_>, observe: &mut dyn FnMut(&str, &Tensor)) -> Result<Tensor> {
        self.config.image.check_batch("MnistCnn", images)?;
        let [first, second] = &self.convolutions;
        let x = self.norm.forward(&ops::relu(&first.forward(images, observe)?)?, mode)?;
        let x = ops::tanh(&second.forward(&x, observe)?)?.flatten_from(1)?;
        Ok(self.hidden[0].forward(&x)?)
    }
}

impl ImageNetwork for MnistCnn {
    fn features_observed(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let x = self.hidden(images, mode, observe)?;
        self.after_dropout(&x, mode)
    }

    fn head(&self) -> &Linear {
        &self.last
    }
}
