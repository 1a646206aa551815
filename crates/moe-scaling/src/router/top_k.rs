//! The softmax router of most mixture-of-experts models.

use super::{
    Assignment, Router, Tokens, add_term, balance_loss, check_choice, gather, host, largest, logits, router_weight,
    z_loss,
};
use crate::{Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// Randomness of the choice in training.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// None.
    #[default]
    None,
    /// The router sees its input times uniform numbers from `[1 − ε, 1 + ε]` (Switch Transformer; 0.01 there).
    Jitter(f64),
    /// Normal numbers of this standard deviation are added to the logits for the choice, not for the gates (`1/E` in GShard).
    Selection(f64),
}

/// The options of [`TopK`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TopKConfig {
    /// Experts for each token; 1.
    pub k: usize,
    /// Whether the gates of a token are divided by their sum, as in Mixtral; false. They are the probabilities otherwise.
    pub normalize_gates: bool,
    /// The factor of [`balance_loss`]; 0.01.
    pub balance_weight: f64,
    /// The factor of [`z_loss`]; 0, usual values are near 0.001.
    pub z_weight: f64,
    /// None.
    pub noise: Noise,
}

impl Default for TopKConfig {
    fn default() -> Self {
        Self { k: 1, normalize_gates: false, balance_weight: 0.01, z_weight: 0., noise: Noise::None }
    }
}

/// `p = softmax(x W_rᵀ)`; each token visits the `k` experts of largest `p`, with `p` as their gates.
#[derive(Debug, Clone)]
pub struct TopK {
    config: TopKConfig,
    weight: Tensor,
}

impl TopK {
    /// A router with the parameter `router`, `[num_experts, d_model]`.
    ///
    /// # Errors
    ///
    /// When `k` is not in `1..=num_experts`, or the parameter exists in another shape.
    pub fn new(d_model: usize, num_experts: usize, config: TopKConfig, vb: VarBuilder<'_>) -> Result<Self> {
        check_choice(num_experts, config.k)?;
        Ok(Self { config, weight: router_weight(d_model, num_experts, &vb)? })
    }
}

impl Router for TopK {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
    }

    fn experts_per_token(&self) -> usize {
        self.config.k
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
        if let (Noise::Selection(deviation), Some(rng)) = (noise, &mut mode.noise)
            && deviation != 0.
        {
            let noise = rng.normal(0., deviation, scores.len(), candle_core::DType::F64, &candle_core::Device::Cpu)?;
            scores.iter_mut().zip(noise.to_vec1::<f64>()?).for_each(|(score, noise)| *score += noise);
        }
        let experts = largest(&scores, self.num_experts(), k);
        let probabilities = ops::softmax(&logits)?;
        let mut gates = gather(&probabilities, &experts, k)?;
        if normalize_gates {
            gates = gates.broadcast_div(&gates.sum_keepdim(1)?)?;
        }
        let mut auxiliary_loss = None;
        if mode.uses_batch_statistics && !experts.is_empty() {
            auxiliary_loss = add_term(None, balance_weight, || balance_loss(&probabilities, &experts, k))?;
            auxiliary_loss = add_term(auxiliary_loss, z_weight, || z_loss(&logits))?;
        }
        Ok(Assignment { experts, k, gates: Some(gates.to_dtype(tokens.x.dtype())?), auxiliary_loss, policy: None })
    }
}
