//! BASE layers: the exact balanced assignment.

use super::{
    Assignment, Router, Tokens, balanced_assignment, check_choice, gather, host, largest, logits, router_weight,
};
use crate::{Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// The options of [`Base`]: none so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BaseConfig {}

/// In training the tokens of a batch are assigned so that every expert has `⌈T/E⌉` at most and the sum of the logits is the largest possible; in evaluation
/// each token visits the expert of its largest logit. The gate is `sigmoid` of the chosen logit.
#[derive(Debug, Clone)]
pub struct Base {
    weight: Tensor,
}

impl Base {
    /// A router with the parameter `router`, `[num_experts, d_model]`.
    ///
    /// # Errors
    ///
    /// When there is no expert, or the parameter exists in another shape.
    pub fn new(d_model: usize, num_experts: usize, _config: BaseConfig, vb: VarBuilder<'_>) -> Result<Self> {
        check_choice(num_experts, 1)?;
        Ok(Self { weight: router_weight(d_model, num_experts, &vb)? })
    }
}

impl Router for Base {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
    }

    fn experts_per_token(&self) -> usize {
        1
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
