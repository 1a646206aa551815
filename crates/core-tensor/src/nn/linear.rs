//! The affine layer.

use crate::{Result, init, ops};
use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};

/// `y = x · weightᵀ + bias` for `x` of shape `[…, in]`, see [`ops::linear`].
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// A layer with the given `weight` `[out, in]` and `bias` `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// The matrix, `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The vector that is added, `[out]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

/// A layer with parameters `weight` and `bias`, both uniform in `±1/√in` as in PyTorch.
///
/// # Errors
///
/// When the parameters exist with other shapes.
pub fn linear(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Linear> {
    let init = init::fan_in_uniform(inputs);
    linear_with(inputs, outputs, init, Some(init), vb)
}

/// A layer with the parameter `weight` only, uniform in `±1/√in`.
///
/// # Errors
///
/// As for [`linear`].
pub fn linear_no_bias(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Linear> {
    linear_with(inputs, outputs, init::fan_in_uniform(inputs), None, vb)
}

/// A layer with the given initial values; without a `bias` if that is `None`.
///
/// # Errors
///
/// As for [`linear`].
pub fn linear_with(
    inputs: usize,
    outputs: usize,
    weight: Init,
    bias: Option<Init>,
    vb: VarBuilder<'_>,
) -> Result<Linear> {
    let weight = vb.get_with_hints((outputs, inputs), "weight", weight)?;
    let bias = bias.map(|init| vb.get_with_hints(outputs, "bias", init)).transpose()?;
    Ok(Linear { weight, bias })
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(ops::linear(x, &self.weight, self.bias.as_ref())?)
    }
}
