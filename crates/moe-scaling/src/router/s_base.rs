//! S-BASE: assignment balanced by Sinkhorn's algorithm.

use super::{
    Assignment, Router, Sinkhorn, Tokens, check_choice, gather, host, largest, logits, router_weight, sinkhorn,
};
use crate::{Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// The options of [`SBase`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SBaseConfig {
    /// Experts for each token; 1.
    pub k: usize,
    /// When the balancing stops.
    pub sinkhorn: Sinkhorn,
}

impl Default for SBaseConfig {
    fn default() -> Self {
        Self { k: 1, sinkhorn: Sinkhorn::default() }
    }
}

/// In training each token visits the experts of largest `H_te + f_e`, where `f` balances all tokens of the batch ([`sinkhorn`]); in evaluation those of
/// largest `H_te`. The gates are `softmax(H)`, through which alone the router learns.
#[derive(Debug, Clone)]
pub struct SBase {
    config: SBaseConfig,
    weight: Tensor,
}

impl SBase {
    /// A router with the parameter `router`, `[num_experts, d_model]`.
    ///
    /// # Errors
    ///
    /// When `k` is not in `1..=num_experts`, or the parameter exists in another shape.
    pub fn new(d_model: usize, num_experts: usize, config: SBaseConfig, vb: VarBuilder<'_>) -> Result<Self> {
        check_choice(num_experts, config.k)?;
        Ok(Self { config, weight: router_weight(d_model, num_experts, &vb)? })
    }
}

impl Router for SBase {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
    }

    fn experts_per_token(&self) -> usize {
        self.config.k
    }

    fn route(&self, tokens: &Tokens<'_>, mode: &mut Mode<'_>) -> Result<Assignment> {
        let (logits, k) = (logits(tokens.x, &self.weight)?, self.config.k);
        let mut scores = host(&logits)?;
        if mode.uses_batch_statistics {
            let plan = sinkhorn(&scores, self.num_experts(), self.config.sinkhorn)?;
            for row in scores.chunks_exact_mut(self.num_experts()) {
                row.iter_mut().zip(&plan.experts).for_each(|(score, f)| *score += f);
            }
        }
        let experts = largest(&scores, self.num_experts(), k);
        let gates = gather(&ops::softmax(&logits)?, &experts, k)?.to_dtype(tokens.x.dtype())?;
        Ok(Assignment { experts, k, gates: Some(gates), auxiliary_loss: None, policy: None })
    }
}
