//! RL-R: a policy over experts, trained by REINFORCE with a learned baseline.

use super::{
    Assignment, Router, Tokens, add_term, balance_loss, check_choice, gather, host, largest, logits, router_weight,
};
use crate::{Error, Mode, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// The factor of the chosen expert's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyGate {
    /// 1: the router learns from its reward alone.
    #[default]
    One,
    /// The policy's probability, through which the router learns from the loss too.
    Probability,
}

/// The options of [`Reinforce`]. The published weights are not known; these are our choice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReinforceConfig {
    /// 1.
    pub gate: PolicyGate,
    /// The factor of the policy's loss; 1.
    pub policy_weight: f64,
    /// The factor of the baseline's loss; 1.
    pub value_weight: f64,
    /// The factor of [`balance_loss`] over the most probable experts, not the drawn ones; 0.01.
    pub balance_weight: f64,
    /// The factor of the policy's entropy, which is made larger; 0.001.
    pub entropy_weight: f64,
    /// Whether the logits see a detached `x`, so that rewards train the router only; true. The baseline's network always does.
    pub detach_input: bool,
}

impl Default for ReinforceConfig {
    fn default() -> Self {
        Self {
            gate: PolicyGate::One,
            policy_weight: 1.,
            value_weight: 1.,
            balance_weight: 1e-2,
            entropy_weight: 1e-3,
            detach_input: true,
        }
    }
}

/// `π = softmax(H)`; in training the expert is drawn from `π`, in evaluation it is the most probable one. What the policy needs to learn is returned
/// as [`Policy`]: the reward of a token, the log-probability that the model gives to the next token, is known at the model's end only.
#[derive(Debug, Clone)]
pub struct Reinforce {
    config: ReinforceConfig,
    weight: Tensor,
    value_in: Tensor,
    value_out: Tensor,
}

/// One decision per token, waiting for its reward.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `[T]`: `log π_t(a_t)`, on the tape.
    pub log_probability: Tensor,
    /// `[T]`: the baseline `v_t`, on the tape.
    pub value: Tensor,
    /// The factor of the policy's loss.
    pub policy_weight: f64,
    /// The factor of the baseline's loss.
    pub value_weight: f64,
}

impl Policy {
    /// `w_p mean −(r_t − v_t) log π_t(a_t) + w_v mean Huber(v_t − r_t)`, with rewards `[T]` and, in the first term, `v_t` taken as numbers.
    ///
    /// # Errors
    ///
    /// When there is not one reward for each token.
    pub fn loss(&self, rewards: &Tensor) -> Result<Tensor> {
        if rewards.dims() != self.value.dims() {
            let expected = format!("[tokens = {}]", self.value.elem_count());
            return Err(Error::shape("policy_loss", "rewards", rewards.shape(), expected));
        }
        let rewards = rewards.detach().to_dtype(self.value.dtype())?;
        let advantage = (&rewards - self.value.detach())?;
        let policy = (advantage * &self.log_probability)?.mean_all()?.affine(-self.policy_weight, 0.)?;
        let value = (ops::huber(&self.value, &rewards, 1.)? * self.value_weight)?;
        Ok((policy + value)?)
    }
}

impl Reinforce {
    /// A router with the parameters `router` `[num_experts, d]`, `value.w1` `[⌊d/8⌋, d]` and `value.w2` `[1, ⌊d/8⌋]`: the baseline is
    /// `w2 · relu(w1 x)`.
    ///
    /// # Errors
    ///
    /// When there is no expert, `d_model` is below 8, or a parameter exists in another shape.
    pub fn new(d_model: usize, num_experts: usize, config: ReinforceConfig, vb: VarBuilder<'_>) -> Result<Self> {
        check_choice(num_experts, 1)?;
        let hidden = d_model / 8;
        if hidden == 0 {
            return Err(Error::options("RL-R's baseline", format!("a width of {d_model} is below 8")));
        }
        let uniform = |fan_in: usize| {
            let bound = 1. / (fan_in as f64).sqrt();
            Init::Uniform { lo: -bound, up: bound }
        };
        let value = vb.pp("value");
        Ok(Self {
            config,
            weight: router_weight(d_model, num_experts, &vb)?,
            value_in: value.get_with_hints((hidden, d_model), "w1", uniform(d_model))?,
            value_out: value.get_with_hints((1, hidden), "w2", uniform(hidden))?,
        })
    }

    /// The decision with given uniform numbers, one for each token; [`Router::route`] draws them.
    ///
    /// # Errors
    ///
    /// When there is not one number for each token, or logits are NaN.
    pub fn route_with(&self, tokens: &Tokens<'_>, uniforms: &[f64]) -> Result<Assignment> {
        self.decide(tokens, Some(uniforms))
    }

    fn decide(&self, tokens: &Tokens<'_>, uniforms: Option<&[f64]>) -> Result<Assignment> {
        let config = self.config;
        let detached = tokens.x.detach();
        let seen = if config.detach_input { &detached } else { tokens.x };
        let logits = logits(seen, &self.weight)?;
        let favourites = largest(&host(&logits)?, self.num_experts(), 1);
        let experts = match uniforms {
            Some(uniforms) => {
                let probabilities = ops::softmax(&logits.detach())?;
                let probabilities = probabilities.flatten_all()?.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
                sample_actions(&probabilities, self.num_experts(), uniforms)?
            }
            None => favourites.clone(),
        };
        let log_probabilities = ops::log_softmax(&logits)?;
        let mut assignment = Assignment { experts, k: 1, gates: None, auxiliary_loss: None, policy: None };
        if config.gate == PolicyGate::Probability {
            let gates = gather(&ops::softmax(&logits)?, &assignment.experts, 1)?;
            assignment.gates = Some(gates.to_dtype(tokens.x.dtype())?);
        }
        if uniforms.is_some() && !assignment.experts.is_empty() {
            let probabilities = ops::softmax(&logits)?;
            let experts = &assignment.experts;
            let balance = add_term(None, config.balance_weight, || balance_loss(&probabilities, &favourites, 1))?;
            // minus the entropy, made smaller
            assignment.auxiliary_loss = add_term(balance, config.entropy_weight, || {
                Ok((&probabilities * &log_probabilities)?.sum(1)?.mean_all()?)
            })?;
            let hidden = ops::relu(&super::logits(&detached, &self.value_in)?)?;
            assignment.policy = Some(Policy {
                log_probability: gather(&log_probabilities, experts, 1)?.squeeze(1)?,
                value: super::logits(&hidden, &self.value_out)?.squeeze(1)?,
                policy_weight: config.policy_weight,
                value_weight: config.value_weight,
            });
        }
        Ok(assignment)
    }

    /// The baseline's network: `[T]` for `x` `[T, d]`.
    ///
    /// # Errors
    ///
    /// When `x` has another width.
    pub fn value(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = ops::relu(&logits(&x.detach(), &self.value_in)?)?;
        Ok(logits(&hidden, &self.value_out)?.squeeze(1)?)
    }
}

/// For each row of `probabilities` the first column whose cumulative sum reaches the row's uniform number; the last one where rounding keeps the sum below.
///
/// # Errors
///
/// When there is not one number for each row.
pub fn sample_actions(probabilities: &[f64], columns: usize, uniforms: &[f64]) -> Result<Vec<u32>> {
    if columns == 0 || probabilities.len() != columns * uniforms.len() {
        let reason = format!("{} for {} probabilities of {columns} experts", uniforms.len(), probabilities.len());
        return Err(Error::options("the uniform numbers", reason));
    }
    let pick = |(row, &uniform): (&[f64], &f64)| {
        let mut sum = 0.;
        let reached = row.iter().position(|p| {
            sum += p;
            sum >= uniform
        });
        reached.unwrap_or(columns - 1) as u32
    };
    Ok(probabilities.chunks_exact(columns).zip(uniforms).map(pick).collect())
}

impl Router for Reinforce {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
    }

    fn experts_per_token(&self) -> usize {
        1
    }

    fn route(&self, tokens: &Tokens<'_>, mode: &mut Mode<'_>) -> Result<Assignment> {
        match &mut mode.noise {
            Some(rng) => {
                let uniforms: Vec<f64> = (0..tokens.x.dim(0)?).map(|_| rng.unit()).collect();
                self.decide(tokens, Some(&uniforms))
            }
            None => self.decide(tokens, None),
        }
    }
}
