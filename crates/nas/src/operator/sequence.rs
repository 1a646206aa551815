//! Operators on sequences `[batch, tokens, width]`: those of BERT's space.

use super::{Identity, Operator, Zero};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use core_tensor::Mode;
use core_tensor::nn::{Conv1d, LayerNorm, Linear, conv1d, layer_norm, linear};
use core_tensor::ops::{self, AttentionConfig, Conv1dConfig};

/// Where an operator's layer norm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum NormPlace {
    /// `LayerNorm(x + f(x))`, as in BERT.
    Post,
    /// `x + f(LayerNorm(x))`.
    Pre,
}

/// Sizes of operators on sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceConfig {
    /// Width of the hidden state.
    pub width: usize,
    /// Heads of attention, which divide the width.
    pub heads: usize,
    /// Width of the feed-forward operator's middle.
    pub feed_forward: usize,
    /// Where norms stand.
    pub norm: NormPlace,
    /// Added to variances, 1e-5.
    pub epsilon: f64,
}

impl SequenceConfig {
    /// Post-norm with a middle of four times the width.
    pub fn new(width: usize, heads: usize) -> Self {
        Self { width, heads, feed_forward: 4 * width, norm: NormPlace::Post, epsilon: 1e-5 }
    }
}

enum Body {
    /// Queries, keys and values from one product, rows of its weight in this order, each head by head.
    Attention {
        qkv: Linear,
        out: Linear,
        heads: usize,
    },
    FeedForward {
        up: Linear,
        down: Linear,
    },
    /// Depthwise along the tokens, GELU, pointwise.
    Separable {
        depthwise: Conv1d,
        pointwise: Linear,
        kernel: usize,
    },
    /// Dense along the tokens, GELU.
    Convolution {
        layer: Conv1d,
        kernel: usize,
    },
}

struct Sequence {
    body: Body,
    norm: LayerNorm,
    place: NormPlace,
}

/// An operator by name: `attention`, `feed_forward`, `convolution` (separable, kernel 3), `sep3`, `sep5`, `sep7` (separable), `conv3`, `conv5` (dense), `identity`, `zero`. Each has its own `norm`; GELU is the exact one.
///
/// # Errors
/// An unknown name, heads that do not divide the width, or parameters that exist with other shapes.
pub fn sequence_operator(name: &str, config: &SequenceConfig, vb: VarBuilder<'_>) -> Result<Box<dyn Operator>> {
    const OPERATION: &str = "sequence_operator";
    let width = config.width;
    let along_tokens = |kernel: usize, groups: usize, name: &str| -> Result<Conv1d> {
        let convolution = Conv1dConfig { padding: kernel / 2, groups, ..Conv1dConfig::default() };
        Ok(conv1d(width, width, kernel, convolution, vb.pp(name))?)
    };
    let separable = |kernel: usize| -> Result<Body> {
        let depthwise = along_tokens(kernel, width, "depthwise")?;
        Ok(Body::Separable { depthwise, pointwise: linear(width, width, vb.pp("pointwise"))?, kernel })
    };
    let body = match name {
        "identity" => return Ok(Box::new(Identity)),
        "zero" => return Ok(Box::new(Zero)),
        "attention" => {
            if config.heads == 0 || !width.is_multiple_of(config.heads) {
                let reason = format!("{} heads do not divide a width of {width}", config.heads);
                return Err(Error::invalid(OPERATION, reason));
            }
            let (qkv, out) = (linear(width, 3 * width, vb.pp("qkv"))?, linear(width, width, vb.pp("out"))?);
            Body::Attention { qkv, out, heads: config.heads }
        }
        "feed_forward" => Body::FeedForward {
            up: linear(width, config.feed_forward, vb.pp("up"))?,
            down: linear(config.feed_forward, width, vb.pp("down"))?,
        },
        "convolution" | "sep3" => separable(3)?,
        "sep5" => separable(5)?,
        "sep7" => separable(7)?,
        "conv3" => Body::Convolution { layer: along_tokens(3, 1, "convolution")?, kernel: 3 },
        "conv5" => Body::Convolution { layer: along_tokens(5, 1, "convolution")?, kernel: 5 },
        other => {
            let known = "attention, feed_forward, convolution, sep3, sep5, sep7, conv3, conv5, identity, zero";
            return Err(Error::invalid(OPERATION, format!("`{other}` is unknown; there are {known}")));
        }
    };
    Ok(Box::new(Sequence { body, norm: layer_norm(width, config.epsilon, vb.pp("norm"))?, place: config.norm }))
}

impl Body {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let turned = |layer: &Conv1d| -> Result<Tensor> {
            let y = layer.forward(&ops::to_contiguous(&x.transpose(1, 2)?)?)?;
            Ok(ops::to_contiguous(&y.transpose(1, 2)?)?)
        };
        Ok(match self {
            Self::Attention { qkv, out, heads } => {
                let packed = qkv.forward(x)?;
                out.forward(&ops::packed_attention(&packed, *heads, &AttentionConfig::default())?)?
            }
            Self::FeedForward { up, down } => down.forward(&ops::gelu(&up.forward(x)?)?)?,
            Self::Separable { depthwise, pointwise, .. } => pointwise.forward(&ops::gelu(&turned(depthwise)?)?)?,
            Self::Convolution { layer, .. } => ops::gelu(&turned(layer)?)?,
        })
    }
}

impl Operator for Sequence {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(match self.place {
            NormPlace::Post => self.norm.forward(&ops::add(x, &self.body.forward(x)?)?)?,
            NormPlace::Pre => ops::add(x, &self.body.forward(&self.norm.forward(x)?)?)?,
        })
    }

    fn multiplications(&self, shape: &[usize]) -> u64 {
        let &[batch, tokens, width] = shape else { return 0 };
        let of_token = match &self.body {
            Body::Attention { .. } => 4 * width * width + 2 * tokens * width,
            Body::FeedForward { up, .. } => 2 * width * up.weight().dims()[0],
            Body::Separable { kernel, .. } => kernel * width + width * width,
            Body::Convolution { kernel, .. } => kernel * width * width,
        };
        (batch * tokens * of_token) as u64
    }
}
