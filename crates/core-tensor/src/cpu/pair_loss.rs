//! Sums of a function of pairs of elements, and cross-entropy with distributions as targets.

use super::softmax::{EXP_WORK, for_exponential_rows, log_of_sum};
use crate::kernel::{Gradients, Kernel, Real, collect, exp_all, for_slices, multiversion, sum2};
use std::mem::MaybeUninit;

/// A function of a pair and its two derivatives.
pub(crate) trait Pair: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    fn value<T: Real>(self, a: T, b: T) -> T;
    fn first<T: Real>(self, a: T, b: T) -> T;
    fn second<T: Real>(self, a: T, b: T) -> T;
}

#[derive(Clone, Copy)]
pub(crate) struct Bce;

impl Pair for Bce {
    const NAME: &'static str = "bce-with-logits";
    #[inline(always)]
    fn value<T: Real>(self, a: T, b: T) -> T {
        // max(a, 0) − a b, without the cancellation of large logits with targets near 1
        let linear = if a > T::ZERO { a * (T::ONE - b) } else { -a * b };
        linear + (-Real::abs(a)).softplus()
    }
    #[inline(always)]
    fn first<T: Real>(self, a: T, b: T) -> T {
        // σ(a) − b, as (1 − b) − σ(−a) for positive logits, so that a nearly certain logit keeps the digits of what is left
        let power = Real::exp(-Real::abs(a));
        let small = power / (T::ONE + power);
        if a > T::ZERO { (T::ONE - b) - small } else { small - b }
    }
    #[inline(always)]
    fn second<T: Real>(self, a: T, _b: T) -> T {
        -a
    }
}

#[derive(Clone, Copy)]
pub(crate) struct KlDiv;

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
pub(crate) struct Huber {
    pub(crate) delta: f64,
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
pub(crate) struct L1;

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

pub(crate) struct PairLoss<P> {
    pub(crate) function: P,
    pub(crate) divisor: f64,
}

/// Elements that are added up by one task; fixed, so that the order of additions does not depend on threads.
const SUM_BLOCK: usize = 16 * 1024;

multiversion! {
    fn pair_sum<T, P: Pair>(function: P, a: &[T], b: &[T], sum: &mut f64) {
        *sum = sum2(a, b, |a, b| function.value(a, b)).to_f64();
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

pub(crate) struct SoftCrossEntropy {
    pub(crate) classes: usize,
    pub(crate) divisor: f64,
}

impl SoftCrossEntropy {
    /// The largest element of each row, and `log Σ exp` relative to it.
    fn log_sums<T: Real>(&self, logits: &[T]) -> Vec<[T; 2]> {
        let mut sums = vec![[T::ZERO; 2]; logits.len() / self.classes];
        for_slices(&mut sums, 1, self.classes * EXP_WORK, &|first, sums| {
            for_exponential_rows(logits, self.classes, first, (sums, 1), |_, _, powers, sum, largest, out| {
                out[0] = [largest, log_of_sum(powers, sum)];
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
        // A class that is no target adds nothing, even at −∞.
        let term = |t: T, x: T, largest: T, sum: T| if t == T::ZERO { t } else { t * ((largest - x) + sum) };
        let loss: f64 = rows
            .map(|((x, t), [largest, sum])| {
                let terms = x.iter().zip(t).map(|(&x, &t)| term(t, x, largest, sum));
                terms.fold(T::ZERO, |loss, term| loss + term).to_f64()
            })
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
            for (row, &[largest, sum]) in logs.chunks_exact_mut(classes).zip(&sums[first..]) {
                row.iter_mut().for_each(|v| *v = (*v - largest) - sum);
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
