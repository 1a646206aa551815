//! Normalisation of images by the mean and deviation of each channel.

use crate::error::check_positive;
use crate::{Error, ImageShape, Result};
use candle_core::Tensor;
use core_tensor::ops;

/// `(x − mean) / std`, channel by channel.
///
/// The presets are for pixels in `[0, 1]`: divide bytes by 255 first.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalization {
    /// What is subtracted, one number for each channel.
    pub mean: Vec<f32>,
    /// The divisor, one number for each channel.
    pub std: Vec<f32>,
}

impl Normalization {
    /// Mean and deviation of the 50,000 training images of CIFAR-10. (Some code has 0.2023, 0.1994, 0.2010 as deviations, which are means over the images of the deviation within an image.)
    pub fn cifar10() -> Self {
        Self { mean: vec![0.4914, 0.4822, 0.4465], std: vec![0.2470, 0.2435, 0.2616] }
    }

    /// Mean and deviation of the 50,000 training images of CIFAR-100.
    pub fn cifar100() -> Self {
        Self { mean: vec![0.5071, 0.4865, 0.4409], std: vec![0.2673, 0.2564, 0.2762] }
    }

    /// Torchvision's numbers for ImageNet.
    pub fn imagenet() -> Self {
        Self { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// The mean and the unbiased deviation of each channel over `images`, each of `shape` in rows of channels. Where all values of a channel are equal the
    /// deviation is 1.
    ///
    /// # Errors
    /// No images, an image of another length, or a `shape` with a 0.
    pub fn measure<'a>(images: impl Iterator<Item = &'a [f32]> + Clone, shape: ImageShape) -> Result<Self> {
        const OPERATION: &str = "Normalization::measure";
        shape.check(OPERATION)?;
        let count = images.clone().count();
        check_positive(OPERATION, &[("the number of images", count)])?;
        if let Some(wrong) = images.clone().find(|image| image.len() != shape.size()) {
            let expected = shape.size().to_string();
            return Err(Error::Length { operation: OPERATION, what: "an image", got: wrong.len(), expected });
        }
        let plane = shape.height * shape.width;
        let count = (plane * count) as f64;
        let channel = |channel: usize| {
            let images = images.clone();
            let values = || {
                let pixels = |image: &'a [f32]| &image[channel * plane..(channel + 1) * plane];
                images.clone().flat_map(pixels).map(|&pixel| f64::from(pixel))
            };
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.).max(1.);
            (mean as f32, if variance > 0. { variance.sqrt() as f32 } else { 1. })
        };
        let (mean, std) = (0..shape.channels).map(channel).unzip();
        Ok(Self { mean, std })
    }

    /// Normalises pixels `[n, channels, height, width]` in place; each channel of each image has `plane = height · width` of them.
    ///
    /// # Errors
    /// When the length is not a multiple of channels · `plane`, or there are not as many deviations as means.
    pub fn apply_to(&self, pixels: &mut [f32], plane: usize) -> Result<()> {
        const OPERATION: &str = "Normalization::apply_to";
        self.check(OPERATION)?;
        check_positive(OPERATION, &[("plane", plane)])?;
        let image = self.mean.len().checked_mul(plane).filter(|image| pixels.len().is_multiple_of(*image));
        if image.is_none() {
            let expected = format!("a multiple of {} channels · {plane}", self.mean.len());
            return Err(Error::Length { operation: OPERATION, what: "pixels", got: pixels.len(), expected });
        }
        let numbers = self.mean.iter().zip(&self.std).cycle();
        for (channel, (mean, std)) in pixels.chunks_exact_mut(plane).zip(numbers) {
            channel.iter_mut().for_each(|pixel| *pixel = (*pixel - mean) / std);
        }
        Ok(())
    }

    /// Normalises images `[n, channels, height, width]` of a floating-point type. The gradient passes, so that an attack can look for its change in pixels.
    ///
    /// # Errors
    /// When `images` has another rank or number of channels, or there are not as many deviations as means.
    pub fn apply(&self, images: &Tensor) -> Result<Tensor> {
        const OPERATION: &str = "Normalization::apply";
        self.check(OPERATION)?;
        let channels = self.mean.len();
        let fits = images.rank() == 4 && images.dims()[1] == channels;
        if !fits {
            let (got, expected) = (images.dims().to_vec(), format!("[n, {channels}, height, width]"));
            return Err(Error::Shape { operation: OPERATION, what: "images", got, expected });
        }
        let numbers = |values: &[f32]| -> Result<Tensor> {
            let values = Tensor::from_slice(values, (1, channels, 1, 1), images.device())?;
            Ok(values.to_dtype(images.dtype())?)
        };
        Ok(ops::div(&ops::sub(images, &numbers(&self.mean)?)?, &numbers(&self.std)?)?)
    }

    fn check(&self, operation: &'static str) -> Result<()> {
        check_positive(operation, &[("the number of means", self.mean.len())])?;
        if self.std.len() != self.mean.len() {
            let reason = format!("has {} numbers, mean has {}", self.std.len(), self.mean.len());
            return Err(Error::config(operation, "std", reason));
        }
        Ok(())
    }
}
