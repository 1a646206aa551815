//! Two networks that teach each other.

use super::{check, one_hot};
use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::ops;

/// The numbers of the `⌊(1 − rate) · n⌋` examples with the smallest losses, at least one, in ascending order of the loss; of equal ones the first.
///
/// # Errors
///
/// No loss, losses that are not numbers, a rate outside `[0, 1]`.
pub fn small_losses(losses: &[f64], forget_rate: f64) -> Result<Vec<u32>> {
    const OP: &str = "small_losses";
    if losses.is_empty() {
        return Err(Error::Empty { operation: OP, what: "losses" });
    }
    if !(0. ..=1.).contains(&forget_rate) {
        return Err(Error::config(OP, "forget_rate", forget_rate, "from 0 to 1"));
    }
    if let Some(position) = losses.iter().position(|loss| loss.is_nan()) {
        return Err(Error::Value { operation: OP, what: "the loss", position, got: f64::NAN, expected: "a number" });
    }
    let mut order: Vec<u32> = (0..losses.len() as u32).collect();
    order.sort_by(|&a, &b| losses[a as usize].total_cmp(&losses[b as usize]).then(a.cmp(&b)));
    order.truncate((((1. - forget_rate) * losses.len() as f64).floor() as usize).max(1));
    Ok(order)
}

fn numbers(losses: &Tensor) -> Result<Vec<f64>> {
    Ok(losses.detach().to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?)
}

/// The losses of both networks.
#[derive(Debug, Clone)]
pub struct CoTeaching {
    /// That of the first, over the examples that the second finds easy.
    pub first: Tensor,
    /// That of the second, over the examples that the first finds easy.
    pub second: Tensor,
}

/// The mean cross-entropy of each network over the examples with the smallest losses of the other.
///
/// # Errors
///
/// Labels that do not fit the logits, logits of different shapes, a rate outside `[0, 1]`.
pub fn co_teaching(first: &Tensor, second: &Tensor, labels: &[u32], forget_rate: f64) -> Result<CoTeaching> {
    const OP: &str = "co_teaching";
    check(OP, first, labels)?;
    check(OP, second, labels)?;
    let targets = Tensor::new(labels, first.device())?;
    let each = [ops::cross_entropy_each(first, &targets)?, ops::cross_entropy_each(second, &targets)?];
    let easy = |which: usize| -> Result<Tensor> {
        Ok(Tensor::new(small_losses(&numbers(&each[which])?, forget_rate)?, first.device())?)
    };
    let of = |which: usize, chosen: &Tensor| -> Result<Tensor> {
        Ok(ops::mean_all(&ops::index_select(&each[which], chosen, 0)?)?)
    };
    Ok(CoTeaching { first: of(0, &easy(1)?)?, second: of(1, &easy(0)?)? })
}

/// The mean of `CE₁ + CE₂ + KL(p₂ ‖ p₁) + KL(p₁ ‖ p₂)` over the examples for which it is smallest; and it for each example, `[examples]`.
///
/// # Errors
///
/// As for [`co_teaching`].
pub fn jocor(first: &Tensor, second: &Tensor, labels: &[u32], forget_rate: f64) -> Result<(Tensor, Tensor)> {
    const OP: &str = "jocor";
    let (rows, classes) = check(OP, first, labels)?;
    check(OP, second, labels)?;
    if second.dims() != first.dims() {
        return Err(Error::shape(OP, "the second logits", second, format!("[{rows}, {classes}]")));
    }
    let logs = [ops::log_softmax(first)?, ops::log_softmax(second)?];
    let p = [ops::softmax(first)?, ops::softmax(second)?];
    let own = one_hot(labels, classes, first)?;
    // −Σ onehot (log p₁ + log p₂) + Σ (p₁ − p₂) (log p₁ − log p₂)
    let exact = ops::mul(&ops::add(&logs[0], &logs[1])?, &own)?;
    let apart = ops::mul(&ops::sub(&p[0], &p[1])?, &ops::sub(&logs[0], &logs[1])?)?;
    let each = ops::sum_keepdim(&ops::sub(&apart, &exact)?, &[1])?.reshape(rows)?;
    let chosen = Tensor::new(small_losses(&numbers(&each)?, forget_rate)?, first.device())?;
    let loss = ops::mean_all(&ops::index_select(&each, &chosen, 0)?)?;
    Ok((loss, each))
}
