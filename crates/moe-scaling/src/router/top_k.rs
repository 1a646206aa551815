//! The softmax router, used by most mixture-of-experts models.

use super::assignment::{Assignment, Router, Tokens};
use super::logits::{check_choice, gather, host, largest, logits, router_weight};
use super::losses::{add_term, balance_loss, z_loss};
use crate::{Error, Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// Noise in the choice of experts in training.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// None.
    #[default]
    None,
    /// The router's input is multiplied by uniform numbers from `[1 − ε, 1 + ε]` (Switch Transformer, with ε = 0.01).
    Jitter(f64),
    /// Normal numbers of this standard deviation are added to the logits that decide the choice, but not to those of the gates (`1/E` in V-MoE).
    Normal(f64),
}

/// The settings of [`TopK`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TopKConfig {
    /// The number of experts of each token; 1.
    pub k: usize,
    /// Whether the gates of a token are divided by their sum, as in Mixtral; false.
    pub normalize_gates: bool,
    /// Weight of [`balance_loss`]; 0.01.
    pub balance_weight: f64,
    /// Weight of [`z_loss`]; 0. Usual values are near 0.001.
    pub z_weight: f64,
    /// Noise in training; none.
    pub noise: Noise,
}

impl Default for TopKConfig {
    fn default() -> Self {
        Self { k: 1, normalize_gates: false, balance_weight: 0.01, z_weight: 0., noise: Noise::None }
    }
}

/// `p = softmax(x W_rᵀ)`: each token goes to the `k` experts of largest `p`, with `p` as gates.
#[derive(Debug, Clone)]
pub struct TopK {
    config: TopKConfig,
    weight: Tensor,
}

/// A [`TopK`] router with the parameter `router`, `[num_experts, d_model]`.
///
/// # Errors
///
/// When `k` is not in `1..=num_experts`, a weight is not finite, noise is negative or not finite, or the parameter exists in another shape.
pub fn top_k(d_model: usize, num_experts: usize, config: TopKConfig, vb: VarBuilder<'_>) -> Result<TopK> {
    check_choice(num_experts, config.k)?;
    if let Noise::Jitter(size) | Noise::Normal(size) = config.noise
        && !(size.is_finite() && size >= 0.)
    {
        return Err(Error::config("noise", format!("{size} is not a finite number of at least 0")));
    }
    for (what, weight) in [("balance_weight", config.balance_weight), ("z_weight", config.z_weight)] {
        if !weight.is_finite() {
            return Err(Error::config(what, format!("{weight} is not a finite number")));
        }
    }
    Ok(TopK { config, weight: router_weight(d_model, num_experts, &vb)? })
}

impl Router for TopK {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
    }

    fn route(&self, tokens: &Tokens<'_>, mode: &mut Mode<'_>) -> Result<Assignment> {
        let TopKConfig { k, normalize_gates, balance_weight, z_weight, noise } = self.config;
        let logits = match (noise, &mut mode.noise) {
            (Noise::Jitter(eps), Some(rng)) if eps != 0. => {
                let x = tokens.x;
                let factors = rng.uniform(1. - eps, 1. + eps, x.shape(), x.dtype(), x.device())?;
                logits(&(x * factors)?, &self.weight)?
            }
            _ => logits(tokens.x, &self.weight)?,
        };
        let mut scores = host(&logits)?;
        if let (Noise::Normal(deviation), Some(rng)) = (noise, &mut mode.noise)
            && deviation != 0.
        {
            let noise = rng.normal(0., deviation, scores.len(), candle_core::DType::F64, &candle_core::Device::Cpu)?;
            scores.iter_mut().zip(noise.to_vec1::<f64>()?).for_each(|(score, noise)| *score += noise);
        }
        let experts = largest(&scores, self.num_experts(), k);
        let probabilities = ops::softmax(&logits)?;
        let mut gates = gather(&probabilities, &experts, k)?;
        if normalize_gates {
            gates = ops::div(&gates, &ops::sum_keepdim(&gates, &[1])?)?;
        }
        let mut auxiliary_loss = None;
        if mode.uses_batch_statistics && !experts.is_empty() {
            auxiliary_loss = add_term(None, balance_weight, || balance_loss(&probabilities, &experts, k))?;
            auxiliary_loss = add_term(auxiliary_loss, z_weight, || z_loss(&logits))?;
        }
        Ok(Assignment { experts, k, gates: Some(gates.to_dtype(tokens.x.dtype())?), auxiliary_loss, policy: None })
    }
}
