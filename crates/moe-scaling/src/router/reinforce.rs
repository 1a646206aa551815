//! RL-R: a policy over experts, trained by REINFORCE with a learned baseline (the paper, section 3).

use super::assignment::{Assignment, Router, Tokens};
use super::logits::{check_choice, gather, host, largest, logits, router_weight};
use super::losses::{add_term, balance_loss};
use super::policy::Policy;
use crate::{Error, Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::init::fan_in_uniform;
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// The gate of [`Reinforce`]: the factor of the chosen expert's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyGate {
    /// 1: the router learns from rewards alone.
    #[default]
    One,
    /// The probability of the choice, through which the router also learns from the model's loss.
    Probability,
}

/// The settings of [`Reinforce`]. The paper does not give the weights; the defaults are our choice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReinforceConfig {
    /// The gate; [`PolicyGate::One`].
    pub gate: PolicyGate,
    /// Weight of the policy's loss; 1.
    pub policy_weight: f64,
    /// Weight of the baseline's loss; 1.
    pub value_weight: f64,
    /// Weight of [`balance_loss`], computed from the most probable experts rather than the sampled ones; 0.01.
    pub balance_weight: f64,
    /// Weight of the policy's entropy, which is maximised; 0.001.
    pub entropy_weight: f64,
    /// Whether the logits are computed from a detached `x`, so that rewards train the router only; true. The baseline's input is always detached.
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

/// RL-R: `π = softmax(H)`. With noise ([`Mode::has_noise`](crate::Mode)) the expert is sampled from `π`; without noise it is the most probable one.
///
/// The reward of a token is the log-probability of its successor, which is known only at the output of the model. The decisions are therefore
/// returned as a [`Policy`], whose [`loss`](Policy::loss) takes the rewards.
#[derive(Debug, Clone)]
pub struct Reinforce {
    config: ReinforceConfig,
    weight: Tensor,
    value_in: Tensor,
    value_out: Tensor,
}

/// A [`Reinforce`] router with the parameters `router` `[num_experts, d_model]`, `value.w1` `[⌊d_model/8⌋, d_model]` and `value.w2`
/// `[1, ⌊d_model/8⌋]`; the baseline is `w2 · relu(w1 x)`.
///
/// # Errors
///
/// When there is no expert, `d_model` is below 8, or a parameter exists in another shape.
pub fn reinforce(d_model: usize, num_experts: usize, config: ReinforceConfig, vb: VarBuilder<'_>) -> Result<Reinforce> {
    check_choice(num_experts, 1)?;
    let hidden = d_model / 8;
    if hidden == 0 {
        return Err(Error::config("d_model", format!("{d_model} is below 8, which the baseline of RL-R needs")));
    }
    let value = vb.pp("value");
    Ok(Reinforce {
        config,
        weight: router_weight(d_model, num_experts, &vb)?,
        value_in: value.get_with_hints((hidden, d_model), "w1", fan_in_uniform(d_model))?,
        value_out: value.get_with_hints((1, hidden), "w2", fan_in_uniform(hidden))?,
    })
}

impl Reinforce {
    /// [`Router::route`] with given uniform numbers, one for each token, so that tests can replay reference decisions.
    ///
    /// # Errors
    ///
    /// When there is not one number for each token, or a logit is NaN.
    #[doc(hidden)]
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
            // the negative entropy is minimised
            assignment.auxiliary_loss = add_term(balance, config.entropy_weight, || {
                // an expert masked by a logit of −∞ has no part: 0 · (−∞) is not 0
                Ok(ops::mean_all(&(&probabilities * log_probabilities.maximum(LEAST_LOG)?)?.sum(1)?)?)
            })?;
            assignment.policy = Some(Policy {
                log_probability: gather(&log_probabilities, experts, 1)?.squeeze(1)?,
                value: self.value(&detached)?,
                policy_weight: config.policy_weight,
                value_weight: config.value_weight,
            });
        }
        Ok(assignment)
    }

    /// The baseline `v`, `[T]`, for `x` `[T, d]`; public for tests.
    ///
    /// # Errors
    ///
    /// When `x` has another width.
    #[doc(hidden)]
    pub fn value(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = ops::relu(&logits(&x.detach(), &self.value_in)?)?;
        Ok(logits(&hidden, &self.value_out)?.squeeze(1)?)
    }
}

/// The logarithm that stands for that of 0, finite in f32.
const LEAST_LOG: f64 = -1e30;

/// For each row of `probabilities` the first column of positive probability whose cumulative sum reaches the row's uniform number, or the last such column
/// if rounding keeps the sum below it: a column of probability 0 is never drawn. Public for tests.
///
/// # Errors
///
/// When there is not one number for each row, a number is not in `[0, 1]`, a probability is negative or not finite, or all of a row are 0.
pub fn sample_actions(probabilities: &[f64], columns: usize, uniforms: &[f64]) -> Result<Vec<u32>> {
    if columns == 0 || probabilities.len() != columns * uniforms.len() {
        let expected = format!("one for each row of {columns} of the {} probabilities", probabilities.len());
        return Err(Error::length("sample_actions", "uniforms", uniforms.len(), expected));
    }
    let value = |what, got, expected| Error::Value { operation: "sample_actions", what, got, expected };
    let pick = |(row, &uniform): (&[f64], &f64)| {
        if !(0. ..=1.).contains(&uniform) {
            return Err(value("uniform number", uniform, "in [0, 1]"));
        }
        let (mut sum, mut last) = (0., None);
        for (&p, column) in row.iter().zip(0u32..) {
            if !(p.is_finite() && p >= 0.) {
                return Err(value("probability", p, "a finite number of at least 0"));
            }
            if p > 0. {
                sum += p;
                last = Some(column);
                if sum >= uniform {
                    break;
                }
            }
        }
        last.ok_or_else(|| value("sum of a row of probabilities", sum, "above 0"))
    };
    probabilities.chunks_exact(columns).zip(uniforms).map(pick).collect()
}

impl Router for Reinforce {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
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
