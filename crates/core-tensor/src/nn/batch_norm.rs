//! Batch normalisation.

use crate::ops::Epilogue;
use crate::params::buffer;
use crate::{Error, Mode, Result, ops};
use candle_core::{Tensor, Var};
use candle_nn::{Init, ModuleT, VarBuilder};

/// The numbers of a [`BatchNorm`]; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormConfig {
    /// Added to the variance, 1e-5.
    pub eps: f64,
    /// The share of the batch in the running statistics, 0.1.
    pub momentum: f64,
    /// Whether there are a `weight` (first 1) and a `bias` (first 0) to train, true.
    pub is_affine: bool,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1, is_affine: true }
    }
}

/// Batch normalisation of feature vectors `[n, channels]` and of planes `[n, channels, …]`, as `torch.nn.BatchNorm1d` to `3d`.
///
/// In training the batch is normalised by its own mean and biased variance, and `running_mean` and `running_var` (unbiased)
/// move towards them, in place; in evaluation the running statistics are used. The rest of the formula is that of
/// [`ops::batch_norm_train`].
#[derive(Debug, Clone)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Var,
    running_var: Var,
    config: BatchNormConfig,
}

/// The name for feature vectors; the layer is the same.
pub type BatchNorm1d = BatchNorm;

/// The name for images; the layer is the same.
pub type BatchNorm2d = BatchNorm;

/// [`batch_norm1d`] under the name for images.
///
/// # Errors
///
/// As for [`batch_norm1d`].
pub fn batch_norm2d(channels: usize, config: BatchNormConfig, vb: VarBuilder<'_>) -> Result<BatchNorm> {
    batch_norm1d(channels, config, vb)
}

/// A layer with the parameters `weight` and `bias`, unless it is not affine, and the buffers `running_mean` and
/// `running_var`.
///
/// # Errors
///
/// When the parameters exist with other shapes, or a number of `config` is out of its range.
pub fn batch_norm1d(channels: usize, config: BatchNormConfig, vb: VarBuilder<'_>) -> Result<BatchNorm> {
    let is_valid = (0. ..=1.).contains(&config.momentum);
    if !is_valid {
        let (op, what, got) = ("batch_norm1d", "momentum", config.momentum);
        return Err(Error::Value { operation: op, what, got, expected: "in [0, 1]" });
    }
    let (weight, bias) = if config.is_affine {
        let weight = vb.get_with_hints(channels, "weight", Init::Const(1.))?;
        (weight, vb.get_with_hints(channels, "bias", Init::Const(0.))?)
    } else {
        let weight = Tensor::ones(channels, vb.dtype(), vb.device())?;
        (weight, Tensor::zeros(channels, vb.dtype(), vb.device())?)
    };
    let running_mean = Var::from_tensor(&buffer(&vb, channels, "running_mean", Init::Const(0.))?)?;
    let running_var = Var::from_tensor(&buffer(&vb, channels, "running_var", Init::Const(1.))?)?;
    Ok(BatchNorm { weight, bias, running_mean, running_var, config })
}

impl BatchNorm {
    /// The running mean, `[channels]`.
    pub fn running_mean(&self) -> &Tensor {
        self.running_mean.as_tensor()
    }

    /// The running unbiased variance, `[channels]`.
    pub fn running_var(&self) -> &Tensor {
        self.running_var.as_tensor()
    }

    /// Normalises as `mode` says: by the statistics of the batch or by the running ones, which move or stay.
    ///
    /// # Errors
    ///
    /// When `x` is not `[n, channels, …]`, or has less than 2 elements a channel and the statistics of the batch are needed.
    pub fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        self.forward_fused(x, &Epilogue::default(), mode)
    }

    /// [`Self::forward`], then `max(·, 0)`, in one pass.
    ///
    /// # Errors
    ///
    /// As for [`Self::forward`].
    pub fn forward_relu(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        self.forward_fused(x, &Epilogue { residual: None, has_relu: true }, mode)
    }

    /// [`Self::forward`] with what follows it in one pass.
    ///
    /// # Errors
    ///
    /// As for [`Self::forward`], and when the residual does not fit.
    pub fn forward_fused(&self, x: &Tensor, epilogue: &Epilogue<'_>, mode: &Mode<'_>) -> Result<Tensor> {
        let BatchNormConfig { eps, .. } = self.config;
        if mode.uses_batch_statistics {
            let (y, batch) = ops::batch_norm_train_with(x, &self.weight, &self.bias, eps, epilogue)?;
            if mode.updates_statistics {
                self.update(&batch.mean, &batch.unbiased_variance()?)?;
            }
            return Ok(y);
        }
        if mode.updates_statistics {
            // the statistics alone are wanted: what is normalised by them is thrown away
            let batch = ops::batch_norm_train(&x.detach(), &self.weight, &self.bias, eps)?.1;
            self.update(&batch.mean, &batch.unbiased_variance()?)?;
        }
        let (mean, variance) = (self.running_mean.as_detached_tensor(), self.running_var.as_detached_tensor());
        ops::batch_norm_eval_with(x, [&mean, &variance], &self.weight, &self.bias, eps, epilogue)
    }

    fn update(&self, mean: &Tensor, variance: &Tensor) -> Result<()> {
        let momentum = self.config.momentum;
        for (running, new) in [(&self.running_mean, mean), (&self.running_var, variance)] {
            running.set(&((running.as_detached_tensor() * (1. - momentum))? + (new * momentum)?)?)?;
        }
        Ok(())
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let mode = if train { Mode::recalibrate() } else { Mode::evaluate() };
        Ok(self.forward(x, &mode)?)
    }
}
