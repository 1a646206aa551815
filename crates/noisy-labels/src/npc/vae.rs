//! The conditional variational auto-encoder: steps 3 and 4.

use crate::{Error, Result};
use candle_core::{IndexOp, Tensor};
use candle_nn::{Module, VarBuilder};
use core_tensor::nn::{self, Linear};
use core_tensor::ops;

/// Encoder and decoder over features of any network.
///
/// Both are one linear layer: the encoder of the features `F(x)` and the predicted class, `α̂ = softplus(W_e [F; ŷ] + b_e) + 1 + 1/c`, the decoder of the features and the sample, `W_d [F; z] + b_d`.
#[derive(Debug, Clone)]
pub struct PredictionVae {
    encoder: Linear,
    decoder: Linear,
    classes: usize,
    width: usize,
}

/// The two parts of the loss, summed over a batch.
#[derive(Debug, Clone)]
pub struct LossParts {
    /// Binary cross-entropies of the predicted class, a scalar.
    pub reconstruction: Tensor,
    /// The divergence from the prior of each example, `[batch]`.
    pub divergence: Tensor,
    /// `reconstruction + β Σ divergence`, a scalar: the negative lower bound of the evidence.
    pub loss: Tensor,
}

/// An auto-encoder for `classes` classes and features of `width` numbers, with the parameters `encoder.weight` `[classes, width + classes]`, `encoder.bias`, `decoder.weight` of the same shape and `decoder.bias`.
///
/// # Errors
///
/// No classes, or parameters that exist with other shapes.
pub fn prediction_vae(classes: usize, width: usize, vb: VarBuilder<'_>) -> Result<PredictionVae> {
    if classes == 0 {
        return Err(Error::Empty { operation: "prediction_vae", what: "classes" });
    }
    let encoder = nn::linear(width + classes, classes, vb.pp("encoder"))?;
    let decoder = nn::linear(width + classes, classes, vb.pp("decoder"))?;
    Ok(PredictionVae { encoder, decoder, classes, width })
}

impl PredictionVae {
    /// How many classes there are.
    pub fn num_classes(&self) -> usize {
        self.classes
    }

    /// `[batch, classes]`: the posterior's parameters `α̂` for features `[batch, width]` and predicted classes as one-hot rows `[batch, classes]`.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit.
    pub fn encode(&self, features: &Tensor, predicted: &Tensor) -> Result<Tensor> {
        self.check("encode", "features", features, self.width)?;
        self.check("encode", "predicted", predicted, self.classes)?;
        let scores = self.encoder.forward(&ops::cat(&[features, predicted], 1)?)?;
        Ok(ops::affine(&ops::softplus(&scores)?, 1., 1. + 1. / self.classes as f64)?)
    }

    /// `[batch, classes]`: logits of the predicted classes for features and samples `[batch, classes]`, which are not brought to the simplex, as in the authors' program.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit.
    pub fn decode(&self, features: &Tensor, sample: &Tensor) -> Result<Tensor> {
        self.check("decode", "features", features, self.width)?;
        self.check("decode", "sample", sample, self.classes)?;
        Ok(self.decoder.forward(&ops::cat(&[features, sample], 1)?)?)
    }

    /// The loss of a batch: `features` are read by the encoder and `features_again` by the decoder (the same, or a second pass of a network with dropout); `uniform` are draws from `[0, 1)` for the sample, `prior` the
    /// prior's parameters, all `[batch, classes]`.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit, `β` that is negative or not finite.
    pub fn loss(
        &self,
        [features, features_again]: [&Tensor; 2],
        predicted: &Tensor,
        prior: &Tensor,
        uniform: &Tensor,
        beta: f64,
    ) -> Result<LossParts> {
        const OP: &str = "loss";
        self.check(OP, "prior", prior, self.classes)?;
        let is_weight = beta.is_finite() && beta >= 0.;
        if !is_weight {
            return Err(Error::config(OP, "beta", beta, "finite and not negative"));
        }
        let posterior = self.encode(features, predicted)?;
        let logits = self.decode(features_again, &gamma_sample(&posterior, uniform)?)?;
        // Σ_k log(1 + exp r_k) − r_ŷ
        let own = ops::mul(&logits, predicted)?;
        let reconstruction = ops::sum_all(&ops::sub(&ops::softplus(&logits)?, &own)?)?;
        let divergence = dirichlet_kl(&posterior, prior)?;
        let total = ops::affine(&ops::sum_all(&divergence)?, beta, 0.)?;
        let loss = ops::add(&reconstruction, &total)?;
        Ok(LossParts { reconstruction, divergence, loss })
    }

    /// `H`, `[batch, predicted, true]`: the mode of the posterior for each class that could be predicted, `(α̂ − 1) / Σ (α̂ − 1)`; rows sum to 1.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit.
    pub fn transition(&self, features: &Tensor) -> Result<Tensor> {
        self.check("transition", "features", features, self.width)?;
        let (features, weight) = (features.detach(), self.encoder.weight().detach());
        // One product for all classes: each adds its column.
        let of_features = weight.narrow(1, 0, self.width)?.contiguous()?;
        let of_classes = weight.narrow(1, self.width, self.classes)?.t()?.contiguous()?.unsqueeze(0)?;
        let bias = self.encoder.bias().map(Tensor::detach);
        let scores = ops::linear(&features, &of_features, bias.as_ref())?.unsqueeze(1)?;
        let excess = ops::affine(&ops::softplus(&ops::add(&scores, &of_classes)?)?, 1., 1. / self.classes as f64)?;
        Ok(ops::div(&excess, &ops::sum_keepdim(&excess, &[2])?)?)
    }

    fn check(&self, operation: &'static str, what: &'static str, x: &Tensor, width: usize) -> Result<()> {
        match *x.dims() {
            [_, last] if last == width => Ok(()),
            _ => Err(Error::shape(operation, what, x, format!("[batch, {width}]"))),
        }
    }
}

/// `z = (u α Γ(α))^{1/α}`: an approximate draw from `Gamma(α, 1)` by the inverse of its distribution function near 0 (Joo et al., "Dirichlet Variational Autoencoder", 2020), with a gradient for `α`. `u` below 1e-12 counts as that,
/// since its logarithm would be infinite. The approximation is good for small `α` only; the authors use it throughout.
///
/// # Errors
///
/// Shapes or dtypes that differ.
pub fn gamma_sample(alpha: &Tensor, uniform: &Tensor) -> Result<Tensor> {
    let log_uniform = uniform.detach().clamp(1e-12, 1.)?.log()?;
    let log = ops::add(&ops::add(&log_uniform, &ops::ln(alpha)?)?, &ops::lgamma(alpha)?)?;
    Ok(ops::exp(&ops::div(&log, alpha)?)?)
}

/// `[batch]`: the divergence of products of `Gamma(α̂, 1)` from those of `Gamma(α, 1)`: `Σ_k log Γ(α_k) − log Γ(α̂_k) + (α̂_k − α_k) ψ(α̂_k)`. Its gradient for `α̂` is `(α̂ − α) ψ₁(α̂)`; `α` is a constant.
///
/// # Errors
///
/// Other than two dimensions, shapes or dtypes that differ.
pub fn dirichlet_kl(posterior: &Tensor, prior: &Tensor) -> Result<Tensor> {
    let (batch, _) = posterior.dims2().map_err(core_tensor::Error::from)?;
    let prior = prior.detach();
    let logs = ops::sub(&ops::lgamma(&prior)?, &ops::lgamma(posterior)?)?;
    let rest = ops::mul(&ops::sub(posterior, &prior)?, &ops::digamma(posterior)?)?;
    Ok(ops::sum_keepdim(&ops::add(&logs, &rest)?, &[1])?.reshape(batch)?)
}

/// `[batch, classes]`: `p(y = j | x) = Σ_k p(ŷ = k | x) H_kj(x)` from the classifier's probabilities `[batch, classes]` and `H` `[batch, predicted, true]`.
///
/// # Errors
///
/// Shapes that do not fit, dtypes that differ.
pub fn corrected(probabilities: &Tensor, transition: &Tensor) -> Result<Tensor> {
    let (batch, classes) = probabilities.dims2().map_err(core_tensor::Error::from)?;
    if transition.dims() != [batch, classes, classes] {
        let expected = format!("[{batch}, {classes}, {classes}]");
        return Err(Error::shape("corrected", "transition", transition, expected));
    }
    Ok(ops::matmul(&probabilities.unsqueeze(1)?, transition)?.i((.., 0))?)
}
