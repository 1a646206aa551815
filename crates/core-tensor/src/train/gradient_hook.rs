//! What happens to gradients between the backward pass and the optimiser.

use crate::optim::clip_grad_norm;
use crate::params::{Masks, Parameters};
use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use std::any::Any;

/// Called with a variable and its gradient, or a part of it, during the backward pass: see [`backward_observed`](crate::backward_observed).
pub type Observer = Box<dyn FnMut(&Tensor, &Tensor)>;

/// The gradients of a step, by the names of the parameters.
#[derive(Debug)]
pub struct Gradients<'a> {
    parameters: &'a Parameters,
    store: &'a mut GradStore,
    pub(super) norm: Option<f64>,
}

impl<'a> Gradients<'a> {
    pub(super) fn new(parameters: &'a Parameters, store: &'a mut GradStore) -> Self {
        Self { parameters, store, norm: None }
    }

    /// All parameters of the optimiser, those without a gradient too.
    pub fn parameters(&self) -> &Parameters {
        self.parameters
    }

    /// Names, parameters and gradients, in the order of the parameters; what no loss reached and what is frozen is absent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var, &Tensor)> {
        let found = self.parameters.found(self.store).into_iter();
        found.filter_map(|at| {
            let (name, var) = &self.parameters[at];
            Some((name.as_str(), var, self.store.get(var)?))
        })
    }

    /// Replaces gradients: `change` gets each name and gradient and returns another one, or nothing to leave it.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn update(&mut self, mut change: impl FnMut(&str, &Tensor) -> Result<Option<Tensor>>) -> Result<()> {
        for at in self.parameters.found(self.store) {
            let (name, var) = &self.parameters[at];
            let changed = match self.store.get(var) {
                Some(gradient) => change(name, gradient)?,
                None => None,
            };
            if let Some(gradient) = changed {
                self.store.insert(var, gradient);
            }
        }
        Ok(())
    }

    /// Candle's store of the gradients.
    pub fn store_mut(&mut self) -> &mut GradStore {
        self.store
    }
}

/// A stage of [`Trainer::step`](super::Trainer::step) between backward and optimiser. Closures are hooks too.
///
/// ```
/// # use candle_core::{DType, Device, Module, Tensor};
/// # use core_tensor::{nn, optim::{Sgd, SgdConfig}, params::ParamStore};
/// use core_tensor::train::{Gradients, Trainer};
/// # let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// # let layer = nn::linear(3, 2, store.var_builder())?;
/// // signs only
/// let signs = |gradients: &mut Gradients<'_>| gradients.update(|_, gradient| Ok(Some(gradient.sign()?)));
/// let mut trainer = Trainer::new(Sgd::new(&store, SgdConfig::default())?).hook(signs);
/// # trainer.step(&layer.forward(&Tensor::ones((1, 3), DType::F32, &Device::Cpu)?)?.sum_all()?)?;
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub trait GradientHook: Any {
    /// Changes the gradients.
    ///
    /// # Errors
    /// Whatever goes wrong; wrap an error of your own in [`Error::Hook`]. The optimiser takes no step then.
    fn apply(&mut self, gradients: &mut Gradients<'_>) -> Result<()>;

    /// Asked before each backward pass whether something wants to see gradients as they are found.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    fn observer(&mut self) -> Result<Option<Observer>> {
        Ok(None)
    }

    /// Told when the backward pass, or a hook before this one, failed after [`Self::observer`] was called: [`Self::apply`] will not be.
    fn abandon(&mut self, _error: &Error) {}

    /// Called after the optimiser's step with the positions in `parameters` of those that have changed.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    fn after_step(&mut self, _parameters: &Parameters, _changed: &[usize]) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&mut Gradients<'_>) -> Result<()> + 'static> GradientHook for F {
    fn apply(&mut self, gradients: &mut Gradients<'_>) -> Result<()> {
        self(gradients)
    }
}

/// [`clip_grad_norm`] in each step.
pub(super) struct ClipNorm(pub(super) f64);

impl GradientHook for ClipNorm {
    fn apply(&mut self, gradients: &mut Gradients<'_>) -> Result<()> {
        gradients.norm = Some(clip_grad_norm(gradients.parameters, gradients.store, self.0)?);
        Ok(())
    }
}

/// Zeros in gradients before the step, and in values after it: momentum and weight decay cannot bring back what was pruned.
pub(super) struct MaskHook(pub(super) Masks);

impl GradientHook for MaskHook {
    fn apply(&mut self, gradients: &mut Gradients<'_>) -> Result<()> {
        gradients.update(|name, gradient| self.0.product(name, gradient))
    }

    fn after_step(&mut self, parameters: &Parameters, changed: &[usize]) -> Result<()> {
        for (name, var) in changed.iter().map(|&at| &parameters[at]) {
            if let Some(values) = self.0.product(name, &var.as_detached_tensor())? {
                var.set(&values)?;
            }
        }
        Ok(())
    }
}
