//! A head whose logits are noisy, with a covariance of low rank (Collier, Mustafa, Kokiopoulou, Jenatton and Berent, "Correlated Input-Dependent Label Noise in Large-Scale Image Classification", CVPR 2021).

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Module, VarBuilder};
use core_tensor::nn::{self, Linear};
use core_tensor::ops;
use core_tensor::random::Rng;

/// The settings of [`het_head`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HetConfig {
    /// The number of inputs.
    pub inputs: usize,
    /// The number of classes.
    pub classes: usize,
    /// `R`, the rank of the covariance beside its diagonal; 6 for CIFAR, 0 for a diagonal one.
    pub rank: usize,
    /// `τ`, by which noisy logits are divided; 1.3 for CIFAR.
    pub temperature: f64,
}

/// For inputs `h`: means `μ = W h + b`, factors `V = reshape(W_f h + b_f, [C, R])`, deviations `s = softplus(W_d h + b_d) + 0.001`; the probabilities are the mean of `softmax((μ + V ε_f + s ε_d) / τ)` over draws of the noises.
#[derive(Debug, Clone)]
pub struct HetHead {
    mean: Linear,
    factors: Option<Linear>,
    deviations: Linear,
    config: HetConfig,
}

/// Standard normal draws for some examples.
#[derive(Debug, Clone)]
pub struct HetNoise {
    /// `[examples, draws, classes]`.
    pub diagonal: Tensor,
    /// `[examples, draws, rank]`; nothing for a rank of 0.
    pub factors: Option<Tensor>,
}

/// A head with the parameters `loc`, `factor` (not for a rank of 0; its outputs are `[classes, rank]` row by row) and `diag`, each with `weight` and `bias`.
///
/// # Errors
///
/// No inputs or classes, a temperature that is not finite and positive, or parameters that exist with other shapes.
pub fn het_head(config: HetConfig, vb: VarBuilder<'_>) -> Result<HetHead> {
    const OP: &str = "het_head";
    let HetConfig { inputs, classes, rank, temperature } = config;
    for (what, size) in [("inputs", inputs), ("classes", classes)] {
        if size == 0 {
            return Err(Error::config(OP, what, size, "at least 1"));
        }
    }
    let is_temperature = temperature.is_finite() && temperature > 0.;
    if !is_temperature {
        return Err(Error::config(OP, "temperature", temperature, "finite and above 0"));
    }
    let mean = nn::linear(inputs, classes, vb.pp("loc"))?;
    let factors = if rank > 0 { Some(nn::linear(inputs, classes * rank, vb.pp("factor"))?) } else { None };
    let deviations = nn::linear(inputs, classes, vb.pp("diag"))?;
    Ok(HetHead { mean, factors, deviations, config })
}

/// Probabilities are at least this before their logarithm is taken.
const LEAST: f64 = 1e-7;

impl HetHead {
    /// The settings.
    pub fn config(&self) -> &HetConfig {
        &self.config
    }

    /// Draws for `examples` examples.
    ///
    /// # Errors
    ///
    /// No draws, a dtype that is no float.
    pub fn draw(&self, examples: usize, draws: usize, like: &Tensor, rng: &mut Rng) -> Result<HetNoise> {
        if draws == 0 {
            return Err(Error::config("HetHead::draw", "draws", 0, "at least 1"));
        }
        let (dtype, device): (DType, _) = (like.dtype(), like.device());
        let diagonal = rng.normal(0., 1., (examples, draws, self.config.classes), dtype, device)?;
        let factors = match self.config.rank {
            0 => None,
            rank => Some(rng.normal(0., 1., (examples, draws, rank), dtype, device)?),
        };
        Ok(HetNoise { diagonal, factors })
    }

    /// `[examples, classes]`: the logarithms of the mean probabilities, clipped to `[1e-7, 1]`, for inputs `[examples, inputs]`: what cross-entropy takes as logits.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit.
    pub fn log_probabilities(&self, h: &Tensor, noise: &HetNoise) -> Result<Tensor> {
        const OP: &str = "log_probabilities";
        let HetConfig { inputs, classes, rank, temperature } = self.config;
        let &[examples, last] = h.dims() else {
            return Err(Error::shape(OP, "h", h, format!("[examples, {inputs}]")));
        };
        if last != inputs {
            return Err(Error::shape(OP, "h", h, format!("[examples, {inputs}]")));
        }
        let &[rows, draws, width] = noise.diagonal.dims() else {
            return Err(Error::shape(OP, "noise", &noise.diagonal, format!("[{examples}, draws, {classes}]")));
        };
        if rows != examples || width != classes || draws == 0 {
            return Err(Error::shape(OP, "noise", &noise.diagonal, format!("[{examples}, draws, {classes}]")));
        }
        let mean = self.mean.forward(h)?.unsqueeze(1)?;
        let deviations = ops::affine(&ops::softplus(&self.deviations.forward(h)?)?, 1., 1e-3)?.unsqueeze(1)?;
        let mut latent = ops::add(&ops::mul(&noise.diagonal, &deviations)?, &mean)?;
        if let Some(layer) = &self.factors {
            let factors = layer.forward(h)?.reshape((examples, classes, rank))?;
            let expected = || format!("[{examples}, {draws}, {rank}]");
            let Some(draws_of_factors) = &noise.factors else {
                return Err(Error::Empty { operation: OP, what: "draws of the factors" });
            };
            if draws_of_factors.dims() != [examples, draws, rank] {
                return Err(Error::shape(OP, "noise of the factors", draws_of_factors, expected()));
            }
            latent = ops::add(&latent, &ops::matmul(draws_of_factors, &factors.transpose(1, 2)?)?)?;
        }
        let p = ops::softmax(&ops::affine(&latent, 1. / temperature, 0.)?)?;
        let mean = ops::mean_keepdim(&p, &[1])?.reshape((examples, classes))?;
        // Where it is below, the value is the least, and the gradient 0.
        let is_enough = mean.detach().ge(LEAST)?;
        let least = (mean.detach().zeros_like()? + LEAST)?;
        Ok(ops::ln(&ops::where_cond(&is_enough, &mean, &least)?)?)
    }
}
