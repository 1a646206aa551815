//! Multi-head attention.

use super::Linear;
use crate::ops::{self, AttentionConfig};
use crate::{Error, Result, init};
use candle_core::{IndexOp, Tensor};
use candle_nn::{Init, Module, VarBuilder};

/// Multi-head attention over `[batch, length, width]`, as `torch.nn.MultiheadAttention` with `batch_first=True`.
#[derive(Clone, Debug)]
pub struct MultiheadAttention {
    in_proj_weight: Tensor,
    in_proj_bias: Tensor,
    out_proj: Linear,
    heads: usize,
}

/// A layer with the parameters `in_proj_weight` `[3 · width, width]` (Glorot uniform), `in_proj_bias` (0), `out_proj.weight` (uniform in `±1/√width`) and
/// `out_proj.bias` (0).
///
/// # Errors
///
/// When `heads` does not divide `width`, or the parameters exist with other shapes.
pub fn multihead_attention(width: usize, heads: usize, vb: VarBuilder<'_>) -> Result<MultiheadAttention> {
    if heads == 0 || !width.is_multiple_of(heads) {
        let (op, expected) = ("multihead_attention", "a divisor of the width");
        return Err(Error::Value { operation: op, what: "heads", got: heads as f64, expected });
    }
    let in_proj_weight =
        vb.get_with_hints((3 * width, width), "in_proj_weight", init::glorot_uniform(width, 3 * width))?;
    let in_proj_bias = vb.get_with_hints(3 * width, "in_proj_bias", Init::Const(0.))?;
    let out_proj =
        super::linear_with(width, width, init::fan_in_uniform(width), Some(Init::Const(0.)), vb.pp("out_proj"))?;
    Ok(MultiheadAttention { in_proj_weight, in_proj_bias, out_proj, heads })
}

impl MultiheadAttention {
    /// Self-attention: queries, keys and values are made of `x`, `[batch, length, width]`.
    ///
    /// # Errors
    ///
    /// When `x` has another shape, or the mask of `config` does not fit.
    pub fn forward(&self, x: &Tensor, config: &AttentionConfig) -> Result<Tensor> {
        let (batch, length, width) = self.sizes("x", x)?;
        let all = ops::linear(x, &self.in_proj_weight, Some(&self.in_proj_bias))?;
        // Where a sequence is a task. With fewer sequences than threads the heads are.
        if x.device().is_cpu() && batch >= crate::threads::current() {
            return Ok(self.out_proj.forward(&ops::packed_attention(&all, self.heads, config)?)?);
        }
        // [3, batch, heads, length, width / heads], in one copy.
        let all = ops::to_contiguous(
            &all.reshape((batch, length, 3, self.heads, width / self.heads))?.permute((2, 0, 3, 1, 4))?,
        )?;
        self.combine(&all.i(0)?, &all.i(1)?, &all.i(2)?, config)
    }

    /// Cross-attention: queries are made of `x`, `[batch, queries, width]`, keys and values of `other`, `[batch, keys, width]`.
    ///
    /// # Errors
    ///
    /// When the shapes do not fit, or the mask of `config` does not.
    pub fn forward_cross(&self, x: &Tensor, other: &Tensor, config: &AttentionConfig) -> Result<Tensor> {
        let (_, _, width) = self.sizes("x", x)?;
        self.sizes("other", other)?;
        let part = |x: &Tensor, at: usize| -> Result<Tensor> {
            let weight = self.in_proj_weight.narrow(0, at * width, width)?;
            let y = ops::linear(x, &weight, Some(&self.in_proj_bias.narrow(0, at * width, width)?))?;
            let (batch, length, _) = y.dims3()?;
            ops::to_contiguous(&y.reshape((batch, length, self.heads, width / self.heads))?.transpose(1, 2)?)
        };
        self.combine(&part(x, 0)?, &part(other, 1)?, &part(other, 2)?, config)
    }

    fn sizes(&self, what: &'static str, x: &Tensor) -> Result<(usize, usize, usize)> {
        let width = self.in_proj_weight.dims()[1];
        match *x.dims() {
            [batch, length, last] if last == width => Ok((batch, length, width)),
            _ => {
                let expected = format!("[batch, length, {width}]");
                Err(Error::shape("MultiheadAttention", what, x.shape(), expected))
            }
        }
    }

    /// From `[batch, heads, length, width / heads]`.
    fn combine(&self, q: &Tensor, k: &Tensor, v: &Tensor, config: &AttentionConfig) -> Result<Tensor> {
        let y = ops::attention(q, k, v, config)?;
        let (batch, heads, length, depth) = y.dims4()?;
        let y = ops::to_contiguous(&y.transpose(1, 2)?)?.reshape((batch, length, heads * depth))?;
        Ok(self.out_proj.forward(&y)?)
    }
}
