//! The leaky ReLU whose slopes are learned.

use crate::{Error, Result, ops};
use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};

/// `x` where `x > 0`, else `weight · x`, see [`ops::prelu`].
#[derive(Clone, Debug)]
pub struct Prelu {
    weight: Tensor,
}

impl Prelu {
    /// The slopes, `[1]` or `[channels]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }
}

/// A layer with the parameter `weight` `[slopes]`, first 0.25 as in PyTorch: one slope for all channels, or one for each.
///
/// # Errors
///
/// When there is no slope, or the parameter exists with another shape.
pub fn prelu(slopes: usize, vb: VarBuilder<'_>) -> Result<Prelu> {
    if slopes == 0 {
        return Err(Error::Value { operation: "prelu", what: "slopes", got: 0., expected: "at least 1" });
    }
    Ok(Prelu { weight: vb.get_with_hints(slopes, "weight", Init::Const(0.25))? })
}

impl Module for Prelu {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(ops::prelu(x, &self.weight)?)
    }
}
