//! Operators: what a layer can be.

mod images;
mod sequence;

pub use images::{ImageConfig, image_operator};
pub use sequence::{NormPlace, SequenceConfig, sequence_operator};

use crate::Result;
use candle_core::Tensor;
use core_tensor::Mode;

/// A candidate of a layer: a function of the hidden state with parameters and a normalisation of its own.
///
/// All candidates of a layer must give the same shape; [`SuperNet`](crate::SuperNet) checks that before training. Batch norms score with the batch's own statistics or after recalibration, never with running statistics that children share: run scores in
/// [`Mode::recalibrate`] without updates, or in evaluation after [`SuperNet::recalibrate`](crate::SuperNet::recalibrate).
pub trait Operator: Send + Sync {
    /// The next hidden state.
    ///
    /// # Errors
    /// Hidden states that the operator cannot take.
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor>;

    /// Multiplications for a hidden state of this shape, the first extent counting samples.
    fn multiplications(&self, shape: &[usize]) -> u64;

    /// Whether the hidden state comes back as it is.
    fn is_identity(&self) -> bool {
        false
    }
}

/// A state that goes through unchanged.
#[derive(Debug, Clone, Copy)]
pub struct Identity;

impl Operator for Identity {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(x.clone())
    }

    fn multiplications(&self, _: &[usize]) -> u64 {
        0
    }

    fn is_identity(&self) -> bool {
        true
    }
}

/// Zeros of the shape of the hidden state.
#[derive(Debug, Clone, Copy)]
pub struct Zero;

impl Operator for Zero {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(x.zeros_like()?)
    }

    fn multiplications(&self, _: &[usize]) -> u64 {
        0
    }
}
