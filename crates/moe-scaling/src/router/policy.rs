//! The decisions of a policy, and the loss that trains it.

use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::ops;

/// One decision for each token, before its reward is known.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `log π_t(a_t)`, `[T]`, differentiable.
    pub log_probability: Tensor,
    /// The baseline `v_t`, `[T]`, differentiable.
    pub value: Tensor,
    /// The factor of the policy's loss.
    pub policy_weight: f64,
    /// The factor of the baseline's loss.
    pub value_weight: f64,
}

impl Policy {
    /// `w_p mean −(r_t − v_t) log π_t(a_t) + w_v mean Huber(v_t − r_t)` for rewards `r` `[T]`: REINFORCE with a baseline. The first term has no
    /// gradient with respect to `v_t`.
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
        let policy =
            ops::affine(&ops::mean_all(&ops::mul(&advantage, &self.log_probability)?)?, -self.policy_weight, 0.)?;
        let value = ops::affine(&ops::huber(&self.value, &rewards, 1.)?, self.value_weight, 0.)?;
        Ok(ops::add(&policy, &value)?)
    }
}
