//! The loss of both heads.

use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::ops::{self, CrossEntropyConfig};

/// The loss of a step and its parts, scalars.
#[derive(Debug, Clone)]
pub struct TwoHeadLoss {
    /// The mean cross-entropy of the head with privileged information.
    pub with_information: Tensor,
    /// That of the head without.
    pub without_information: Tensor,
    /// `with_information + w · without_information`.
    pub loss: Tensor,
}

/// The mean cross-entropies over annotations: `with_information` are logits `[annotations, classes]`, a row for each; `without_information` are `[examples, classes]`, made of features behind a stop of the gradient
/// (`features.detach()`); `examples` says to which example each annotation belongs, and `labels` what it says. Means are over annotations, not over examples.
///
/// # Errors
///
/// No annotation, lengths that do not fit, examples or labels that do not exist, a weight that is negative or not finite.
pub fn two_head_loss(
    with_information: &Tensor,
    without_information: &Tensor,
    examples: &[u32],
    labels: &[u32],
    weight: f64,
) -> Result<TwoHeadLoss> {
    const OP: &str = "two_head_loss";
    let (rows, classes) = with_information.dims2()?;
    let (count, others) = without_information.dims2()?;
    if rows == 0 {
        return Err(Error::Empty { operation: OP, what: "annotations" });
    }
    if others != classes {
        let expected = format!("[examples, {classes}]");
        return Err(Error::shape(OP, "logits without information", without_information, expected));
    }
    for (what, got) in [("examples of annotations", examples.len()), ("labels", labels.len())] {
        if got != rows {
            return Err(Error::length(OP, what, got, rows));
        }
    }
    for (what, numbers, bound) in [("the example of annotation", examples, count), ("the label", labels, classes)] {
        if let Some(position) = numbers.iter().position(|&number| number as usize >= bound) {
            let index = numbers[position].into();
            return Err(Error::OutOfRange { operation: OP, what, position, index, bound });
        }
    }
    let is_weight = weight.is_finite() && weight >= 0.;
    if !is_weight {
        return Err(Error::config(OP, "weight", weight, "finite and not negative"));
    }
    let device = with_information.device();
    let (examples, labels) = (Tensor::new(examples, device)?, Tensor::new(labels, device)?);
    let with = ops::cross_entropy(with_information, &labels)?;
    let repeated = ops::index_select(without_information, &examples, 0)?;
    let without = ops::cross_entropy(&repeated, &labels)?;
    let loss = ops::add(&with, &ops::affine(&without, weight, 0.)?)?;
    Ok(TwoHeadLoss { with_information: with, without_information: without, loss })
}

/// The settings of the losses of both heads.
pub(super) struct LossWeights {
    weight: f64,
    smoothing: CrossEntropyConfig,
}

impl LossWeights {
    pub(super) fn new(operation: &'static str, weight: f64, label_smoothing: f64) -> Result<Self> {
        let is_weight = weight.is_finite() && weight >= 0.;
        if !is_weight {
            return Err(Error::config(operation, "weight", weight, "finite and not negative"));
        }
        if !(0. ..=1.).contains(&label_smoothing) {
            return Err(Error::config(operation, "label_smoothing", label_smoothing, "from 0 to 1"));
        }
        Ok(Self { weight, smoothing: CrossEntropyConfig { label_smoothing, ..Default::default() } })
    }
}

/// The losses of the heads that there are.
pub(super) struct HeadLosses {
    pub(super) with: Option<Tensor>,
    pub(super) without: Option<Tensor>,
    pub(super) total: Tensor,
}

/// Mean cross-entropies over annotations, for logits `[annotations, classes]`. Where both heads are trained, that without information is weighted.
pub(super) fn weighted_heads(
    with: Option<&Tensor>,
    without: Option<&Tensor>,
    labels: &Tensor,
    weights: &LossWeights,
) -> Result<HeadLosses> {
    let of = |logits: &Tensor| ops::cross_entropy_with(logits, labels, &weights.smoothing);
    let (with, without) = (with.map(of).transpose()?, without.map(of).transpose()?);
    let total = match (&with, &without) {
        (Some(with), Some(without)) => ops::add(with, &ops::affine(without, weights.weight, 0.)?)?,
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => return Err(Error::Empty { operation: "weighted_heads", what: "logits" }),
    };
    Ok(HeadLosses { with, without, total })
}
