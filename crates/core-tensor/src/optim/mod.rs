//! Optimisers with PyTorch's formulas, over the named parameters of a [`ParamStore`](crate::params::ParamStore).
//!
//! On the CPU each parameter is updated in place by one loop, and so it is by Adam on CUDA, by one kernel; otherwise Candle
//! operations do it. A parameter without a gradient is left alone and its step is not counted, as in PyTorch.

mod adam;
mod clip;
#[cfg(feature = "cuda")]
mod cuda;
mod sgd;
mod slot;

pub use adam::{Adam, AdamConfig, AdamW};
pub use clip::{clip_grad_norm, clip_grad_value};
pub use sgd::{Sgd, SgdConfig};

use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use std::collections::BTreeMap;

/// Something that improves parameters, given gradients.
pub trait Optimizer {
    /// Changes the parameters by one step. The learning rate is the one set last.
    ///
    /// # Errors
    ///
    /// When a gradient has not the shape and dtype of its parameter.
    fn step(&mut self, grads: &GradStore) -> Result<()>;

    /// Backpropagates from `loss` and takes a step.
    ///
    /// # Errors
    ///
    /// When an operation on the tape has no gradient, and as for [`Self::step`].
    fn backward_step(&mut self, loss: &Tensor) -> Result<()> {
        self.step(&crate::backward(loss)?)
    }

    /// The factor of the next step.
    fn learning_rate(&self) -> f64;

    /// Sets the factor of the next steps; see [`crate::schedule`].
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// All that is needed to continue elsewhere, in copies.
    ///
    /// # Errors
    ///
    /// Those of Candle.
    fn state(&self) -> Result<OptimizerState>;

    /// Continues from `state`.
    ///
    /// # Errors
    ///
    /// When the state is of another kind of optimiser or does not fit the parameters. Nothing is changed then.
    fn load_state(&mut self, state: &OptimizerState) -> Result<()>;
}

/// The state of an optimiser, by the names of parameters.
#[derive(Debug, Clone)]
pub struct OptimizerState {
    /// Which optimiser this is: `adam`, `adamw`, `sgd`.
    pub kind: String,
    /// The learning rate when the state was taken.
    pub learning_rate: f64,
    /// How many steps each parameter has taken; parameters that have taken none are absent.
    pub steps: BTreeMap<String, u64>,
    /// The tensors kept for each parameter: `exp_avg.<parameter>`, `exp_avg_sq.<parameter>`, `momentum_buffer.<parameter>`.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Every name may be there once, and every parameter must be a float.
fn check_vars(op: &'static str, vars: &[(String, Var)]) -> Result<()> {
    let mut names = std::collections::BTreeSet::new();
    for (name, var) in vars {
        if !var.dtype().is_float() {
            return Err(Error::DType {
                operation: op,
                what: "a parameter",
                got: var.dtype(),
                expected: "a floating-point type",
            });
        }
        if !names.insert(name) {
            return Err(Error::Parameter { name: name.clone(), reason: "is there twice".to_string() });
        }
    }
    Ok(())
}

/// `is_valid` must hold for the hyperparameter `what`.
fn check_value(op: &'static str, what: &'static str, got: f64, expected: &'static str, is_valid: bool) -> Result<()> {
    if is_valid { Ok(()) } else { Err(Error::Value { operation: op, what, got, expected }) }
}
