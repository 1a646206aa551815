//! SEP-U: an autoencoder that reconstructs coordinates of nodes through one pooling, with any pool in its place.

use super::pool_mlp::{PoolMlp, pool_mlp};
use crate::conv::{Convolution, GcnConv, gcn_conv};
use crate::pool::{Pool, PoolKind};
use crate::{Batch, Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;

/// Two graph convolutions, a pooling, an unpooling, three graph convolutions.
#[derive(Debug)]
pub struct SepU {
    convolutions: Vec<GcnConv>,
    mlps: [PoolMlp; 2],
    pool: Box<dyn Pool>,
}

/// What [`SepU::forward`] returns.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// The reconstructed features, of the shape of the input.
    pub x: Tensor,
    /// The sum of the pool's own losses, to be added to the reconstruction's; `None` for pools without.
    pub auxiliary_loss: Option<Tensor>,
}

/// Builds the autoencoder for features of width `features`; the paper's hidden width is 32. Parameters are `convs.i`, `sepools.{0,1}.nn.{0,2}` and those of the
/// pool under `pool`.
///
/// # Errors
/// Settings of the pool out of range, or parameters that exist with other shapes.
pub fn sep_u(features: usize, hidden: usize, pool: PoolKind, vb: VarBuilder<'_>) -> Result<SepU> {
    let widths = [features, hidden, hidden, hidden, hidden, features];
    let convolutions = widths
        .windows(2)
        .enumerate()
        .map(|(i, pair)| gcn_conv(pair[0], pair[1], vb.pp("convs").pp(i)))
        .collect::<Result<_>>()?;
    let mlp = |i: usize| pool_mlp(hidden, vb.pp("sepools").pp(i));
    Ok(SepU { convolutions, mlps: [mlp(0)?, mlp(1)?], pool: pool.build(hidden, vb.pp("pool"))? })
}

impl SepU {
    /// Reconstructs `x` `[n, features]`.
    ///
    /// # Errors
    /// Features that do not fit the batch or the layers.
    pub fn forward(&self, x: &Tensor, batch: &Batch, mode: &mut Mode<'_>) -> Result<Reconstruction> {
        let adjacency = batch.adjacency();
        let first = &self.convolutions[0];
        adjacency.check_layer("SepU::forward", x, first.inputs(), first.weight())?;
        let [encode, decode, last] = [&self.convolutions[..2], &self.convolutions[2..4], &self.convolutions[4..]];
        let through = |layers: &[GcnConv], x: Tensor| {
            layers.iter().try_fold(x, |x, convolution| convolution.forward_relu(&x, adjacency))
        };
        let encoded = through(encode, x.clone())?;
        let pooled = self.pool.pool(&encoded, batch)?;
        let coarse = self.mlps[0].forward(&pooled.x, mode)?;
        let lifted = self.mlps[1].forward(&pooled.selection.lift(&coarse)?, mode)?;
        let decoded = through(decode, lifted)?;
        Ok(Reconstruction { x: last[0].forward(&decoded, adjacency)?, auxiliary_loss: pooled.auxiliary_loss()? })
    }
}
