//! BASE layers: the exact balanced assignment.

use super::assignment::{Assignment, Router, Tokens};
use super::balanced::balanced_assignment;
use super::logits::{check_choice, gather, host, largest, logits, router_weight};
use crate::{Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::ops;

/// BASE (Lewis et al. 2021). In training the tokens of a batch are assigned such that each expert gets at most `⌈T/E⌉` and the sum of the chosen logits
/// is maximal ([`balanced_assignment`]); in evaluation each token goes to the expert of its largest logit. The gate is the sigmoid of the chosen logit.
#[derive(Debug, Clone)]
pub struct Base {
    weight: Tensor,
}

/// A [`Base`] router with the parameter `router`, `[num_experts, d_model]`.
///
/// # Errors
///
/// When there is no expert, or the parameter exists in another shape.
pub fn base(d_model: usize, num_experts: usize, vb: VarBuilder<'_>) -> Result<Base> {
    check_choice(num_experts, 1)?;
    Ok(Base { weight: router_weight(d_model, num_experts, &vb)? })
}

impl Router for Base {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
    }

    fn route(&self, tokens: &Tokens<'_>, mode: &mut Mode<'_>) -> Result<Assignment> {
        let logits = logits(tokens.x, &self.weight)?;
        let scores = host(&logits)?;
        let experts = if mode.uses_batch_statistics {
            balanced_assignment(&scores, self.num_experts())?
        } else {
            largest(&scores, self.num_experts(), 1)
        };
        let gates = ops::sigmoid(&gather(&logits, &experts, 1)?)?.to_dtype(tokens.x.dtype())?;
        Ok(Assignment { experts, k: 1, gates: Some(gates), auxiliary_loss: None, policy: None })
    }
}
