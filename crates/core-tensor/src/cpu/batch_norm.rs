//! Batch normalisation of feature vectors and of planes.

use super::channel_affine::ChannelAffine;
use super::reduce::{rows_per_block, sum_partials, sum_rows};
use crate::kernel::{Gradients, Kernel, Real, collect, for_slices, multiversion};
use candle_core::{Device, Tensor};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Mean and biased variance of each channel, known once the operation has run.
pub(crate) type Statistics = Arc<OnceLock<(Tensor, Tensor)>>;

fn keep<T: Real>(statistics: &Statistics, mean: Vec<T>, variance: Vec<T>) -> candle_core::Result<()> {
    let channels = mean.len();
    let mean = Tensor::from_vec(mean, channels, &Device::Cpu)?;
    let _ = statistics.set((mean, Tensor::from_vec(variance, channels, &Device::Cpu)?));
    Ok(())
}

fn kept<T: Real>(statistics: &Statistics, op: &'static str) -> candle_core::Result<(Vec<T>, Vec<T>)> {
    match statistics.get() {
        Some((mean, variance)) => Ok((mean.to_vec1::<T>()?, variance.to_vec1::<T>()?)),
        None => Err(candle_core::Error::BackwardNotSupported { op }),
    }
}

/// Batch norm of planes. Inputs are `x`, the rows `weight` and `bias` in one tensor, and perhaps a residual.
pub(crate) struct PlaneNorm {
    pub(crate) affine: ChannelAffine,
    pub(crate) eps: f64,
    pub(crate) statistics: Statistics,
}

impl Kernel for PlaneNorm {
    const NAME: &'static str = "batch-norm";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let channels = self.affine.channels;
        let (weight, bias) = x[1].split_at(channels);
        let (mean, variance) = self.affine.moments(x[0]);
        let scale: Vec<T> = variance.iter().zip(weight).map(|(&v, &w)| w / Real::sqrt(v + T::of(self.eps))).collect();
        let out = self.affine.run(x[0], x.get(2).copied(), &mean, &scale, bias);
        keep(&self.statistics, mean, variance)?;
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        self.backward_in_place(x, y, grad.to_vec(), needs)
    }

    fn backward_in_place<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        mut grad: Vec<T>,
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (mean, variance) = kept::<T>(&self.statistics, Self::NAME)?;
        let channels = self.affine.channels;
        let y = self.affine.masked(y, &mut grad, needs[2]);
        let sums = self.affine.sums(x[0], y, &grad, &mean);
        let inverse: Vec<T> = variance.iter().map(|&v| T::ONE / Real::sqrt(v + T::of(self.eps))).collect();
        let scale = T::of(channels as f64 / x[0].len() as f64);
        let of_x = |grad: Vec<T>| {
            self.affine.gradient(x[0], y, grad, |c| {
                let [total, product] = sums[c];
                [mean[c], x[1][c] * inverse[c], total * scale, product * scale * inverse[c] * inverse[c]]
            })
        };
        let weights = sums.iter().zip(&inverse).map(|(&[_, product], &i)| product * i);
        let grad_numbers = weights.chain(sums.iter().map(|&[total, _]| total)).collect();
        Ok(match (needs[0], needs[2]) {
            (true, true) => [Some(of_x(grad.clone())), Some(grad_numbers), Some(grad)],
            (true, false) => [Some(of_x(grad)), Some(grad_numbers), None],
            (false, has_residual) => [None, Some(grad_numbers), has_residual.then_some(grad)],
        })
    }
}

/// Batch norm of rows. Inputs are `x`, weight and bias.
pub(crate) struct RowsNorm {
    pub(crate) eps: f64,
    pub(crate) statistics: Statistics,
}

multiversion! {
    /// Adds `(x − mean)²` of each row to `out`.
    fn add_squares<T>(x: &[T], mean: &[T], out: &mut [T]) {
        for row in x.chunks_exact(mean.len()) {
            for ((o, &x), &m) in out.iter_mut().zip(row).zip(mean) {
                *o = (x - m).mul_add(x - m, *o);
            }
        }
    }
}

multiversion! {
    /// Adds the gradient, and its product with `x − mean`, of each row to the two halves of `out`.
    fn add_products<T>(x: &[T], grad: &[T], mean: &[T], out: &mut [T]) {
        let (sums, products) = out.split_at_mut(mean.len());
        for (x, grad) in x.chunks_exact(mean.len()).zip(grad.chunks_exact(mean.len())) {
            for ((((s, p), &x), &g), &m) in sums.iter_mut().zip(products.iter_mut()).zip(x).zip(grad).zip(mean) {
                *s += g;
                *p = g.mul_add(x - m, *p);
            }
        }
    }
}

multiversion! {
    fn normalise_rows<T>(x: &[T], mean: &[T], factor: &[T], bias: &[T], out: &mut [MaybeUninit<T>]) {
        let width = mean.len();
        for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            for ((((out, &x), &m), &f), &b) in out.iter_mut().zip(x).zip(mean).zip(factor).zip(bias) {
                out.write((x - m).mul_add(f, b));
            }
        }
    }
}

multiversion! {
    /// Turns the gradient `g` of rows into `outer · (g − level − (x − mean) · slope)`.
    fn rows_gradient<T>(x: &[T], mean: &[T], outer: &[T], level: &[T], slope: &[T], grad: &mut [T]) {
        let width = mean.len();
        for (grad, x) in grad.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let sides = grad.iter_mut().zip(x).zip(mean).zip(outer).zip(level).zip(slope);
            for (((((g, &x), &m), &outer), &level), &slope) in sides {
                *g = outer * (m - x).mul_add(slope, *g - level);
            }
        }
    }
}

/// Adds up the `out_width` sums that `add(first row, number of rows, out)` makes of blocks of rows, in a fixed order.
fn blocked<T: Real>(
    rows: usize,
    width: usize,
    out_width: usize,
    add: impl Fn(Range<usize>, &mut [T]) + Sync,
) -> Vec<T> {
    let per_block = rows_per_block(width);
    let blocks = rows.div_ceil(per_block);
    let mut partial = vec![T::ZERO; blocks * out_width];
    for_slices(&mut partial, out_width, per_block * width, &|first, out| {
        for (block, out) in out.chunks_exact_mut(out_width.max(1)).enumerate() {
            let start = (first + block) * per_block;
            add(start * width..(start + per_block).min(rows) * width, out);
        }
    });
    sum_partials(&partial, out_width)
}

impl Kernel for RowsNorm {
    const NAME: &'static str = "batch-norm";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (x, weight, bias) = (x[0], x[1], x[2]);
        let width = weight.len();
        let rows = x.len() / width.max(1);
        let scale = T::of(1. / rows as f64);
        let mut mean = sum_rows(x, width);
        mean.iter_mut().for_each(|m| *m *= scale);
        let mut variance = blocked(rows, width, width, |range, out| add_squares(&x[range], &mean, out));
        variance.iter_mut().for_each(|v| *v *= scale);
        let factor: Vec<T> = variance.iter().zip(weight).map(|(&v, &w)| w / Real::sqrt(v + T::of(self.eps))).collect();
        // SAFETY: every row is written whole.
        let out = unsafe {
            collect(rows, width, width, |first, out| normalise_rows(&x[first * width..], &mean, &factor, bias, out))
        };
        keep(&self.statistics, mean, variance)?;
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        self.backward_in_place(x, y, grad.to_vec(), needs)
    }

    fn backward_in_place<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        mut grad: Vec<T>,
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (mean, variance) = kept::<T>(&self.statistics, Self::NAME)?;
        let (x, weight) = (x[0], x[1]);
        let width = weight.len();
        let rows = x.len() / width.max(1);
        let inverse: Vec<T> = variance.iter().map(|&v| T::ONE / Real::sqrt(v + T::of(self.eps))).collect();
        let mut sums = blocked(rows, width, 2 * width, |range, out| {
            add_products(&x[range.clone()], &grad[range], &mean, out);
        });
        let scale = T::of(1. / rows as f64);
        // dx = weight / σ · (g − mean(g) − (x − μ) / σ² · mean(g (x − μ)))
        let outer: Vec<T> = weight.iter().zip(&inverse).map(|(&w, &i)| w * i).collect();
        let level: Vec<T> = sums[..width].iter().map(|&s| s * scale).collect();
        let slope: Vec<T> = sums[width..].iter().zip(&inverse).map(|(&s, &i)| s * scale * i * i).collect();
        for_slices(&mut grad, width, width, &|first, grad| {
            rows_gradient(&x[first * width..], &mean, &outer, &level, &slope, grad);
        });
        let grad_weight = sums[width..].iter().zip(&inverse).map(|(&p, &i)| p * i).collect();
        sums.truncate(width);
        Ok([Some(grad), Some(grad_weight), Some(sums)])
    }
}
