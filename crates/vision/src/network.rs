//! What every network of this crate can do.

use crate::Result;
use candle_core::Tensor;
use candle_nn::Module;
use core_tensor::Mode;
use core_tensor::nn::Linear;

/// A network that classifies images by a linear layer on features.
///
/// Images are `[n, channels, height, width]` with the dtype of the parameters. The methods return errors, never panic, when images have another rank, dtype
/// or number of channels, or are too small, and when batch norms are to use the statistics of a batch that leaves one value for each channel.
pub trait ImageNetwork {
    /// The features, `[n, width]`; `observe` is shown the output of each convolution, before batch norm and activation, under the full name of the layer, such
    /// as `layer1.0.conv1`, and the output of each stage of a residual network, such as `layer1`. What it is shown is on the tape.
    ///
    /// # Errors
    /// For images that do not fit, see [`ImageNetwork`].
    fn features_observed(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor>;

    /// The linear layer from features to logits.
    fn head(&self) -> &Linear;

    /// What the last linear layer sees, `[n, width]`.
    ///
    /// # Errors
    /// For images that do not fit, see [`ImageNetwork`].
    fn features(&self, images: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.features_observed(images, mode, &mut |_, _| {})
    }

    /// The logits, `[n, classes]`.
    ///
    /// # Errors
    /// For images that do not fit, see [`ImageNetwork`].
    fn forward(&self, images: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.head().forward(&self.features(images, mode)?)?)
    }
}
