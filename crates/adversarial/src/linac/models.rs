//! What attackers put in the place of a secret transform, and another transform with a key.

use super::key::{Key, permutation};
use super::transform::Linac;
use crate::attacks::Classifier;
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::nn::{Conv2d, conv2d};
use core_tensor::ops::{self, Conv2dConfig};

/// A small differentiable network from images to codes: a 5×5 convolution of 64, SiLU, 3×3 of 64, SiLU, 3×3 to the codes, all padded. An attacker trains it by the loss of the classifier behind it (parametric bypass approximation), or to give what the transform
/// gives (a surrogate).
///
/// Parameters: `conv1`, `conv2`, `conv3`.
#[derive(Debug, Clone)]
pub struct Bypass {
    layers: [Conv2d; 3],
}

impl Bypass {
    /// Of images of `channels` to `codes`.
    ///
    /// # Errors
    /// No channels or codes; parameters that exist with other shapes.
    pub fn new(channels: usize, codes: usize, vb: VarBuilder<'_>) -> Result<Self> {
        const WIDTH: usize = 64;
        crate::error::check_positive("Bypass::new", &[("channels", channels), ("codes", codes)])?;
        let padded = |by| Conv2dConfig { padding: (by, by), ..Conv2dConfig::default() };
        Ok(Self {
            layers: [
                conv2d(channels, WIDTH, 5, padded(2), vb.pp("conv1"))?,
                conv2d(WIDTH, WIDTH, 3, padded(1), vb.pp("conv2"))?,
                conv2d(WIDTH, codes, 3, padded(1), vb.pp("conv3"))?,
            ],
        })
    }

    /// Codes `[batch, codes, height, width]`, on the tape.
    ///
    /// # Errors
    /// Images of another shape.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        use candle_core::Module;
        let [first, second, third] = &self.layers;
        let x = ops::silu(&first.forward(images)?)?;
        Ok(third.forward(&ops::silu(&second.forward(&x)?)?)?)
    }
}

/// The key-based shuffling of blocks (AprilPyone and Kiya, 2020): images are cut into squares, and the numbers of each are put into the same secret order. A classifier is trained on such images. Linear, so that a learned linear map undoes what matters of it.
#[derive(Debug, Clone)]
pub struct PixelShuffle {
    block: usize,
    channels: usize,
    /// For each place of a block the place that its number comes from, as row, column, channel.
    order: Vec<u32>,
}

impl PixelShuffle {
    /// Blocks of `block` × `block` pixels (the authors: 4) in an order that follows from the key.
    ///
    /// # Errors
    /// No pixels or channels.
    pub fn new(block: usize, channels: usize, key: &Key) -> Result<Self> {
        crate::error::check_positive("PixelShuffle::new", &[("pixels of a block", block), ("channels", channels)])?;
        if block > 1024 || channels > 4096 {
            return Err(Error::config(
                "PixelShuffle::new",
                "block",
                "has more than 1024 pixels a side, or the image more than 4096 channels",
            ));
        }
        let order = permutation(block * block * channels, &mut key.stream("pixel shuffle"));
        Ok(Self { block, channels, order })
    }

    /// Shuffled images of the shape of `images`, `[batch, channels, height, width]`, on the tape.
    ///
    /// # Errors
    /// Other channels; sides that are no multiples of the block's.
    pub fn apply(&self, images: &Tensor) -> Result<Tensor> {
        let Self { block, channels, order } = self;
        let (b, c, h, w) = images.dims4()?;
        if c != *channels || !h.is_multiple_of(*block) || !w.is_multiple_of(*block) {
            let reason =
                format!("have shape {:?}, expected {channels} channels and multiples of {block} pixels", images.dims());
            return Err(Error::config("PixelShuffle", "the images", reason));
        }
        let (rows, columns) = (h / block, w / block);
        // [b, c, rows, block, columns, block] → [b · rows · columns, block · block · c]
        let blocks = images.reshape(vec![b, c, rows, *block, columns, *block])?.permute(vec![0, 2, 4, 3, 5, 1])?;
        let blocks = ops::to_contiguous(&blocks)?.reshape((b * rows * columns, block * block * c))?;
        let ids = Tensor::new(order.as_slice(), images.device())?;
        let shuffled = ops::index_select(&blocks, &ids, 1)?;
        let back = shuffled.reshape(vec![b, rows, columns, *block, *block, c])?.permute(vec![0, 5, 1, 3, 2, 4])?;
        Ok(ops::to_contiguous(&back)?.reshape((b, c, h, w))?)
    }
}

type Head<'a> = Box<dyn Fn(&Tensor) -> Result<Tensor> + 'a>;

/// A classifier on codes whose gradient goes through the fit: the attacker who has key and time.
///
/// The images are normalised first, by a mean and a deviation for each channel; attacks see them before that.
pub struct ThroughFit<'a> {
    linac: &'a Linac,
    head: Head<'a>,
    mean: Vec<f32>,
    std: Vec<f32>,
    last_steps: Option<usize>,
}

impl std::fmt::Debug for ThroughFit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThroughFit").field("linac", &self.linac).finish_non_exhaustive()
    }
}

impl<'a> ThroughFit<'a> {
    /// Logits of `head` at the codes of `(x − mean) / std`, one mean and deviation for each channel; gradients through the last `last_steps` steps of the fit, or all.
    ///
    /// # Errors
    /// Lists of other lengths than the images' channels, a deviation that is not above 0.
    pub fn new(
        linac: &'a Linac,
        head: impl Fn(&Tensor) -> Result<Tensor> + 'a,
        [mean, std]: [&[f32]; 2],
        last_steps: Option<usize>,
    ) -> Result<Self> {
        let channels = linac.options().network.channels;
        for (what, list) in [("means", mean), ("deviations", std)] {
            if list.len() != channels {
                return Err(Error::length("ThroughFit::new", what, list.len(), channels));
            }
        }
        if let Some(&bad) = std.iter().find(|std| std.is_nan() || **std <= 0.) {
            return Err(Error::value("ThroughFit::new", "a deviation", f64::from(bad), "above 0"));
        }
        Ok(Self { linac, head: Box::new(head), mean: mean.to_vec(), std: std.to_vec(), last_steps })
    }

    fn normalized(&self, x: &Tensor) -> Result<Tensor> {
        let along = |values: &[f32]| Tensor::new(values, x.device())?.reshape((1, values.len(), 1, 1));
        Ok(x.broadcast_sub(&along(&self.mean)?)?.broadcast_div(&along(&self.std)?)?)
    }
}

impl Classifier for ThroughFit<'_> {
    fn logits(&self, x: &Tensor) -> Result<Tensor> {
        (self.head)(&self.linac.apply(&self.normalized(x)?)?)
    }

    fn input_gradient(&self, x: &Tensor, of_logits: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let mut of_codes = |codes: &Tensor| crate::attacks::through_tape(codes, &self.head, of_logits);
        let gradient = self.linac.gradient_through_fit(&self.normalized(x)?, &mut of_codes, self.last_steps)?;
        let slope: Vec<f32> = self.std.iter().map(|std| 1. / std).collect();
        Ok(gradient.broadcast_mul(&Tensor::new(slope, x.device())?.reshape((1, self.std.len(), 1, 1))?)?)
    }
}
