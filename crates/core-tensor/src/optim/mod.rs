//! Optimisers with PyTorch's formulas, over the named parameters of a [`ParamStore`](crate::params::ParamStore).
//!
//! On the CPU each parameter is updated in place by one loop, and so it is by Adam on CUDA, by one kernel; otherwise Candle
//! operations do it. A step visits the gradients that were found: a parameter without one keeps its value, moments and step count
//! to the bit, as in PyTorch, and costs nothing. Settings for some parameters are a [`ParamGroup`].

mod adam;
mod clip;
#[cfg(feature = "cuda")]
mod cuda;
mod group;
mod nero;
mod sgd;
mod slot;

pub use adam::{Adam, AdamConfig, AdamW};
pub use clip::{clip_grad_norm, clip_grad_value};
pub use group::ParamGroup;
pub use nero::{Nero, NeroConfig};
pub use sgd::{Sgd, SgdConfig};

use crate::params::Parameters;
use crate::{Error, Result};
use candle_core::Tensor;
use candle_core::backprop::GradStore;
use std::collections::{BTreeMap, BTreeSet};

/// Something that improves parameters, given gradients.
pub trait Optimizer {
    /// The parameters, in the order in which they were given.
    fn parameters(&self) -> &Parameters;

    /// Changes the parameters by one step. The learning rate is the one set last.
    ///
    /// # Errors
    ///
    /// When a gradient does not have the shape and dtype of its parameter.
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
    /// Which optimiser this is: `adam`, `adamw`, `sgd`, `nero`.
    pub kind: String,
    /// The learning rate when the state was taken.
    pub learning_rate: f64,
    /// How many steps each parameter has taken; parameters that have taken none are absent.
    pub steps: BTreeMap<String, u64>,
    /// The tensors kept for each parameter: `exp_avg.<parameter>`, `exp_avg_sq.<parameter>`, `momentum_buffer.<parameter>`.
    pub tensors: BTreeMap<String, Tensor>,
}

impl OptimizerState {
    fn new(kind: &str, learning_rate: f64) -> Self {
        Self { kind: kind.to_string(), learning_rate, steps: BTreeMap::new(), tensors: BTreeMap::new() }
    }

    /// It must be of this kind, and know no other parameters.
    fn check(&self, kind: &str, parameters: &Parameters) -> Result<()> {
        let mut problems = Vec::new();
        if self.kind != kind {
            problems.push(format!("it belongs to `{}`, not to `{kind}`", self.kind));
        }
        let known: BTreeSet<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        let unknown = self.steps.keys().filter(|name| !known.contains(name.as_str()));
        problems.extend(unknown.map(|name| format!("`{name}` is unexpected")));
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Mismatch { source_name: "optimiser state".to_string(), problems })
    }
}
