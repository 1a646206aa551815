//! What stands around the layers, for images, sequences and tables.

use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::Mode;
use core_tensor::nn::{BatchNorm, BatchNormConfig, Conv2d, Linear, batch_norm2d, conv2d_no_bias, linear};
use core_tensor::ops::{self, Conv2dConfig};
use nas::operator::{ImageConfig, SequenceConfig, image_operator, sequence_operator};
use nas::{Blueprint, Ends, Result, SearchSpace};

/// A classifier's sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Classifier {
    /// A 3 × 3 convolution with batch norm, the layers, the mean over positions, a linear layer.
    Images { channels: usize, width: usize, stride: usize, classes: usize },
    /// A linear layer with learned positions, the layers, the mean over steps, a linear layer.
    Sequences { steps: usize, features: usize, width: usize, classes: usize },
    /// Each column times a vector of its own plus another one, the layers, the mean over columns, a linear layer.
    Table { columns: usize, width: usize, classes: usize },
}

impl Classifier {
    pub(crate) fn blueprint(self, space: SearchSpace) -> Blueprint {
        let operators = move |_: usize, name: &str, vb: VarBuilder<'_>| match self {
            Self::Images { width, .. } => image_operator(name, &ImageConfig { channels: width }, vb),
            Self::Sequences { width, .. } | Self::Table { width, .. } => {
                let heads = [4, 2, 1].into_iter().find(|heads| width % heads == 0).unwrap_or(1);
                sequence_operator(name, &SequenceConfig::new(width, heads), vb)
            }
        };
        Blueprint::new(space, move |vb| self.ends(vb), operators)
    }

    fn ends(self, vb: VarBuilder<'_>) -> Result<Box<dyn Ends>> {
        let small = Init::Randn { mean: 0.0, stdev: 0.1 };
        Ok(match self {
            Self::Images { channels, width, stride, classes } => {
                let config = Conv2dConfig { padding: (1, 1), stride: (stride, stride), ..Conv2dConfig::default() };
                Box::new(ImageEnds {
                    stem: conv2d_no_bias(channels, width, (3, 3), config, vb.pp("stem"))?,
                    norm: batch_norm2d(width, BatchNormConfig::default(), vb.pp("stem_norm"))?,
                    head: linear(width, classes, vb.pp("head"))?,
                    stride,
                })
            }
            Self::Sequences { steps, features, width, classes } => Box::new(SequenceEnds {
                stem: linear(features, width, vb.pp("stem"))?,
                position: vb.get_with_hints((1, steps, width), "position", small)?,
                head: linear(width, classes, vb.pp("head"))?,
            }),
            Self::Table { columns, width, classes } => Box::new(TableEnds {
                weight: vb.get_with_hints(
                    (1, columns, width),
                    "column_weight",
                    Init::Randn { mean: 0.0, stdev: 1.0 },
                )?,
                bias: vb.get_with_hints((1, columns, width), "column_bias", small)?,
                head: linear(width, classes, vb.pp("head"))?,
            }),
        })
    }
}

struct ImageEnds {
    stem: Conv2d,
    norm: BatchNorm,
    head: Linear,
    stride: usize,
}

impl Ends for ImageEnds {
    fn stem(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.norm.forward_relu(&self.stem.forward(x)?, &mode.reborrow())?)
    }

    fn head(&self, hidden: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.head.forward(&ops::global_avg_pool(hidden)?)?)
    }

    fn multiplications(&self, shape: &[usize]) -> u64 {
        let &[n, _, height, width] = shape else { return 0 };
        let positions = height.div_ceil(self.stride) * width.div_ceil(self.stride);
        (n * (positions * self.stem.weight().elem_count() + self.head.weight().elem_count())) as u64
    }
}

struct SequenceEnds {
    stem: Linear,
    position: Tensor,
    head: Linear,
}

/// The mean over steps of `[n, steps, width]`.
fn over_steps(hidden: &Tensor) -> Result<Tensor> {
    let (n, _, width) = hidden.dims3()?;
    Ok(ops::mean_keepdim(hidden, &[1])?.reshape((n, width))?)
}

impl Ends for SequenceEnds {
    fn stem(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(ops::add(&self.stem.forward(x)?, &self.position)?)
    }

    fn head(&self, hidden: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.head.forward(&over_steps(hidden)?)?)
    }

    fn multiplications(&self, shape: &[usize]) -> u64 {
        let &[n, steps, _] = shape else { return 0 };
        (n * (steps * self.stem.weight().elem_count() + self.head.weight().elem_count())) as u64
    }
}

struct TableEnds {
    weight: Tensor,
    bias: Tensor,
    head: Linear,
}

impl Ends for TableEnds {
    fn stem(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let (n, columns) = x.dims2()?;
        Ok(ops::add(&ops::mul(&x.reshape((n, columns, 1))?, &self.weight)?, &self.bias)?)
    }

    fn head(&self, hidden: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.head.forward(&over_steps(hidden)?)?)
    }

    fn multiplications(&self, shape: &[usize]) -> u64 {
        let &[n, _] = shape else { return 0 };
        (n * (self.weight.elem_count() + self.head.weight().elem_count())) as u64
    }
}
