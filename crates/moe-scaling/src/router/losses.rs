//! Auxiliary losses of routers.

use super::logits::gather;
use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::ops;

/// `E Σ_e f_e p̄_e` with `f_e` the fraction of tokens whose first choice is `e`, and `p̄` the mean of the probabilities `[T, E]`: 1 when tokens are
/// spread evenly, at most `E` (as in Switch Transformer, Eq. 4, and GShard). Only `p̄` has a gradient.
///
/// # Errors
///
/// When an expert is not below `E`, or there are not `k` for each row.
pub fn balance_loss(probabilities: &Tensor, experts: &[u32], k: usize) -> Result<Tensor> {
    let (tokens, count) = probabilities.dims2()?;
    if k == 0 || experts.len() != tokens * k {
        let expected = format!("{k} for each of {tokens} tokens");
        return Err(Error::length("balance_loss", "experts", experts.len(), expected));
    }
    let mut shares = vec![0f64; count];
    for &expert in experts.iter().step_by(k) {
        let share = shares.get_mut(expert as usize);
        let index = u64::from(expert);
        *share.ok_or(Error::OutOfRange { operation: "balance_loss", what: "expert", index, bound: count })? +=
            count as f64 / tokens as f64;
    }
    let shares = Tensor::from_vec(shares, count, probabilities.device())?.to_dtype(probabilities.dtype())?;
    Ok(ops::sum_all(&ops::mul(&ops::mean_keepdim(probabilities, &[0])?, &shares)?)?)
}

/// `mean_t (logsumexp_e H_te)²`, which penalises large logits (ST-MoE, Zoph et al. 2022). Logits of −∞, by which experts are masked, add nothing and have no
/// gradient, as long as a token has one finite logit.
///
/// # Errors
///
/// When `logits` is not a floating-point tensor `[T, E]`.
pub fn z_loss(logits: &Tensor) -> Result<Tensor> {
    // relative to the largest logit of each row, which is finite where the sum is
    let largest = logits.detach().argmax_keepdim(1)?.flatten_all()?.to_vec1::<u32>()?;
    let normaliser = ops::sub(&gather(logits, &largest, 1)?, &gather(&ops::log_softmax(logits)?, &largest, 1)?)?;
    Ok(ops::mean_all(&ops::sqr(&normaliser)?)?)
}

/// Adds a weighted term to an optional sum. With weight 0 the term is not computed.
pub(super) fn add_term(
    sum: Option<Tensor>,
    weight: f64,
    term: impl FnOnce() -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    if weight == 0. {
        return Ok(sum);
    }
    let term = ops::affine(&term()?, weight, 0.)?;
    Ok(Some(match sum {
        Some(sum) => ops::add(&sum, &term)?,
        None => term,
    }))
}
