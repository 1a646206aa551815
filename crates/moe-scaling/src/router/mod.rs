//! Who decides which experts a token visits: the trait [`Router`] and its implementations.
//!
//! | router | decides by | from |
//! |---|---|---|
//! | [`TopK`] | the largest logits, with balance and z losses | Shazeer et al. 2017; GShard; Switch Transformer; ST-MoE |
//! | [`SBase`] | the largest logits after a Sinkhorn balance over the batch | the paper, section 3 |
//! | [`Reinforce`] | sampling from a policy trained by its reward (RL-R) | the paper, section 3 |
//! | [`Hash`](struct@Hash) | the token's id | Hash Layers (Roller et al. 2021) |
//! | [`Base`] | an exact balanced assignment over the batch | BASE Layers (Lewis et al. 2021) |
//!
//! A router that balances over the batch makes a token's output depend on its companions in training; in evaluation no router does.

mod assignment;
mod base;
mod hash;
mod reinforce;
mod s_base;
mod sinkhorn;
mod top_k;

pub use assignment::balanced_assignment;
pub use base::{Base, BaseConfig};
pub use hash::{Hash, HashConfig};
pub use reinforce::{Policy, PolicyGate, Reinforce, ReinforceConfig, sample_actions};
pub use s_base::{SBase, SBaseConfig};
pub use sinkhorn::{Sinkhorn, SinkhornPlan, sinkhorn};
pub use top_k::{Noise, TopK, TopKConfig};

use crate::{Error, Mode, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::ops;

/// The tokens of a batch, in a row.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// `[T, d]`: their representations.
    pub x: &'a Tensor,
    /// Their ids in the vocabulary, for routers that look at nothing else.
    pub ids: Option<&'a [u32]>,
}

/// Which experts each token visits.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// `T · k` experts, token by token, the first choice first.
    pub experts: Vec<u32>,
    /// Experts for each token.
    pub k: usize,
    /// `[T, k]`: the factors of the experts' outputs, on the tape; all 1 if `None`.
    pub gates: Option<Tensor>,
    /// To be added to the model's loss, weighted already; a scalar.
    pub auxiliary_loss: Option<Tensor>,
    /// What a policy needs to learn from its reward.
    pub policy: Option<Policy>,
}

/// Decides which experts tokens visit. Implement it for routing of your own; dispatch, capacity and the experts are the layer's part.
pub trait Router: Send + Sync + std::fmt::Debug {
    /// How many experts it chooses among.
    fn num_experts(&self) -> usize;

    /// How many experts each token visits.
    fn experts_per_token(&self) -> usize;

    /// Chooses for all tokens of a batch.
    ///
    /// # Errors
    ///
    /// When the tokens are not what the router needs, such as without ids, or logits are NaN.
    fn route(&self, tokens: &Tokens<'_>, mode: &mut Mode<'_>) -> Result<Assignment>;
}

/// The parameter `[E, d]`.
fn router_weight(d_model: usize, num_experts: usize, vb: &VarBuilder<'_>) -> Result<Tensor> {
    Ok(vb.get_with_hints((num_experts, d_model), "router", Init::Randn { mean: 0., stdev: 0.02 })?)
}

fn check_choice(num_experts: usize, k: usize) -> Result<()> {
    if num_experts == 0 || k == 0 || k > num_experts || num_experts > u32::MAX as usize {
        return Err(Error::options("the router", format!("{k} experts per token of {num_experts}")));
    }
    Ok(())
}

/// `x W_rᵀ` in at least f32.
fn logits(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let &[_, width] = x.dims() else { return Err(Error::shape("route", "x", x.shape(), "[tokens, d]")) };
    if weight.dims().last() != Some(&width) {
        return Err(Error::shape("route", "x", x.shape(), format!("[tokens, {:?}]", weight.dims().last())));
    }
    match x.dtype() {
        DType::F16 | DType::BF16 => {
            let (x, weight) = (x.to_dtype(DType::F32)?, weight.to_dtype(DType::F32)?);
            Ok(ops::linear(&x, &weight, None)?)
        }
        _ => Ok(ops::linear(x, weight, None)?),
    }
}

/// The logits off the tape, row by row, none of them NaN.
fn host(logits: &Tensor) -> Result<Vec<f64>> {
    let values = logits.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let columns = logits.dims().last().copied().unwrap_or(1).max(1);
    match values.iter().position(|value| value.is_nan()) {
        None => Ok(values),
        Some(at) => Err(Error::Value {
            place: format!("token {}", at / columns),
            column: "a router logit",
            value: f64::NAN,
            expected: "a number",
        }),
    }
}

/// The columns of the `k` largest entries of each row, the largest first, ties to the lower column.
fn largest(values: &[f64], columns: usize, k: usize) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(values.len() / columns.max(1) * k);
    let mut best: Vec<(f64, u32)> = Vec::with_capacity(k + 1);
    for row in values.chunks_exact(columns.max(1)) {
        if k == 1 {
            let first = (f64::NEG_INFINITY, 0u32);
            let pick = row.iter().zip(0..).fold(first, |best, (&v, at)| if v > best.0 { (v, at) } else { best });
            chosen.push(pick.1);
            continue;
        }
        best.clear();
        for (&value, column) in row.iter().zip(0..) {
            if best.len() < k || value > best[k - 1].0 {
                let at = best.partition_point(|&(known, _)| known >= value);
                best.insert(at, (value, column));
                best.truncate(k);
            }
        }
        chosen.extend(best.iter().map(|&(_, column)| column));
    }
    chosen
}

/// `values[t, chosen[t, j]]` as `[T, k]`, on the tape.
fn gather(values: &Tensor, chosen: &[u32], k: usize) -> Result<Tensor> {
    let index = Tensor::from_slice(chosen, (chosen.len() / k, k), values.device())?;
    Ok(values.contiguous()?.gather(&index, 1)?)
}

/// `E Σ_e f_e p̄_e` with `f_e` the fraction of tokens whose first choice is `e` and `p̄` the mean of the probabilities `[T, E]`: 1 when tokens are
/// spread evenly, at most `E` (the form of Switch Transformer and GShard). Gradients flow through `p̄` only.
///
/// # Errors
///
/// When a choice is not below `E`, or there are not `k` for each row.
pub fn balance_loss(probabilities: &Tensor, experts: &[u32], k: usize) -> Result<Tensor> {
    let (tokens, count) = probabilities.dims2()?;
    if k == 0 || experts.len() != tokens * k {
        return Err(Error::options(
            "the choices",
            format!("{} are not {k} for each of {tokens} tokens", experts.len()),
        ));
    }
    let mut shares = vec![0f64; count];
    for &expert in experts.iter().step_by(k) {
        let share = shares.get_mut(expert as usize);
        let index = u64::from(expert);
        *share.ok_or(Error::OutOfRange { operation: "balance_loss", what: "expert", index, len: count })? +=
            count as f64 / tokens as f64;
    }
    let shares = Tensor::from_vec(shares, count, probabilities.device())?.to_dtype(probabilities.dtype())?;
    Ok((probabilities.mean(0)? * shares)?.sum_all()?)
}

/// `mean_t (logsumexp_e H_te)²`, which keeps logits small (ST-MoE, Zoph et al. 2022).
///
/// # Errors
///
/// When `logits` is not `[T, E]` of floats.
pub fn z_loss(logits: &Tensor) -> Result<Tensor> {
    let first = logits.narrow(1, 0, 1)?;
    let normaliser = (first - ops::log_softmax(logits)?.narrow(1, 0, 1)?)?;
    Ok(ops::mean_all(&normaliser.sqr()?)?)
}

/// Adds a weighted term to a sum that may not exist yet; nothing for weight 0.
fn add_term(sum: Option<Tensor>, weight: f64, term: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
    if weight == 0. {
        return Ok(sum);
    }
    let term = (term()? * weight)?;
    Ok(Some(match sum {
        Some(sum) => (sum + term)?,
        None => term,
    }))
}
