//! The interface of a router.

use super::policy::Policy;
use crate::{Mode, Result};
use candle_core::Tensor;

/// The tokens of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// Hidden states, `[T, d]`.
    pub x: &'a Tensor,
    /// Ids in the vocabulary, one for each token, for routers that need them.
    pub ids: Option<&'a [u32]>,
}

/// The experts of each token.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// `T · k` experts, token by token, first choices first.
    pub experts: Vec<u32>,
    /// The number of experts of each token.
    pub k: usize,
    /// The factors of the experts' outputs, `[T, k]`, differentiable; all 1 if `None`.
    pub gates: Option<Tensor>,
    /// A scalar to add to the model's loss, already weighted.
    pub auxiliary_loss: Option<Tensor>,
    /// The decisions of a policy that learns from rewards.
    pub policy: Option<Policy>,
}

/// Chooses the experts of each token. Implement it for a routing method of your own: dispatch, capacity and the experts belong to the
/// [routed layer](crate::layer::RoutedFeedForward).
pub trait Router: Send + Sync + std::fmt::Debug {
    /// The number of experts, `E`.
    fn num_experts(&self) -> usize;

    /// Chooses the experts of all tokens of a batch.
    ///
    /// # Errors
    ///
    /// When the tokens do not have what the router needs, such as ids, or a logit is NaN.
    fn route(&self, tokens: &Tokens<'_>, mode: &mut Mode<'_>) -> Result<Assignment>;
}
