//! The parts of a transformer block.

use crate::Result;
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use core_tensor::ops;

fn normal(stdev: f64) -> Init {
    Init::Randn { mean: 0., stdev }
}

/// Layer normalisation with scale and offset.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    pub(super) fn new(width: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: vb.get_with_hints(width, "weight", Init::Const(1.))?,
            bias: vb.get_with_hints(width, "bias", Init::Const(0.))?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm(x, &self.weight, &self.bias, 1e-5)?)
    }
}

/// Attention with five projections: queries, keys, values, relative positions, output.
#[derive(Debug)]
pub(super) struct Attention {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    r: Tensor,
    o: Tensor,
    heads: usize,
}

impl Attention {
    pub(super) fn new(
        d_model: usize,
        heads: usize,
        head_size: usize,
        output_std: f64,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let width = heads * head_size;
        let get = |name| vb.get_with_hints((width, d_model), name, normal(0.02));
        Ok(Self {
            q: get("q")?,
            k: get("k")?,
            v: get("v")?,
            r: get("r")?,
            o: vb.get_with_hints((d_model, width), "o", normal(output_std))?,
            heads,
        })
    }

    /// `x` is `[batch, length, d]`, `positions` `[length, d]`.
    pub(super) fn forward(&self, x: &Tensor, positions: &Tensor) -> Result<Tensor> {
        let qkv = ops::linear(x, &ops::cat(&[&self.q, &self.k, &self.v], 0)?, None)?;
        let relative = ops::linear(positions, &self.r, None)?;
        Ok(ops::linear(&ops::relative_attention(&qkv, &relative, self.heads)?, &self.o, None)?)
    }
}

/// A dense feed-forward layer.
#[derive(Debug)]
pub(super) struct FeedForward {
    w1: Tensor,
    w2: Tensor,
}

impl FeedForward {
    pub(super) fn new(d_model: usize, hidden: usize, output_std: f64, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            w1: vb.get_with_hints((hidden, d_model), "w1", normal(0.02))?,
            w2: vb.get_with_hints((d_model, hidden), "w2", normal(output_std))?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(&ops::gelu(&ops::linear(x, &self.w1, None)?)?, &self.w2, None)?)
    }
}

/// `[length, d]`: row `δ` is `sin(δ w_i)` for the first half of the columns and `cos(δ w_i)` for the second, `w_i = 10000^(−2i/d)`.
pub(super) fn sinusoids(length: usize, d_model: usize) -> Vec<f64> {
    let half = d_model / 2;
    let mut table = Vec::with_capacity(length * d_model);
    for distance in 0..length {
        let angle = |i: usize| distance as f64 * 10000f64.powf(-2. * i as f64 / d_model as f64);
        table.extend((0..half).map(|i| angle(i).sin()));
        table.extend((0..half).map(|i| angle(i).cos()));
    }
    table
}
