//! Operators on planes `[batch, channels, height, width]`, with batch norms.

use super::{Identity, Operator, Zero};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use core_tensor::Mode;
use core_tensor::nn::{BatchNorm, BatchNormConfig, Conv2d, batch_norm2d, conv2d_no_bias};
use core_tensor::ops::{self, Conv2dConfig, Pool2dConfig};

/// Sizes of operators on planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageConfig {
    /// Channels in and out.
    pub channels: usize,
}

/// A convolution and its batch norm.
struct Normalized {
    layer: Conv2d,
    norm: BatchNorm,
    weights: usize,
}

impl Normalized {
    fn new(
        (inputs, outputs): (usize, usize),
        kernel: usize,
        groups: usize,
        names: [&str; 2],
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let config = Conv2dConfig { padding: (kernel / 2, kernel / 2), groups, ..Conv2dConfig::default() };
        let layer = conv2d_no_bias(inputs, outputs, (kernel, kernel), config, vb.pp(names[0]))?;
        let norm = batch_norm2d(outputs, BatchNormConfig::default(), vb.pp(names[1]))?;
        Ok(Self { weights: layer.weight().elem_count(), layer, norm })
    }

    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>, is_relu: bool) -> Result<Tensor> {
        let y = self.layer.forward(x)?;
        Ok(match is_relu {
            true => self.norm.forward_relu(&y, &mode.reborrow())?,
            false => self.norm.forward(&y, &mode.reborrow())?,
        })
    }
}

enum Planes {
    /// Layers one after the other, each with ReLU but for the last of a residual operator.
    Chain {
        layers: Vec<Normalized>,
        is_residual: bool,
    },
    Pool {
        is_maximum: bool,
    },
}

/// An operator by name, all keeping the shape: `conv3`, `conv5` (convolution, norm, ReLU), `sep3`, `sep5` (depthwise and pointwise, each with norm and ReLU), `ir3-3`, `ir5-6` and the like (inverted residual: kernel, then expansion), `max`, `average`
/// (3 × 3), `identity`, `zero`.
///
/// # Errors
/// An unknown name, or parameters that exist with other shapes.
pub fn image_operator(name: &str, config: &ImageConfig, vb: VarBuilder<'_>) -> Result<Box<dyn Operator>> {
    let channels = config.channels;
    let chain =
        |layers: Vec<Normalized>, is_residual| Box::new(Planes::Chain { layers, is_residual }) as Box<dyn Operator>;
    let dense = |kernel| Normalized::new((channels, channels), kernel, 1, ["convolution", "norm"], &vb);
    let separable = |kernel| -> Result<Box<dyn Operator>> {
        let first = Normalized::new((channels, channels), kernel, channels, ["depthwise", "depthwise_norm"], &vb)?;
        Ok(chain(vec![first, Normalized::new((channels, channels), 1, 1, ["pointwise", "norm"], &vb)?], false))
    };
    Ok(match name {
        "identity" => Box::new(Identity),
        "zero" => Box::new(Zero),
        "max" => Box::new(Planes::Pool { is_maximum: true }),
        "average" => Box::new(Planes::Pool { is_maximum: false }),
        "conv3" => chain(vec![dense(3)?], false),
        "conv5" => chain(vec![dense(5)?], false),
        "sep3" => separable(3)?,
        "sep5" => separable(5)?,
        other => {
            let parts = other.strip_prefix("ir").and_then(|rest| rest.split_once('-'));
            let numbers = parts.and_then(|(kernel, expansion)| Some((kernel.parse().ok()?, expansion.parse().ok()?)));
            let Some((kernel, expansion)) = numbers.filter(|&(kernel, expansion): &(usize, usize)| {
                (1..=15).contains(&kernel) && kernel % 2 == 1 && (1..=64).contains(&expansion)
            }) else {
                let known = "conv3, conv5, sep3, sep5, irKERNEL-EXPANSION such as ir3-6, max, average, identity, zero";
                return Err(Error::invalid("image_operator", format!("`{other}` is unknown; there are {known}")));
            };
            let wide = channels * expansion;
            let layers = vec![
                Normalized::new((channels, wide), 1, 1, ["expand", "expand_norm"], &vb)?,
                Normalized::new((wide, wide), kernel, wide, ["depthwise", "depthwise_norm"], &vb)?,
                Normalized::new((wide, channels), 1, 1, ["project", "norm"], &vb)?,
            ];
            chain(layers, true)
        }
    })
}

impl Operator for Planes {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        match self {
            Self::Chain { layers, is_residual } => {
                let mut y = x.clone();
                for (at, layer) in layers.iter().enumerate() {
                    y = layer.forward(&y, mode, !is_residual || at + 1 < layers.len())?;
                }
                Ok(if *is_residual { ops::add(x, &y)? } else { y })
            }
            Self::Pool { is_maximum } => {
                let windows = Pool2dConfig { kernel: (3, 3), stride: (1, 1), padding: (1, 1) };
                Ok(if *is_maximum { ops::max_pool2d(x, windows)? } else { ops::avg_pool2d(x, windows)? })
            }
        }
    }

    fn multiplications(&self, shape: &[usize]) -> u64 {
        let &[batch, _, height, width] = shape else { return 0 };
        let positions = (batch * height * width) as u64;
        match self {
            Self::Chain { layers, .. } => layers.iter().map(|layer| positions * layer.weights as u64).sum(),
            Self::Pool { .. } => 0,
        }
    }
}
