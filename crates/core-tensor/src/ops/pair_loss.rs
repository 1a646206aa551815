//! Losses that add up a function of pairs of elements, and cross-entropy with distributions as targets.

use crate::cpu::pair_loss::{Bce, Huber, KlDiv, L1, PairLoss, SoftCrossEntropy};
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};

/// The mean over all elements of `max(x, 0) − x t + log(1 + e^{−|x|})` for logits `x` and targets `t` in [0, 1]: binary cross-entropy,
/// stable for any logit (Candle's gives NaN gradients beyond about 100). Both have gradients.
///
/// # Errors
///
/// When the shapes or dtypes differ, or there are no elements.
pub fn bce_with_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (logits, targets) = check("bce_with_logits", logits, targets)?;
    if logits.device().is_cpu() {
        return apply(PairLoss { function: Bce, divisor: logits.elem_count() as f64 }, &[&logits, &targets], ());
    }
    let small = super::activation::log_one_plus(&logits.abs()?.neg()?.exp()?)?;
    let stable = ((logits.relu()? - (&logits * &targets)?)? + small)?;
    Ok(stable.mean_all()?)
}

/// `Σ p (log p − q) / n` for log-probabilities `q` and probabilities `p`, both `[n, …]`: the Kullback-Leibler divergence of the rows on average,
/// `torch.nn.functional.kl_div` with `reduction="batchmean"`. Where `p` is 0 nothing is added. Both have gradients.
///
/// # Errors
///
/// When the shapes or dtypes differ, or there are no elements.
pub fn kl_div(log_probabilities: &Tensor, probabilities: &Tensor) -> Result<Tensor> {
    let (q, p) = check("kl_div", log_probabilities, probabilities)?;
    let n = q.dims().first().copied().unwrap_or(1) as f64;
    if q.device().is_cpu() {
        return apply(PairLoss { function: KlDiv, divisor: n }, &[&q, &p], ());
    }
    // The logarithm of zero never enters: zeros are moved to one, where the logarithm is zero.
    let is_zero = p.eq(0.)?.to_dtype(p.dtype())?;
    let logarithm = (&p + is_zero)?.log()?;
    Ok(((&p * (logarithm - q)?)?.sum_all()? / n)?)
}

/// The mean over all elements of `½ d²` where `|d| ≤ delta`, else `delta (|d| − ½ delta)`, with `d = prediction − target`. Both have gradients.
///
/// # Errors
///
/// When the shapes or dtypes differ, there are no elements, or `delta` is not positive.
pub fn huber(prediction: &Tensor, target: &Tensor, delta: f64) -> Result<Tensor> {
    let is_valid = delta > 0. && delta.is_finite();
    if !is_valid {
        return Err(Error::Value { operation: "huber", what: "delta", got: delta, expected: "positive and finite" });
    }
    let (a, b) = check("huber", prediction, target)?;
    if a.device().is_cpu() {
        return apply(PairLoss { function: Huber { delta }, divisor: a.elem_count() as f64 }, &[&a, &b], ());
    }
    let size = (a - b)?.abs()?;
    let small = size.minimum(&(size.ones_like()? * delta)?)?;
    // With m = min(|d|, δ) both branches are m (|d| − ½ m).
    Ok((&small * (size - (&small * 0.5)?)?)?.mean_all()?)
}

/// The mean of `|prediction − target|` over all elements; the derivative at 0 is 0. Both have gradients.
///
/// # Errors
///
/// When the shapes or dtypes differ, or there are no elements.
pub fn l1(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    let (a, b) = check("l1", prediction, target)?;
    if a.device().is_cpu() {
        return apply(PairLoss { function: L1, divisor: a.elem_count() as f64 }, &[&a, &b], ());
    }
    Ok((a - b)?.abs()?.mean_all()?)
}

fn check(op: &'static str, a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    if a.shape() != b.shape() {
        return Err(Error::shape(op, "the second argument", b.shape(), format!("{:?} like the first", a.dims())));
    }
    if a.dtype() != b.dtype() {
        let expected = "the dtype of the first";
        return Err(Error::DType { operation: op, what: "the second argument", got: b.dtype(), expected });
    }
    if a.elem_count() == 0 {
        return Err(Error::shape(op, "the first argument", a.shape(), "at least one element"));
    }
    Ok((a.clone(), b.clone()))
}

/// The mean over the rows of `−Σ_c t_c log softmax(x)_c`: logits `x` and distributions `t` are `[n, classes]`. Both have gradients. Rows of `t` need
/// not sum to one.
///
/// # Errors
///
/// When the shapes or dtypes differ, they are no matrices, or there are no elements.
pub fn soft_cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    const OP: &str = "soft_cross_entropy";
    let &[n, _] = logits.dims() else { return Err(Error::shape(OP, "logits", logits.shape(), "[n, classes]")) };
    let (logits, targets) = check(OP, logits, targets)?;
    soft(&logits, &targets, n as f64)
}

fn soft(logits: &Tensor, targets: &Tensor, divisor: f64) -> Result<Tensor> {
    if logits.device().is_cpu() {
        let classes = logits.dims()[1];
        return apply(SoftCrossEntropy { classes, divisor }, &[logits, targets], ());
    }
    let products = (targets * super::log_softmax(logits)?)?;
    Ok((products.sum_all()? / -divisor)?)
}

/// What [`cross_entropy_with`] changes in [`super::cross_entropy`]; by default nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CrossEntropyConfig {
    /// The share of the target that is spread evenly over all classes, in [0, 1].
    pub label_smoothing: f64,
    /// A factor for each class; the mean is then weighted by the factors of the targets.
    pub class_weights: Option<Vec<f64>>,
}

/// [`super::cross_entropy`] with smoothed labels and weighted classes, as `torch.nn.functional.cross_entropy`.
///
/// # Errors
///
/// As for [`super::cross_entropy`], and when a number of `config` is out of its range or all weights of the targets are zero.
pub fn cross_entropy_with(logits: &Tensor, targets: &Tensor, config: &CrossEntropyConfig) -> Result<Tensor> {
    const OP: &str = "cross_entropy_with";
    if *config == CrossEntropyConfig::default() {
        return super::cross_entropy(logits, targets);
    }
    let &[n, classes] = logits.dims() else {
        return Err(Error::shape(OP, "logits", logits.shape(), "[n, classes]"));
    };
    if n * classes == 0 {
        return Err(Error::shape(OP, "logits", logits.shape(), "at least one row and one class"));
    }
    if targets.dims() != [n] {
        return Err(Error::shape(OP, "targets", targets.shape(), format!("[n = {n}]")));
    }
    if targets.dtype() != DType::U32 {
        return Err(Error::DType { operation: OP, what: "targets", got: targets.dtype(), expected: "u32" });
    }
    let smoothing = config.label_smoothing;
    if !(0. ..=1.).contains(&smoothing) {
        return Err(Error::Value { operation: OP, what: "label_smoothing", got: smoothing, expected: "in [0, 1]" });
    }
    let ones;
    let weights = match &config.class_weights {
        Some(weights) => weights,
        None => {
            ones = vec![1.; classes];
            &ones
        }
    };
    if weights.len() != classes {
        return Err(Error::Length { operation: OP, what: "class_weights", got: weights.len(), expected: classes });
    }
    if let Some(&got) = weights.iter().find(|w| !w.is_finite() || **w < 0.) {
        return Err(Error::Value { operation: OP, what: "a class weight", got, expected: "finite and not negative" });
    }
    let mut distribution = Vec::with_capacity(n * classes);
    let mut divisor = 0.;
    for (position, target) in targets.to_vec1::<u32>()?.into_iter().enumerate() {
        let class = target as usize;
        if class >= classes {
            let index = u64::from(target);
            return Err(Error::OutOfRange { operation: OP, what: "targets", position, index, bound: classes });
        }
        divisor += weights[class];
        let row = distribution.len();
        distribution.extend(weights.iter().map(|w| w * smoothing / classes as f64));
        distribution[row + class] += weights[class] * (1. - smoothing);
    }
    let is_positive = divisor > 0.;
    if !is_positive {
        let expected = "positive";
        return Err(Error::Value { operation: OP, what: "the sum of the targets' weights", got: divisor, expected });
    }
    let distribution = Tensor::from_vec(distribution, (n, classes), &Device::Cpu)?;
    soft(logits, &distribution.to_dtype(logits.dtype())?.to_device(logits.device())?, divisor)
}
