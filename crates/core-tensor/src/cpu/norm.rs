//! Normalisation of rows and of groups of channels.

use super::reduce::sum_partials;
use crate::kernel::{
    Gradients, Kernel, MIN_WORK_PER_TASK, Real, collect, dot, for_slices2, multiversion, sum1, sum2, sum3,
};
use std::mem::MaybeUninit;

/// The mean (zero if not centred) and the inverse standard deviation of a row.
#[inline(always)]
fn statistics<T: Real>(x: &[T], eps: T, is_centered: bool) -> (T, T) {
    let scale = T::ONE / T::of(x.len() as f64);
    let mean = if is_centered { sum1(x, |x| x) * scale } else { T::ZERO };
    let variance = sum1(x, |x| (x - mean) * (x - mean)) * scale;
    (mean, T::ONE / Real::sqrt(variance + eps))
}

pub(crate) struct RowNorm {
    pub(crate) width: usize,
    pub(crate) eps: f64,
    pub(crate) is_centered: bool,
}

multiversion! {
    fn normalise_rows<T>(op: &RowNorm, x: &[T], weight: &[T], bias: Option<&[T]>, out: &mut [MaybeUninit<T>]) {
        let eps = T::of(op.eps);
        for (x, out) in x.chunks_exact(op.width).zip(out.chunks_exact_mut(op.width)) {
            let (mean, inverse) = statistics(x, eps, op.is_centered);
            match bias {
                Some(bias) => {
                    for (((out, &x), &w), &b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                        out.write((x - mean) * inverse * w + b);
                    }
                }
                None => {
                    for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
                        out.write(x * inverse * w);
                    }
                }
            }
        }
    }
}

multiversion! {
    /// Turns `grad` into the gradient of the rows, and adds those of weight and bias to the halves of `sums`.
    fn row_gradients<T>(op: &RowNorm, x: &[T], weight: &[T], grad: &mut [T], sums: &mut [T]) {
        let (eps, scale) = (T::of(op.eps), T::of(1. / op.width as f64));
        let (weight_sums, bias_sums) = sums.split_at_mut(op.width);
        for (x, grad) in x.chunks_exact(op.width).zip(grad.chunks_exact_mut(op.width)) {
            let (mean, inverse) = statistics(x, eps, op.is_centered);
            let level = if op.is_centered { dot(grad, weight) * scale } else { T::ZERO };
            let slope = sum3(grad, weight, x, |g, w, x| g * w * (x - mean)) * inverse * scale;
            let parts = grad.iter_mut().zip(x).zip(weight);
            for (((g, &x), &w), (ws, bs)) in parts.zip(weight_sums.iter_mut().zip(bias_sums.iter_mut())) {
                let normal = (x - mean) * inverse;
                *ws = g.mul_add(normal, *ws);
                *bs += *g;
                *g = inverse * (-normal).mul_add(slope, g.mul_add(w, -level));
            }
        }
    }
}

impl Kernel for RowNorm {
    const NAME: &'static str = "row-norm";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let width = self.width;
        if width == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: every row is written whole.
        Ok(unsafe {
            collect(x[0].len() / width, width, 3 * width, |first, out| {
                normalise_rows(self, &x[0][first * width..], x[1], x.get(2).copied(), out);
            })
        })
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
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let width = self.width;
        if width == 0 {
            return Ok(needs.map(|need| need.then(Vec::new)));
        }
        let rows = grad.len() / width;
        let per_block = (MIN_WORK_PER_TASK / width).max(16);
        let mut partial = vec![T::ZERO; rows.div_ceil(per_block) * 2 * width];
        let block = per_block * width;
        for_slices2((&mut grad, block), (&mut partial, 2 * width), 5 * block, &|first, grad, sums| {
            let blocks = grad.chunks_mut(block).zip(sums.chunks_exact_mut(2 * width));
            for (at, (grad, sums)) in (first..).zip(blocks) {
                row_gradients(self, &x[0][at * block..], x[1], grad, sums);
            }
        });
        let mut sums = sum_partials(&partial, 2 * width);
        let bias = sums.split_off(width);
        Ok([Some(grad), Some(sums), needs[2].then_some(bias)])
    }
}

pub(crate) struct GroupNorm {
    pub(crate) channels: usize,
    pub(crate) plane: usize,
    pub(crate) groups: usize,
    pub(crate) eps: f64,
}

impl GroupNorm {
    /// Channels of a group, and elements of a row.
    fn sizes(&self) -> (usize, usize) {
        let channels = self.channels / self.groups;
        (channels, channels * self.plane)
    }
}

multiversion! {
    /// The rows from number `first` on.
    fn normalise_groups<T>(op: &GroupNorm, first: usize, x: &[T], weight: &[T], bias: &[T], out: &mut [MaybeUninit<T>]) {
        let (channels, width) = op.sizes();
        for (row, (x, out)) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate() {
            let (mean, inverse) = statistics(x, T::of(op.eps), true);
            let start = (first + row) % op.groups * channels;
            for (channel, (x, out)) in x.chunks_exact(op.plane).zip(out.chunks_exact_mut(op.plane)).enumerate() {
                let (factor, b) = (inverse * weight[start + channel], bias[start + channel]);
                for (out, &x) in out.iter_mut().zip(x) {
                    out.write((x - mean) * factor + b);
                }
            }
        }
    }
}

multiversion! {
    /// Turns `grad` into the gradient of the rows from number `first` on; `sums` gets, for each channel, those of weight and bias.
    fn group_gradients<T>(op: &GroupNorm, first: usize, x: &[T], weight: &[T], grad: &mut [T], sums: &mut [T]) {
        let (channels, width) = op.sizes();
        let scale = T::of(1. / width as f64);
        let rows = x.chunks_exact(width).zip(grad.chunks_exact_mut(width));
        for (row, ((x, grad), sums)) in rows.zip(sums.chunks_exact_mut(2 * channels)).enumerate() {
            let (mean, inverse) = statistics(x, T::of(op.eps), true);
            let start = (first + row) % op.groups * channels;
            let (mut level, mut slope) = (T::ZERO, T::ZERO);
            let planes = x.chunks_exact(op.plane).zip(grad.chunks_exact(op.plane));
            for (channel, (x, grad)) in planes.enumerate() {
                let total = sum1(grad, |g| g);
                let product = sum2(grad, x, |g, x| g * (x - mean)) * inverse;
                (sums[2 * channel], sums[2 * channel + 1]) = (product, total);
                level += weight[start + channel] * total;
                slope += weight[start + channel] * product;
            }
            (level, slope) = (level * scale, slope * scale);
            let planes = x.chunks_exact(op.plane).zip(grad.chunks_exact_mut(op.plane));
            for (channel, (x, grad)) in planes.enumerate() {
                let w = weight[start + channel];
                for (g, &x) in grad.iter_mut().zip(x) {
                    let normal = (x - mean) * inverse;
                    *g = inverse * (-normal).mul_add(slope, g.mul_add(w, -level));
                }
            }
        }
    }
}

impl Kernel for GroupNorm {
    const NAME: &'static str = "group-norm";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (_, width) = self.sizes();
        if x[0].is_empty() {
            return Ok(Vec::new());
        }
        // SAFETY: every row is written whole.
        Ok(unsafe {
            collect(x[0].len() / width, width, 3 * width, |first, out| {
                normalise_groups(self, first, &x[0][first * width..], x[1], x[2], out);
            })
        })
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
        let (channels, width) = self.sizes();
        if grad.is_empty() {
            return Ok([Some(Vec::new()), Some(vec![T::ZERO; self.channels]), Some(vec![T::ZERO; self.channels])]);
        }
        let mut partial = vec![T::ZERO; grad.len() / width * 2 * channels];
        for_slices2((&mut grad, width), (&mut partial, 2 * channels), 5 * width, &|first, grad, sums| {
            group_gradients(self, first, &x[0][first * width..], x[1], grad, sums);
        });
        let sums = sum_partials(&partial, 2 * self.channels);
        let (weight, bias) = sums.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
        Ok([Some(grad), Some(weight), Some(bias)])
    }
}
