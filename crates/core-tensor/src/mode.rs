//! Training or evaluation.

use crate::random::{Rng, dropout};
use candle_core::Tensor;

/// How a model is run: dropout and batch statistics are for training only.
#[derive(Debug)]
pub enum Mode<'a> {
    /// Drops units at random and normalises by the batch's statistics.
    Train(&'a mut Rng),
    /// Uses every unit and the running statistics.
    Evaluate,
}

impl Mode<'_> {
    /// Whether this is training.
    pub fn is_training(&self) -> bool {
        matches!(self, Self::Train(_))
    }

    /// Inverted dropout in training, `x` itself in evaluation.
    ///
    /// # Errors
    /// In training, a `p` outside `[0, 1)`.
    pub fn dropout(&mut self, x: &Tensor, p: f64) -> crate::Result<Tensor> {
        match self {
            Self::Train(rng) if p != 0.0 => dropout(x, p, rng),
            _ => Ok(x.clone()),
        }
    }
}
