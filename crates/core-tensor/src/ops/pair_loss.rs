//! Losses that add up a function of pairs of elements, and cross-entropy with distributions as targets.

use super::softmax::for_exponential_rows;
use crate::kernel::{Gradients, Kernel, Real, apply, collect, exp_all, for_slices, multiversion};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::mem::MaybeUninit;

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
    let stable = ((logits.relu()? - (&logits * &targets)?)? + (logits.abs()?.neg()?.exp()? + 1.)?.log()?)?;
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

/// A function of a pair and its two derivatives.
trait Pair: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    fn value<T: Real>(self, a: T, b: T) -> T;
    fn first<T: Real>(self, a: T, b: T) -> T;
    fn second<T: Real>(self, a: T, b: T) -> T;
}

#[derive(Clone, Copy)]
struct Bce;

impl Pair for Bce {
    const NAME: &'static str = "bce-with-logits";
    #[inline(always)]
    fn value<T: Real>(self, a: T, b: T) -> T {
        let positive = if a > T::ZERO { a } else { T::ZERO };
        positive - a * b + Real::ln(T::ONE + Real::exp(-Real::abs(a)))
    }
    #[inline(always)]
    fn first<T: Real>(self, a: T, b: T) -> T {
        T::ONE / (T::ONE + Real::exp(-a)) - b
    }
    #[inline(always)]
    fn second<T: Real>(self, a: T, _b: T) -> T {
        -a
    }
}

#[derive(Clone, Copy)]
struct KlDiv;

impl Pair for KlDiv {
    const NAME: &'static str = "kl-div";
    #[inline(always)]
    fn value<T: Real>(self, a: T, b: T) -> T {
        if b == T::ZERO { T::ZERO } else { b * (Real::ln(b) - a) }
    }
    #[inline(always)]
    fn first<T: Real>(self, _a: T, b: T) -> T {
        -b
    }
    #[inline(always)]
    fn second<T: Real>(self, a: T, b: T) -> T {
        if b == T::ZERO { T::ZERO } else { Real::ln(b) + T::ONE - a }
    }
}

#[derive(Clone, Copy)]
struct Huber {
    delta: f64,
}

impl Pair for Huber {
    const NAME: &'static str = "huber";
    #[inline(always)]
    fn value<T: Real>(self, a: T, b: T) -> T {
        let (d, delta) = (Real::abs(a - b), T::of(self.delta));
        if d > delta { delta * (d - T::of(0.5) * delta) } else { T::of(0.5) * d * d }
    }
    #[inline(always)]
    fn first<T: Real>(self, a: T, b: T) -> T {
        let (d, delta) = (a - b, T::of(self.delta));
        let d = if d > delta { delta } else { d };
        if d < -delta { -delta } else { d }
    }
    #[inline(always)]
    fn second<T: Real>(self, a: T, b: T) -> T {
        -self.first(a, b)
    }
}

#[derive(Clone, Copy)]
struct L1;

impl Pair for L1 {
    const NAME: &'static str = "l1";
    #[inline(always)]
    fn value<T: Real>(self, a: T, b: T) -> T {
        Real::abs(a - b)
    }
    #[inline(always)]
    fn first<T: Real>(self, a: T, b: T) -> T {
        let d = a - b;
        let sign = if d > T::ZERO { T::ONE } else { T::ZERO };
        if d < T::ZERO { -T::ONE } else { sign }
    }
    #[inline(always)]
    fn second<T: Real>(self, a: T, b: T) -> T {
        -self.first(a, b)
    }
}

struct PairLoss<P> {
    function: P,
    divisor: f64,
}

/// Elements that are added up by one task; fixed, so that the order of additions does not depend on threads.
const SUM_BLOCK: usize = 16 * 1024;

multiversion! {
    fn pair_sum<T, P: Pair>(function: P, a: &[T], b: &[T], sum: &mut f64) {
        *sum = crate::kernel::sum2(a, b, |a, b| function.value(a, b)).to_f64();
    }
}

multiversion! {
    fn pair_first<T, P: Pair>(function: P, factor: T, a: &[T], b: &[T], out: &mut [MaybeUninit<T>]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            out.write(factor * function.first(a, b));
        }
    }
}

multiversion! {
    fn pair_second<T, P: Pair>(function: P, factor: T, a: &[T], b: &[T], out: &mut [MaybeUninit<T>]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            out.write(factor * function.second(a, b));
        }
    }
}

impl<P: Pair> Kernel for PairLoss<P> {
    const NAME: &'static str = P::NAME;

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (a, b) = (x[0], x[1]);
        let mut sums = vec![0f64; a.len().div_ceil(SUM_BLOCK)];
        for_slices(&mut sums, 1, 8 * SUM_BLOCK, &|first, sums| {
            let start = first * SUM_BLOCK;
            let blocks = a[start..].chunks(SUM_BLOCK).zip(b[start..].chunks(SUM_BLOCK));
            for (sum, (a, b)) in sums.iter_mut().zip(blocks) {
                pair_sum(self.function, a, b, sum);
            }
        });
        Ok(vec![T::of(sums.iter().sum::<f64>() / self.divisor)])
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (a, b) = (x[0], x[1]);
        let factor = grad[0] * T::of(1. / self.divisor);
        // SAFETY: every element is written, here and below.
        let first = needs[0].then(|| unsafe {
            collect(a.len(), 1, 8, |at, out| pair_first(self.function, factor, &a[at..], &b[at..], out))
        });
        let second = needs[1].then(|| {
            // SAFETY: as above.
            unsafe { collect(a.len(), 1, 8, |at, out| pair_second(self.function, factor, &a[at..], &b[at..], out)) }
        });
        Ok([first, second, None])
    }
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

struct SoftCrossEntropy {
    classes: usize,
    divisor: f64,
}

/// The cost of an exponential, in multiply-adds.
const EXP_WORK: usize = 16;

impl SoftCrossEntropy {
    /// `log Σ exp` of each row.
    fn log_sums<T: Real>(&self, logits: &[T]) -> Vec<T> {
        let mut sums = vec![T::ZERO; logits.len() / self.classes];
        for_slices(&mut sums, 1, self.classes * EXP_WORK, &|first, sums| {
            for_exponential_rows(logits, self.classes, first, (sums, 1), |_, _, _, sum, largest, out| {
                out[0] = largest + Real::ln(sum);
            });
        });
        sums
    }
}

impl Kernel for SoftCrossEntropy {
    const NAME: &'static str = "soft-cross-entropy";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let sums = self.log_sums(x[0]);
        let rows = x[0].chunks_exact(self.classes).zip(x[1].chunks_exact(self.classes)).zip(sums);
        let loss: f64 = rows
            .map(|((x, t), sum)| x.iter().zip(t).fold(T::ZERO, |loss, (&x, &t)| loss + t * (sum - x)).to_f64())
            .sum();
        Ok(vec![T::of(loss / self.divisor)])
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let factor = grad[0] * T::of(1. / self.divisor);
        let (sums, classes) = (self.log_sums(x[0]), self.classes);
        let mut logs = x[0].to_vec();
        for_slices(&mut logs, classes, classes, &|first, logs| {
            for (row, &sum) in logs.chunks_exact_mut(classes).zip(&sums[first..]) {
                row.iter_mut().for_each(|v| *v -= sum);
            }
        });
        let grad_targets = needs[1].then(|| logs.iter().map(|&l| -l * factor).collect());
        let grad_logits = needs[0].then(|| {
            for_slices(&mut logs, classes, classes * EXP_WORK, &|first, out| {
                exp_all(out);
                let targets = x[1][first * classes..].chunks_exact(classes);
                for (row, targets) in out.chunks_exact_mut(classes).zip(targets) {
                    let total = targets.iter().fold(T::ZERO, |sum, &t| sum + t);
                    row.iter_mut().zip(targets).for_each(|(p, &t)| *p = (*p * total - t) * factor);
                }
            });
            logs
        });
        Ok([grad_logits, grad_targets, None])
    }
}
