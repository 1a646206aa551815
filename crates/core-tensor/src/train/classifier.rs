//! What attacks and evaluations need of a model.

use crate::kernel::constants;
use crate::{Mode, Result};
use candle_core::{Tensor, Var};

/// A model that gives each input scores of the classes.
///
/// Closures are classifiers, so a model of any kind is one by `|x: &Tensor, mode: &mut Mode<'_>| model.forward(x, mode)`.
pub trait Classifier {
    /// The logits `[batch, classes]` of inputs `[batch, …]`.
    ///
    /// # Errors
    /// When the inputs do not fit.
    fn logits(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor>;
}

impl<F: Fn(&Tensor, &mut Mode<'_>) -> Result<Tensor>> Classifier for F {
    fn logits(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self(x, mode)
    }
}

/// The value `f(x)`, a scalar, and its gradient with respect to `x`, `[…]` like `x`.
///
/// Parameters are constants while `f` runs: operations of this crate take variables off the tape, so that no gradient of a weight is computed or kept. (Operations of Candle that use a variable
/// directly still compute its gradient, which is thrown away; build the model from [`frozen_var_builder`](crate::params::ParamStore::frozen_var_builder) to avoid that too.)
///
/// ```
/// # use candle_core::{DType, Device, Module, Tensor};
/// # use core_tensor::{nn, ops, params::ParamStore};
/// use core_tensor::train::input_gradient;
/// # let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let model = nn::linear(3, 2, store.var_builder())?;
/// let (x, labels) = (Tensor::ones((4, 3), DType::F32, &Device::Cpu)?, Tensor::zeros(4, DType::U32, &Device::Cpu)?);
/// let (loss, gradient) = input_gradient(&x, |x| ops::cross_entropy(&model.forward(x)?, &labels))?;
/// assert_eq!(gradient.dims(), x.dims());
/// # let _ = loss;
/// # Ok::<(), core_tensor::Error>(())
/// ```
///
/// # Errors
/// Those of `f`, a value of more than one element, an operation on its tape that has no gradient.
pub fn input_gradient(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<(Tensor, Tensor)> {
    let var = Var::from_tensor(&x.detach())?;
    // A tensor that depends on a variable and is none: what is a variable is taken for a parameter.
    let on_tape = var.as_tensor().reshape(x.shape())?;
    let value = {
        let _constants = constants::Scope::new();
        f(&on_tape)?
    };
    if value.elem_count() != 1 {
        return Err(crate::Error::shape("input_gradient", "the value", value.shape(), "one element"));
    }
    let mut grads = crate::backward(&value)?;
    let gradient = match grads.remove(&var) {
        Some(gradient) => gradient.detach(),
        None => x.zeros_like()?,
    };
    Ok((value.detach(), gradient))
}
