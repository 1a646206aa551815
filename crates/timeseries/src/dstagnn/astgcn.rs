//! ASTGCN(r) (Guo et al., AAAI 2019), recent component only: the baseline of DSTAGNN.

use super::graph::ChebyshevBasis;
use crate::error::{check_dtype, check_sizes};
use crate::{Error, Result};
use candle_core::{Device, Shape, Tensor};
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::nn::{LayerNorm, layer_norm};
use core_tensor::ops::{self, Conv2dConfig};
use serde::{Deserialize, Serialize};

/// Sizes of a network; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AstgcnConfig {
    /// T, the steps that are seen; 12.
    pub input_steps: usize,
    /// H, the steps that are forecast; 12.
    pub horizon: usize,
    /// Readings of a sensor at each step; 1.
    pub input_channels: usize,
    /// The number of blocks; 2.
    pub num_blocks: usize,
    /// Chebyshev and time filters; 64.
    pub filters: usize,
}

impl Default for AstgcnConfig {
    fn default() -> Self {
        Self { input_steps: 12, horizon: 12, input_channels: 1, num_blocks: 2, filters: 64 }
    }
}

#[derive(Debug, Clone)]
struct Block {
    /// U1 `[N]`, U2 `[C, N]`, U3 `[C]`, b_e and V_e `[T, T]`.
    temporal: [Tensor; 5],
    /// W1 `[T]`, W2 `[C, T]`, W3 `[C]`, b_s and V_s `[N, N]`.
    spatial: [Tensor; 5],
    theta: Tensor,
    time: (Tensor, Tensor),
    residual: (Tensor, Tensor),
    norm: LayerNorm,
}

/// Blocks of temporal attention, spatial attention, Chebyshev convolution and a convolution over time.
#[derive(Debug, Clone)]
pub struct Astgcn {
    blocks: Vec<Block>,
    /// `[order, nodes, nodes]`
    terms: Tensor,
    last: (Tensor, Tensor),
    config: AstgcnConfig,
}

const OP: &str = "ASTGCN";

fn parameter(vb: &VarBuilder<'_>, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
    let shape = shape.into();
    let (first, rest) = (shape.dims()[0], shape.elem_count() / shape.dims()[0]);
    let init = match shape.rank() {
        1 => Init::Uniform { lo: 0., up: 1. },
        _ => {
            let bound = (6. / (first + rest) as f64).sqrt();
            Init::Uniform { lo: -bound, up: bound }
        }
    };
    Ok(vb.get_with_hints(shape, name, init)?)
}

/// An [`Astgcn`] on the graph of `basis`, usually that of the roads.
///
/// # Errors
/// Sizes of 0 or above 65,536, parameters of other shapes.
pub fn astgcn(config: AstgcnConfig, basis: &ChebyshevBasis, vb: VarBuilder<'_>) -> Result<Astgcn> {
    let AstgcnConfig { input_steps: time, horizon, input_channels, num_blocks, filters } = config;
    let sizes = [
        ("input_steps", time),
        ("horizon", horizon),
        ("input_channels", input_channels),
        ("num_blocks", num_blocks),
        ("filters", filters),
    ];
    check_sizes(OP, sizes)?;
    let (n, order) = (basis.num_nodes, basis.terms.len());
    let terms = Tensor::from_vec(basis.terms.concat(), (order, n, n), &Device::Cpu)?;
    let terms = terms.to_dtype(vb.dtype())?.to_device(vb.device())?;
    let (mut blocks, mut channels) = (Vec::new(), input_channels);
    for l in 0..num_blocks {
        let vb = vb.pp("blocks").pp(l);
        let get = |name: &str, shape: &[usize]| parameter(&vb, shape, name);
        blocks.push(Block {
            temporal: [
                get("U1", &[n])?,
                get("U2", &[channels, n])?,
                get("U3", &[channels])?,
                get("be", &[time, time])?,
                get("Ve", &[time, time])?,
            ],
            spatial: [
                get("W1", &[time])?,
                get("W2", &[channels, time])?,
                get("W3", &[channels])?,
                get("bs", &[n, n])?,
                get("Vs", &[n, n])?,
            ],
            theta: get("Theta", &[filters, order * channels])?,
            time: (get("time_conv.weight", &[filters, filters, 1, 3])?, get("time_conv.bias", &[filters])?),
            residual: (get("residual_conv.weight", &[filters, channels])?, get("residual_conv.bias", &[filters])?),
            norm: layer_norm(filters, 1e-5, vb.pp("norm"))?,
        });
        channels = filters;
    }
    let last = (parameter(&vb, (horizon, time * filters), "final.weight")?, parameter(&vb, horizon, "final.bias")?);
    Ok(Astgcn { blocks, terms, last, config })
}

impl Astgcn {
    pub(super) fn run(&self, x: &Tensor) -> Result<Tensor> {
        let (n, time) = (self.terms.dims()[1], self.config.input_steps);
        let channels = self.config.input_channels;
        if !matches!(x.dims(), &[batch, nodes, c, t] if batch > 0 && (nodes, c, t) == (n, channels, time)) {
            return Err(Error::shape(OP, "x", x, format!("[batch, {n}, {channels}, {time}]")));
        }
        check_dtype(OP, "x", x, &self.last.0)?;
        let mut x = x.clone();
        for block in &self.blocks {
            x = self.block(block, &x)?;
        }
        let batch = x.dims()[0];
        let rows = ops::to_contiguous(&x.transpose(2, 3)?)?.reshape((batch, n, ()))?;
        Ok(ops::linear(&rows, &self.last.0, Some(&self.last.1))?)
    }

    fn block(&self, block: &Block, x: &Tensor) -> Result<Tensor> {
        let (batch, n, channels, time) = x.dims4()?;
        let (order, filters) = (self.terms.dims()[0], self.config.filters);
        // a matrix on the left of every item of a batch
        let left = |matrix: &Tensor, y: &Tensor| -> Result<Tensor> {
            let (rows, inner) = matrix.dims2()?;
            Ok(ops::matmul(&ops::to_contiguous(&matrix.broadcast_as((batch, rows, inner))?)?, y)?)
        };
        // E = V_e σ((Xᵀ U1) U2 (U3 X) + b_e)
        let [u1, u2, u3, be, ve] = &block.temporal;
        let by_time = ops::to_contiguous(&x.permute((0, 3, 2, 1))?)?;
        let a = ops::linear(&by_time, &u1.unsqueeze(0)?, None)?.squeeze(3)?;
        let a = ops::linear(&a, &ops::to_contiguous(&u2.t()?)?, None)?;
        let b = ops::linear(&ops::to_contiguous(&x.permute((0, 1, 3, 2))?)?, &u3.unsqueeze(0)?, None)?.squeeze(3)?;
        let e = left(ve, &ops::sigmoid(&ops::add(&ops::matmul(&a, &b)?, be)?)?)?;
        let e = ops::softmax_dim(&e, 1)?;
        let attended =
            ops::matmul(&x.reshape((batch, n * channels, time))?, &e)?.reshape((batch, n, channels, time))?;
        // S = V_s σ((X W1) W2 (W3 X)ᵀ + b_s)
        let [w1, w2, w3, bs, vs] = &block.spatial;
        let a = ops::linear(&attended, &w1.unsqueeze(0)?, None)?.squeeze(3)?;
        let a = ops::linear(&a, &ops::to_contiguous(&w2.t()?)?, None)?;
        let b = ops::linear(&ops::to_contiguous(&attended.transpose(2, 3)?)?, &w3.unsqueeze(0)?, None)?.squeeze(3)?;
        let s = left(vs, &ops::sigmoid(&ops::add(&ops::matmul(&a, &b.transpose(1, 2)?)?, bs)?)?)?;
        let s = ops::softmax_dim(&s, 1)?;
        // Σ_k (T_k ∘ S)ᵀ X Θ_k, of the block's input
        let signal = ops::to_contiguous(&x.transpose(2, 3)?)?.reshape((batch, n, time * channels))?;
        let mut parts = Vec::with_capacity(order);
        for k in 0..order {
            let graph = ops::mul(&s, &self.terms.get(k)?)?.transpose(1, 2)?;
            parts.push(ops::matmul(&graph, &signal)?.reshape((batch, n, time, channels))?);
        }
        let y = ops::relu(&ops::linear(&ops::cat(&parts, 3)?, &block.theta, None)?)?;
        // over time
        let config = Conv2dConfig { padding: (0, 1), ..Conv2dConfig::default() };
        let planes = ops::to_contiguous(&y.permute((0, 3, 1, 2))?)?;
        let y = ops::to_contiguous(
            &ops::conv2d(&planes, &block.time.0, Some(&block.time.1), &config)?.permute((0, 2, 3, 1))?,
        )?;
        let rows = ops::to_contiguous(&x.transpose(2, 3)?)?;
        let residual = ops::linear(&rows, &block.residual.0, Some(&block.residual.1))?;
        let y = block.norm.forward(&ops::add_relu(&y, &residual)?)?;
        debug_assert_eq!(y.dims(), [batch, n, time, filters]);
        Ok(ops::to_contiguous(&y.transpose(2, 3)?)?)
    }
}

impl Module for Astgcn {
    /// `[batch, nodes, channels, time]` to `[batch, nodes, horizon]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(self.run(x)?)
    }
}
