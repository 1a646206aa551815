//! S-BASE: routing balanced by Sinkhorn's algorithm (the paper, section 3).

use super::assignment::{Assignment, Router, Tokens};
use super::logits::{check_choice, gather, host, largest, logits, router_weight};
use super::sinkhorn::{SinkhornConfig, sinkhorn};
use crate::{Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// The settings of [`SBase`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SBaseConfig {
    /// The number of experts of each token; 1.
    pub k: usize,
    /// The settings of the balancing.
    pub sinkhorn: SinkhornConfig,
}

impl Default for SBaseConfig {
    fn default() -> Self {
        Self { k: 1, sinkhorn: SinkhornConfig::default() }
    }
}

/// S-BASE. In training each token goes to the experts of largest `H_te + f_e`, where `f` balances the tokens of the batch ([`sinkhorn`]); in evaluation
/// to those of largest `H_te`. The gates are `softmax(H)`; the router learns through them alone.
#[derive(Debug, Clone)]
pub struct SBase {
    config: SBaseConfig,
    weight: Tensor,
}

/// An [`SBase`] router with the parameter `router`, `[num_experts, d_model]`.
///
/// # Errors
///
/// When `k` is not in `1..=num_experts`, or the parameter exists in another shape.
pub fn s_base(d_model: usize, num_experts: usize, config: SBaseConfig, vb: VarBuilder<'_>) -> Result<SBase> {
    check_choice(num_experts, config.k)?;
    Ok(SBase { config, weight: router_weight(d_model, num_experts, &vb)? })
}

impl Router for SBase {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
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
