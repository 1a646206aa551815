//! An affine map of each channel of planes with what may follow it, and the sums over planes of batch norms.

use super::activation::masked_in_place;
use crate::kernel::{Gradients, Kernel, Real, build, collect, for_slices, multiversion, sum1, sum2, sum3};
use std::mem::MaybeUninit;
use std::ops::Range;

/// What the batch norms of planes share: `y = f(scale[c] · x + shift[c] + residual)` with `f` the identity or relu.
pub(crate) struct ChannelAffine {
    pub(crate) channels: usize,
    pub(crate) plane: usize,
    pub(crate) has_relu: bool,
}

multiversion! {
    fn affine_plane<T>(x: &[T], residual: Option<&[T]>, mean: T, scale: T, shift: T, has_relu: bool, out: &mut [MaybeUninit<T>]) {
        let relu = |y: T| if has_relu && y <= T::ZERO { T::ZERO } else { y };
        match residual {
            Some(residual) => {
                for ((out, &x), &r) in out.iter_mut().zip(x).zip(residual) {
                    out.write(relu((x - mean).mul_add(scale, shift) + r));
                }
            }
            None => {
                for (out, &x) in out.iter_mut().zip(x) {
                    out.write(relu((x - mean).mul_add(scale, shift)));
                }
            }
        }
    }
}

multiversion! {
    /// `Σ g` and `Σ g (x − mean)` into `out`; with `y`, of the gradient where `y > 0`.
    fn plane_sums<T>(x: &[T], y: Option<&[T]>, grad: &[T], mean: T, out: &mut [T; 2]) {
        match y {
            None => *out = [sum1(grad, |g| g), sum2(grad, x, |g, x| g * (x - mean))],
            Some(y) => {
                let masked = |g: T, y: T| if y > T::ZERO { g } else { T::ZERO };
                *out = [sum2(grad, y, masked), sum3(grad, y, x, |g, y, x| masked(g, y) * (x - mean))];
            }
        }
    }
}

multiversion! {
    /// Turns the gradient `g`, where `y > 0` if `y` is given, into `a · (g − level − (x − mean) · slope)`.
    fn plane_gradient<T>(x: &[T], y: Option<&[T]>, mean: T, a: T, level: T, slope: T, grad: &mut [T]) {
        match y {
            None => {
                for (g, &x) in grad.iter_mut().zip(x) {
                    *g = a * (mean - x).mul_add(slope, *g - level);
                }
            }
            Some(y) => {
                for ((g, &x), &y) in grad.iter_mut().zip(x).zip(y) {
                    let masked = if y > T::ZERO { *g } else { T::ZERO };
                    *g = a * (mean - x).mul_add(slope, masked - level);
                }
            }
        }
    }
}

multiversion! {
    fn plane_moments<T>(x: &[T], mean: T, out: &mut [T; 2]) {
        *out = [sum1(x, |x| x), sum1(x, |x| (x - mean) * (x - mean))];
    }
}

impl ChannelAffine {
    fn image(&self) -> usize {
        self.channels * self.plane
    }

    /// Planes of one channel, with the offset of each.
    fn planes_of(&self, channel: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
        let (plane, image) = (self.plane, self.image());
        (0..len / image).map(move |n| n * image + channel * plane..n * image + (channel + 1) * plane)
    }

    /// Mean and biased variance of each channel: sums over a plane in the type itself, over planes in f64.
    pub(crate) fn moments<T: Real>(&self, x: &[T]) -> (Vec<T>, Vec<T>) {
        let count = (x.len() / self.channels.max(1)) as f64;
        let mut out = vec![[T::ZERO; 2]; self.channels];
        for_slices(&mut out, 1, 2 * x.len() / self.channels.max(1), &|first, out| {
            for (at, out) in out.iter_mut().enumerate() {
                let mut sums = [T::ZERO; 2];
                let (mut total, mut square) = (0., 0.);
                for range in self.planes_of(first + at, x.len()) {
                    plane_moments(&x[range], T::ZERO, &mut sums);
                    total += sums[0].to_f64();
                }
                let mean = T::of(total / count);
                for range in self.planes_of(first + at, x.len()) {
                    plane_moments(&x[range], mean, &mut sums);
                    square += sums[1].to_f64();
                }
                // The mean was rounded; the square of its error is subtracted.
                let rounding = total / count - mean.to_f64();
                *out = [mean, T::of(square / count - rounding * rounding)];
            }
        });
        out.into_iter().map(|[mean, variance]| (mean, variance)).unzip()
    }

    /// `f((x − mean) · scale + shift + residual)`.
    pub(crate) fn run<T: Real>(&self, x: &[T], residual: Option<&[T]>, mean: &[T], scale: &[T], shift: &[T]) -> Vec<T> {
        let plane = self.plane;
        if plane == 0 {
            return Vec::new();
        }
        // SAFETY: every plane is written whole.
        unsafe {
            collect(x.len() / plane, plane, 2 * plane, |first, out| {
                for (at, out) in out.chunks_exact_mut(plane).enumerate() {
                    let (number, channel) = (first + at, (first + at) % self.channels);
                    let range = number * plane..(number + 1) * plane;
                    let residual = residual.map(|r| &r[range.clone()]);
                    affine_plane(
                        &x[range],
                        residual,
                        mean[channel],
                        scale[channel],
                        shift[channel],
                        self.has_relu,
                        out,
                    );
                }
            })
        }
    }

    /// `Σ g` and `Σ g (x − mean)` of each channel.
    pub(crate) fn sums<T: Real>(&self, x: &[T], y: Option<&[T]>, grad: &[T], mean: &[T]) -> Vec<[T; 2]> {
        let mut out = vec![[T::ZERO; 2]; self.channels];
        for_slices(&mut out, 1, 2 * x.len() / self.channels.max(1), &|first, out| {
            for (at, out) in out.iter_mut().enumerate() {
                let (mut sums, mut total) = ([T::ZERO; 2], [0.; 2]);
                for range in self.planes_of(first + at, x.len()) {
                    let y = y.map(|y| &y[range.clone()]);
                    plane_sums(&x[range.clone()], y, &grad[range], mean[first + at], &mut sums);
                    total = [total[0] + sums[0].to_f64(), total[1] + sums[1].to_f64()];
                }
                *out = total.map(T::of);
            }
        });
        out
    }

    /// `a (g − level − (x − mean) slope)` with numbers for each channel, in the memory of the gradient `g`.
    pub(crate) fn gradient<T: Real>(
        &self,
        x: &[T],
        y: Option<&[T]>,
        mut grad: Vec<T>,
        numbers: impl Fn(usize) -> [T; 4] + Sync,
    ) -> Vec<T> {
        let plane = self.plane;
        for_slices(&mut grad, plane, 3 * plane, &|first, grad| {
            for (at, grad) in grad.chunks_exact_mut(plane).enumerate() {
                let [mean, a, level, slope] = numbers((first + at) % self.channels);
                let range = (first + at) * plane..(first + at + 1) * plane;
                plane_gradient(&x[range.clone()], y.map(|y| &y[range]), mean, a, level, slope, grad);
            }
        });
        grad
    }

    /// The gradient where `y > 0` if relu follows and a residual needs it, in the memory of `grad`; otherwise `y` as the mask that the other loops apply.
    pub(crate) fn masked<'a, T: Real>(&self, y: &'a [T], grad: &mut [T], has_residual: bool) -> Option<&'a [T]> {
        if self.has_relu && has_residual {
            masked_in_place(y, grad);
            return None;
        }
        self.has_relu.then_some(y)
    }
}

/// Inputs are `x`, the rows `scale` and `shift` in one tensor, and perhaps a residual.
impl Kernel for ChannelAffine {
    const NAME: &'static str = "channel-affine";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (scale, shift) = x[1].split_at(self.channels);
        Ok(self.run(x[0], x.get(2).copied(), &vec![T::ZERO; self.channels], scale, shift))
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
        let zeros = vec![T::ZERO; self.channels];
        let y = self.masked(y, &mut grad, needs[2]);
        let grad_numbers = needs[1].then(|| {
            let sums = self.sums(x[0], y, &grad, &zeros);
            // SAFETY: both halves are written.
            unsafe {
                build(2 * self.channels, |out| {
                    for (at, [total, product]) in sums.iter().enumerate() {
                        out[at].write(*product);
                        out[self.channels + at].write(*total);
                    }
                })
            }
        });
        let scale = x[1];
        let of_x = |grad: Vec<T>| self.gradient(x[0], y, grad, |c| [T::ZERO, scale[c], T::ZERO, T::ZERO]);
        Ok(match (needs[0], needs[2]) {
            (true, true) => [Some(of_x(grad.clone())), grad_numbers, Some(grad)],
            (true, false) => [Some(of_x(grad)), grad_numbers, None],
            (false, has_residual) => [None, grad_numbers, has_residual.then_some(grad)],
        })
    }
}
