//! What is attacked.

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use core_tensor::ops;
use core_tensor::params::ParamStore;
use core_tensor::train::input_gradient;
use std::hash::{DefaultHasher, Hasher};

/// A model that gives each input scores of the classes.
///
/// Any closure `Fn(&Tensor) -> Result<Tensor, E>` from inputs `[batch, …]` to logits `[batch, classes]` is one, with errors of Candle, core-tensor or this crate. The gradient is found by backpropagation; a model
/// with a gradient of its own implements [`Self::input_gradient`] too, and so do the substitutes ([`Bpda`](super::Bpda)).
///
/// Rows must not depend on each other: batch norms in evaluation mode.
pub trait Classifier {
    /// Logits `[batch, classes]` of inputs `[batch, …]`.
    ///
    /// # Errors
    /// When the inputs do not fit.
    fn logits(&self, x: &Tensor) -> Result<Tensor>;

    /// The gradient, of the shape of `x`, of a function of the logits whose gradient with respect to them is what `of_logits` returns. `of_logits` is called once with the logits at `x`.
    ///
    /// # Errors
    /// Those of both functions, and a model whose tape cannot be walked.
    fn input_gradient(&self, x: &Tensor, of_logits: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let (logits_of, of_logits) = (|x: &Tensor| self.logits(x), of_logits);
        through_tape(x, logits_of, of_logits)
    }

    /// A number that changes when parameters or buffers of the model do; `None` where nobody can tell. [`Network`] has one.
    ///
    /// # Errors
    /// When parameters cannot be read.
    fn fingerprint(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}

impl<F, E> Classifier for F
where
    F: Fn(&Tensor) -> Result<Tensor, E>,
    E: Into<Error>,
{
    fn logits(&self, x: &Tensor) -> Result<Tensor> {
        self(x).map_err(Into::into)
    }
}

/// Backpropagation from the output of `function` to `x`, with parameters as constants; nothing of the tape outlives the call.
pub(crate) fn through_tape(
    x: &Tensor,
    function: impl Fn(&Tensor) -> Result<Tensor>,
    of_output: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    // core-tensor's errors cannot carry ours
    let mut failed = None;
    let found = input_gradient(x, |x| {
        let value = function(x).and_then(|output| {
            let weights = of_output(&output.detach())?;
            if weights.shape() != output.shape() {
                let reason = format!("has shape {:?}, expected {:?}", weights.dims(), output.dims());
                return Err(Error::config("input_gradient", "the gradient of the output", reason));
            }
            Ok(ops::sum_all(&ops::mul(&output, &weights)?)?)
        });
        value.map_err(|error| {
            let message = error.to_string();
            failed = Some(error);
            candle_core::Error::Msg(message).into()
        })
    });
    match (failed, found) {
        (Some(error), _) => Err(error),
        (None, found) => Ok(found?.1),
    }
}

/// A model together with the store of its parameters, so that a report can tell when a forward pass changes them (running statistics of a model in training mode).
pub struct Network<'a, F> {
    store: &'a ParamStore,
    forward: F,
}

impl<F> std::fmt::Debug for Network<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("store", self.store).finish_non_exhaustive()
    }
}

impl<'a, F, E> Network<'a, F>
where
    F: Fn(&Tensor) -> Result<Tensor, E>,
    E: Into<Error>,
{
    /// `forward` gives the logits. Best built on [`ParamStore::frozen_var_builder`], so that no gradient of a parameter is ever computed.
    pub fn new(store: &'a ParamStore, forward: F) -> Self {
        Self { store, forward }
    }
}

impl<F, E> Classifier for Network<'_, F>
where
    F: Fn(&Tensor) -> Result<Tensor, E>,
    E: Into<Error>,
{
    fn logits(&self, x: &Tensor) -> Result<Tensor> {
        (self.forward)(x).map_err(Into::into)
    }

    fn fingerprint(&self) -> Result<Option<u64>> {
        let mut hasher = DefaultHasher::new();
        for (name, var) in self.store.vars() {
            hasher.write(name.as_bytes());
            for value in var.as_tensor().flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()? {
                hasher.write_u64(value.to_bits());
            }
        }
        Ok(Some(hasher.finish()))
    }
}

/// A classifier behind a normalisation of channels, so that attacks see pixels: logits of `(x − mean) / std` for images `[batch, channels, …]`.
#[derive(Debug, Clone)]
pub struct Normalized<C> {
    mean: Vec<f32>,
    std: Vec<f32>,
    model: C,
}

impl<C: Classifier> Normalized<C> {
    /// One mean and standard deviation for each channel.
    ///
    /// # Errors
    /// Lists of different lengths or none, a deviation that is not above 0.
    pub fn new(mean: impl Into<Vec<f32>>, std: impl Into<Vec<f32>>, model: C) -> Result<Self> {
        let (mean, std) = (mean.into(), std.into());
        crate::error::check_positive("Normalized::new", &[("channels", mean.len())])?;
        if mean.len() != std.len() {
            return Err(Error::length("Normalized::new", "deviations", std.len(), mean.len()));
        }
        if let Some(&bad) = std.iter().find(|&&std| !(std > 0. && std.is_finite())) {
            return Err(Error::value("Normalized::new", "a standard deviation", f64::from(bad), "above 0"));
        }
        if let Some(&bad) = mean.iter().find(|mean| !mean.is_finite()) {
            return Err(Error::value("Normalized::new", "a mean", f64::from(bad), "a finite number"));
        }
        Ok(Self { mean, std, model })
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let channels = self.mean.len();
        if x.rank() < 2 || x.dim(1)? != channels {
            let reason = format!("have shape {:?}, expected [batch, {channels}, …]", x.dims());
            return Err(Error::config("Normalized", "the inputs", reason));
        }
        let mut shape = vec![1; x.rank()];
        shape[1] = channels;
        let along = |values: Vec<f32>| Tensor::new(values, x.device())?.to_dtype(x.dtype())?.reshape(shape.clone());
        let scale: Vec<f32> = self.std.iter().map(|std| 1. / std).collect();
        let shift: Vec<f32> = self.mean.iter().zip(&self.std).map(|(mean, std)| -mean / std).collect();
        Ok(ops::add(&ops::mul(x, &along(scale)?)?, &along(shift)?)?)
    }
}

impl<C: Classifier> Classifier for Normalized<C> {
    fn logits(&self, x: &Tensor) -> Result<Tensor> {
        self.model.logits(&self.apply(x)?)
    }

    /// The model's own gradient, divided by the deviations.
    fn input_gradient(&self, x: &Tensor, of_logits: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let inner = self.model.input_gradient(&self.apply(x)?.detach(), of_logits)?;
        through_tape(x, |x| self.apply(x), &mut |_| Ok(inner.clone()))
    }

    fn fingerprint(&self) -> Result<Option<u64>> {
        self.model.fingerprint()
    }
}
