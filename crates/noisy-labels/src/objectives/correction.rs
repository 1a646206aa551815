//! Corrections by a transition matrix `T`, `[true, given]` with rows that sum to 1, and of labels.

use super::{at_least, check, one_hot};
use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::ops;

fn check_transition(operation: &'static str, transition: &[f64], classes: usize) -> Result<()> {
    if transition.len() != classes * classes {
        return Err(Error::length(operation, "probabilities of the transition", transition.len(), classes * classes));
    }
    for (position, row) in transition.chunks_exact(classes).enumerate() {
        let sum: f64 = row.iter().sum();
        let is_distribution = row.iter().all(|p| *p >= 0.) && (sum - 1.).abs() < 1e-3;
        if !is_distribution {
            let (what, expected) = ("the sum of the transition's row", "1, of numbers that are not negative");
            return Err(Error::Value { operation, what, position, got: sum, expected });
        }
    }
    Ok(())
}

fn matrix(transition: &[f64], classes: usize, like: &Tensor) -> Result<Tensor> {
    Ok(Tensor::from_vec(transition.to_vec(), (classes, classes), like.device())?.to_dtype(like.dtype())?)
}

/// `[examples]`: the probabilities of the given labels, `(Tᵀ p)_y`.
fn of_given(logits: &Tensor, labels: &[u32], transition: &[f64], classes: usize) -> Result<Tensor> {
    let noisy = ops::matmul(&ops::softmax(logits)?, &matrix(transition, classes, logits)?)?;
    let own = ops::mul(&noisy, &one_hot(labels, classes, logits)?)?;
    Ok(ops::sum_keepdim(&own, &[1])?.reshape(labels.len())?)
}

/// The mean of `−log (Tᵀ p)_y`: the network is fitted to the true classes, its image under `T` to the labels. With `T` the identity it is cross-entropy. Probabilities count as at least 1e-12.
///
/// # Errors
///
/// Labels or a transition that do not fit the logits.
pub fn forward_correction(logits: &Tensor, labels: &[u32], transition: &[f64]) -> Result<Tensor> {
    const OP: &str = "forward_correction";
    let (_, classes) = check(OP, logits, labels)?;
    check_transition(OP, transition, classes)?;
    let p = at_least(&of_given(logits, labels, transition, classes)?, 1e-12)?;
    Ok(ops::affine(&ops::mean_all(&ops::ln(&p)?)?, -1., 0.)?)
}

/// The mean of `(T⁻¹ ℓ(p))_y` with the losses `ℓ_k = −log p_k`: its expectation over labels drawn by `T` is the loss of the true classes. It can be negative.
///
/// # Errors
///
/// Labels or a transition that do not fit the logits, a transition that is singular.
pub fn backward_correction(logits: &Tensor, labels: &[u32], transition: &[f64]) -> Result<Tensor> {
    const OP: &str = "backward_correction";
    let (rows, classes) = check(OP, logits, labels)?;
    check_transition(OP, transition, classes)?;
    let inverse = inverse(transition, classes).ok_or_else(|| Error::InvalidData {
        operation: OP,
        what: "the transition",
        reason: "it is singular, expected a matrix with an inverse".to_owned(),
    })?;
    let weights: Vec<f64> =
        labels.iter().flat_map(|&label| inverse[label as usize * classes..][..classes].iter().copied()).collect();
    let weights = Tensor::from_vec(weights, (rows, classes), logits.device())?.to_dtype(logits.dtype())?;
    let sum = ops::sum_all(&ops::mul(&ops::log_softmax(logits)?, &weights)?)?;
    Ok(ops::affine(&sum, -1. / rows as f64, 0.)?)
}

/// The inverse by Gauss and Jordan with the largest pivot of each column; `None` for a singular matrix.
fn inverse(matrix: &[f64], size: usize) -> Option<Vec<f64>> {
    let mut left = matrix.to_vec();
    let mut right: Vec<f64> = (0..size * size).map(|at| f64::from(u8::from(at / size == at % size))).collect();
    for column in 0..size {
        let pivot =
            (column..size).max_by(|&a, &b| left[a * size + column].abs().total_cmp(&left[b * size + column].abs()))?;
        if left[pivot * size + column].abs() < 1e-12 {
            return None;
        }
        for at in 0..size {
            left.swap(pivot * size + at, column * size + at);
            right.swap(pivot * size + at, column * size + at);
        }
        let scale = 1. / left[column * size + column];
        for at in 0..size {
            left[column * size + at] *= scale;
            right[column * size + at] *= scale;
        }
        for row in (0..size).filter(|&row| row != column) {
            let factor = left[row * size + column];
            for at in 0..size {
                left[row * size + at] -= factor * left[column * size + at];
                right[row * size + at] -= factor * right[column * size + at];
            }
        }
    }
    Some(right)
}

/// `[examples]`: the weights `p_y / (Tᵀ p)_y` of the examples' losses, without gradient.
///
/// # Errors
///
/// Labels or a transition that do not fit the logits.
pub fn importance_weights(logits: &Tensor, labels: &[u32], transition: &[f64]) -> Result<Tensor> {
    const OP: &str = "importance_weights";
    let (rows, classes) = check(OP, logits, labels)?;
    check_transition(OP, transition, classes)?;
    let logits = logits.detach();
    let own = ops::mul(&ops::softmax(&logits)?, &one_hot(labels, classes, &logits)?)?;
    let own = ops::sum_keepdim(&own, &[1])?.reshape(rows)?;
    Ok(ops::div(&own, &at_least(&of_given(&logits, labels, transition, classes)?, 1e-30)?)?)
}

/// Labels of which those are replaced by the most probable class that are less probable by more than a factor `ratio` (99 in the paper's program, after 35 epochs).
///
/// # Errors
///
/// Labels that do not fit the logits, a ratio below 1.
pub fn likelihood_ratio_labels(logits: &Tensor, labels: &[u32], ratio: f64) -> Result<Vec<u32>> {
    const OP: &str = "likelihood_ratio_labels";
    let (_, classes) = check(OP, logits, labels)?;
    if ratio.is_nan() || ratio < 1. {
        return Err(Error::config(OP, "ratio", ratio, "at least 1"));
    }
    let values = logits.detach().to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    // p_max / p_y = exp(logit_max − logit_y)
    let replaced = |(row, &label): (&[f64], &u32)| {
        let mut best = 0;
        for (class, value) in row.iter().enumerate() {
            if *value > row[best] {
                best = class;
            }
        }
        if row[best] - row[label as usize] > ratio.ln() { best as u32 } else { label }
    };
    Ok(values.chunks_exact(classes).zip(labels).map(replaced).collect())
}

/// The mean over examples of `−Σ_k s_k p_k`, with `s` a share `confidence` (0.99 in NPC's program, which sums instead of taking the mean) on an earlier prediction and the rest spread over the other classes: the term that makes a network
/// keep to what it said before its labels are replaced.
///
/// # Errors
///
/// Predictions that do not fit the logits, fewer than two classes, a confidence outside `[0, 1]`.
pub fn retroactive_loss(logits: &Tensor, earlier: &[u32], confidence: f64) -> Result<Tensor> {
    const OP: &str = "retroactive_loss";
    let (rows, classes) = check(OP, logits, earlier)?;
    if classes < 2 {
        return Err(Error::config(OP, "classes", classes, "at least 2"));
    }
    if !(0. ..=1.).contains(&confidence) {
        return Err(Error::config(OP, "confidence", confidence, "from 0 to 1"));
    }
    let rest = (1. - confidence) / (classes - 1) as f64;
    let soft = ops::affine(&one_hot(earlier, classes, logits)?, confidence - rest, rest)?;
    let sum = ops::sum_all(&ops::mul(&ops::softmax(logits)?, &soft)?)?;
    Ok(ops::affine(&sum, -1. / rows as f64, 0.)?)
}
