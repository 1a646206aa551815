//! The embedding table.

use crate::{Result, ops};
use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};

/// A table of vectors, looked up by u32 ids of any shape, see [`ops::embedding`].
#[derive(Clone, Debug)]
pub struct Embedding {
    weight: Tensor,
}

impl Embedding {
    /// A layer with the given table, `[rows, width]`.
    pub fn new(weight: Tensor) -> Self {
        Self { weight }
    }

    /// The table, `[rows, width]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }
}

/// A layer with the parameter `weight` `[rows, width]`, standard normal as in PyTorch.
///
/// # Errors
///
/// When the parameter exists with another shape.
pub fn embedding(rows: usize, width: usize, vb: VarBuilder<'_>) -> Result<Embedding> {
    let weight = vb.get_with_hints((rows, width), "weight", Init::Randn { mean: 0., stdev: 1. })?;
    Ok(Embedding { weight })
}

impl Module for Embedding {
    fn forward(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        Ok(ops::embedding(&self.weight, ids)?)
    }
}
