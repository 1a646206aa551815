//! Normalisation layers without running statistics.

use crate::{Result, ops};
use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};

/// [`ops::layer_norm`] over the last dimension, `torch.nn.LayerNorm`.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

/// A layer with the parameters `weight` (first 1) and `bias` (first 0) of the size of the last dimension; PyTorch's `eps` is 1e-5.
///
/// # Errors
///
/// When the parameters exist with other shapes.
pub fn layer_norm(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<LayerNorm> {
    let weight = vb.get_with_hints(size, "weight", Init::Const(1.))?;
    Ok(LayerNorm { weight, bias: vb.get_with_hints(size, "bias", Init::Const(0.))?, eps })
}

/// [`layer_norm`] without parameters, `elementwise_affine=False`; only device and dtype are those of `vb`.
///
/// # Errors
///
/// Those of Candle.
pub fn layer_norm_no_affine(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<LayerNorm> {
    let (weight, bias) = identity(size, &vb)?;
    Ok(LayerNorm { weight, bias, eps })
}

/// The scale and the offset that change nothing.
fn identity(size: usize, vb: &VarBuilder<'_>) -> Result<(Tensor, Tensor)> {
    Ok((Tensor::ones(size, vb.dtype(), vb.device())?, Tensor::zeros(size, vb.dtype(), vb.device())?))
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(ops::layer_norm(x, &self.weight, &self.bias, self.eps)?)
    }
}

/// [`ops::rms_norm`] over the last dimension, `torch.nn.RMSNorm`.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

/// A layer with the parameter `weight` (first 1) of the size of the last dimension.
///
/// # Errors
///
/// When the parameter exists with another shape.
pub fn rms_norm(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<RmsNorm> {
    Ok(RmsNorm { weight: vb.get_with_hints(size, "weight", Init::Const(1.))?, eps })
}

impl Module for RmsNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(ops::rms_norm(x, &self.weight, self.eps)?)
    }
}

/// [`ops::group_norm`], `torch.nn.GroupNorm`.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

/// A layer with the parameters `weight` (first 1) and `bias` (first 0), `[channels]`; PyTorch's `eps` is 1e-5.
///
/// # Errors
///
/// When the parameters exist with other shapes.
pub fn group_norm(groups: usize, channels: usize, eps: f64, vb: VarBuilder<'_>) -> Result<GroupNorm> {
    let weight = vb.get_with_hints(channels, "weight", Init::Const(1.))?;
    Ok(GroupNorm { weight, bias: vb.get_with_hints(channels, "bias", Init::Const(0.))?, groups, eps })
}

/// [`group_norm`] without parameters, `affine=False`; only device and dtype are those of `vb`.
///
/// # Errors
///
/// Those of Candle.
pub fn group_norm_no_affine(groups: usize, channels: usize, eps: f64, vb: VarBuilder<'_>) -> Result<GroupNorm> {
    let (weight, bias) = identity(channels, &vb)?;
    Ok(GroupNorm { weight, bias, groups, eps })
}

impl Module for GroupNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(ops::group_norm(x, self.groups, &self.weight, &self.bias, self.eps)?)
    }
}
