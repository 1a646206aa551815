//! Predictions of trained networks.

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use core_tensor::train::Classifier;
use core_tensor::{Mode, ops};

/// Inputs that are predicted at a time.
const INPUTS: usize = 256;

/// `[inputs, classes]`: the probabilities of inputs `[inputs, …]` in evaluation mode.
///
/// # Errors
///
/// Inputs that do not fit the network.
pub fn predict(network: &dyn Classifier, inputs: &Tensor) -> Result<Tensor> {
    let count = inputs.dims().first().copied().unwrap_or(0);
    if count == 0 {
        return Err(Error::Empty { operation: "predict", what: "inputs" });
    }
    let mut parts = Vec::new();
    for start in (0..count).step_by(INPUTS) {
        let x = inputs.detach().narrow(0, start, INPUTS.min(count - start))?;
        parts.push(ops::softmax(&network.logits(&x, &mut Mode::evaluate())?)?.detach());
    }
    Ok(Tensor::cat(&parts, 0)?)
}

pub(super) fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?)
}
