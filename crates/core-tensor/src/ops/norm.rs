//! Normalisation of rows and of groups of channels.

use super::reduce::sum_partials;
use crate::kernel::{
    Gradients, Kernel, MIN_WORK_PER_TASK, Real, apply, build, collect, for_slices2, multiversion, sum1, sum2, sum3,
};
use crate::{Error, Result};
use candle_core::{D, Tensor};

/// `y = (x − mean) / √(variance + eps) · weight + bias` with the mean and the biased variance of each row: `x` is `[…, n]`,
/// `weight` and `bias` `[n]`.
///
/// Candle's fused layer norm silently has no gradient; this one has.
///
/// # Errors
///
/// When the shapes do not fit, the dtypes differ, or `eps` is negative or not finite.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    const OP: &str = "layer_norm";
    check(OP, x, x.dims().last().copied(), &[("weight", weight), ("bias", bias)], eps, "[…, n]")?;
    if x.device().is_cpu() {
        return apply(RowNorm { width: weight.elem_count(), eps, is_centered: true }, &[x, weight, bias], x.shape());
    }
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centered.broadcast_div(&(variance + eps)?.sqrt()?)?;
    Ok(normal.broadcast_mul(weight)?.broadcast_add(bias)?)
}

/// `y = x / √(mean(x²) + eps) · weight` for each row: `x` is `[…, n]`, `weight` `[n]`.
///
/// # Errors
///
/// As for [`layer_norm`].
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    check("rms_norm", x, x.dims().last().copied(), &[("weight", weight)], eps, "[…, n]")?;
    if x.device().is_cpu() {
        return apply(RowNorm { width: weight.elem_count(), eps, is_centered: false }, &[x, weight], x.shape());
    }
    let square = x.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(x.broadcast_div(&(square + eps)?.sqrt()?)?.broadcast_mul(weight)?)
}

/// [`layer_norm`] over each of `groups` groups of neighbouring channels with all their positions: `x` is `[n, channels, …]`, `weight`
/// and `bias` `[channels]`. As many groups as channels: instance norm.
///
/// # Errors
///
/// As for [`layer_norm`], and when `groups` does not divide the channels.
pub fn group_norm(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    const OP: &str = "group_norm";
    let channels = x.dims().get(1).copied();
    check(OP, x, channels, &[("weight", weight), ("bias", bias)], eps, "[n, channels, …]")?;
    let channels = channels.unwrap_or(0);
    if groups == 0 || channels % groups != 0 {
        return Err(Error::Value {
            operation: OP,
            what: "groups",
            got: groups as f64,
            expected: "a divisor of the channels",
        });
    }
    let plane: usize = x.dims()[2..].iter().product();
    if x.device().is_cpu() {
        return apply(GroupNorm { channels, plane, groups, eps }, &[x, weight, bias], x.shape());
    }
    let rows = x.reshape((x.dims()[0] * groups, channels / groups * plane))?;
    let centered = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
    let variance = centered.sqr()?.mean_keepdim(1)?;
    let normal = centered.broadcast_div(&(variance + eps)?.sqrt()?)?.reshape((x.dims()[0], channels, plane))?;
    let (weight, bias) = (weight.reshape((1, channels, 1))?, bias.reshape((1, channels, 1))?);
    Ok(normal.broadcast_mul(&weight)?.broadcast_add(&bias)?.reshape(x.shape())?)
}

fn check(
    op: &'static str,
    x: &Tensor,
    size: Option<usize>,
    vectors: &[(&'static str, &Tensor)],
    eps: f64,
    expected: &'static str,
) -> Result<()> {
    let Some(size) = size else { return Err(Error::shape(op, "x", x.shape(), expected)) };
    for (what, vector) in vectors {
        if vector.dims() != [size] {
            return Err(Error::shape(op, what, vector.shape(), format!("[{size}]")));
        }
        if vector.dtype() != x.dtype() {
            return Err(Error::DType { operation: op, what, got: vector.dtype(), expected: "the dtype of x" });
        }
    }
    let is_valid = eps.is_finite() && eps >= 0.;
    if is_valid {
        Ok(())
    } else {
        Err(Error::Value { operation: op, what: "eps", got: eps, expected: "finite and not negative" })
    }
}

/// The mean (zero if not centred) and the inverse standard deviation of a row.
#[inline(always)]
fn statistics<T: Real>(x: &[T], eps: T, is_centered: bool) -> (T, T) {
    let scale = T::ONE / T::of(x.len() as f64);
    let mean = if is_centered { sum1(x, |x| x) * scale } else { T::ZERO };
    let variance = sum1(x, |x| (x - mean) * (x - mean)) * scale;
    (mean, T::ONE / Real::sqrt(variance + eps))
}

struct RowNorm {
    width: usize,
    eps: f64,
    is_centered: bool,
}

multiversion! {
    fn normalise_rows<T>(op: &RowNorm, x: &[T], weight: &[T], bias: Option<&[T]>, out: &mut [std::mem::MaybeUninit<T>]) {
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
    /// Writes the gradient of the rows, and adds those of weight and bias to the halves of `sums`.
    fn row_gradients<T>(op: &RowNorm, x: &[T], weight: &[T], grad: &[T], out: &mut [T], sums: &mut [T]) {
        let (eps, scale) = (T::of(op.eps), T::of(1. / op.width as f64));
        let (weight_sums, bias_sums) = sums.split_at_mut(op.width);
        let rows = x.chunks_exact(op.width).zip(grad.chunks_exact(op.width));
        for ((x, grad), out) in rows.zip(out.chunks_exact_mut(op.width)) {
            let (mean, inverse) = statistics(x, eps, op.is_centered);
            let level = if op.is_centered { sum2(grad, weight, |g, w| g * w) * scale } else { T::ZERO };
            let slope = sum3(grad, weight, x, |g, w, x| g * w * ((x - mean) * inverse)) * scale;
            let parts = out.iter_mut().zip(x).zip(grad).zip(weight);
            for ((((out, &x), &g), &w), (ws, bs)) in parts.zip(weight_sums.iter_mut().zip(bias_sums.iter_mut())) {
                let normal = (x - mean) * inverse;
                *out = inverse * (g * w - level - normal * slope);
                *ws += g * normal;
                *bs += g;
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
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let width = self.width;
        if width == 0 {
            return Ok(needs.map(|need| need.then(Vec::new)));
        }
        let rows = grad.len() / width;
        let per_block = (MIN_WORK_PER_TASK / width).max(16);
        let mut partial = vec![T::ZERO; rows.div_ceil(per_block) * 2 * width];
        let mut grad_x = vec![T::ZERO; grad.len()];
        for_slices2(
            (&mut grad_x, per_block * width),
            (&mut partial, 2 * width),
            5 * per_block * width,
            &|first, out, sums| {
                for (at, (out, sums)) in
                    out.chunks_mut(per_block * width).zip(sums.chunks_exact_mut(2 * width)).enumerate()
                {
                    let start = (first + at) * per_block * width;
                    row_gradients(
                        self,
                        &x[0][start..start + out.len()],
                        x[1],
                        &grad[start..start + out.len()],
                        out,
                        sums,
                    );
                }
            },
        );
        let mut sums = sum_partials(&partial, 2 * width);
        let bias = sums.split_off(width);
        Ok([Some(grad_x), Some(sums), needs[2].then_some(bias)])
    }
}

struct GroupNorm {
    channels: usize,
    plane: usize,
    groups: usize,
    eps: f64,
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
    fn normalise_groups<T>(op: &GroupNorm, first: usize, x: &[T], weight: &[T], bias: &[T], out: &mut [std::mem::MaybeUninit<T>]) {
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
    /// The gradients of the rows from number `first` on; `sums` gets, for each channel, those of weight and bias.
    fn group_gradients<T>(op: &GroupNorm, first: usize, x: &[T], weight: &[T], grad: &[T], out: &mut [T], sums: &mut [T]) {
        let (channels, width) = op.sizes();
        let scale = T::of(1. / width as f64);
        let rows = x.chunks_exact(width).zip(grad.chunks_exact(width)).zip(out.chunks_exact_mut(width));
        for (row, (((x, grad), out), sums)) in rows.zip(sums.chunks_exact_mut(2 * channels)).enumerate() {
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
            let planes = x.chunks_exact(op.plane).zip(grad.chunks_exact(op.plane));
            for (channel, ((x, grad), out)) in planes.zip(out.chunks_exact_mut(op.plane)).enumerate() {
                let w = weight[start + channel];
                for ((out, &x), &g) in out.iter_mut().zip(x).zip(grad) {
                    *out = inverse * (g * w - level - (x - mean) * inverse * slope);
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
        _y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (channels, width) = self.sizes();
        if grad.is_empty() {
            return Ok([Some(Vec::new()), Some(vec![T::ZERO; self.channels]), Some(vec![T::ZERO; self.channels])]);
        }
        let mut partial = vec![T::ZERO; grad.len() / width * 2 * channels];
        let mut grad_x = vec![T::ZERO; grad.len()];
        for_slices2((&mut grad_x, width), (&mut partial, 2 * channels), 5 * width, &|first, out, sums| {
            let range = first * width..first * width + out.len();
            group_gradients(self, first, &x[0][range.clone()], x[1], &grad[range], out, sums);
        });
        let sums = sum_partials(&partial, 2 * self.channels);
        let (weight, bias) = sums.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
        Ok([Some(grad_x), Some(weight), Some(bias)])
    }
}

/// What the batch norms of planes share: `y = f(scale[c] · x + shift[c] + residual)` with `f` the identity or relu.
pub(super) struct ChannelAffine {
    pub(super) channels: usize,
    pub(super) plane: usize,
    pub(super) has_relu: bool,
}

multiversion! {
    fn affine_plane<T>(x: &[T], residual: Option<&[T]>, mean: T, scale: T, shift: T, has_relu: bool, out: &mut [std::mem::MaybeUninit<T>]) {
        let relu = |y: T| if has_relu && y <= T::ZERO { T::ZERO } else { y };
        match residual {
            Some(residual) => {
                for ((out, &x), &r) in out.iter_mut().zip(x).zip(residual) {
                    out.write(relu((x - mean) * scale + shift + r));
                }
            }
            None => {
                for (out, &x) in out.iter_mut().zip(x) {
                    out.write(relu((x - mean) * scale + shift));
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
    /// `a · (g − level − (x − mean) · slope)`, of the gradient where `y > 0` if `y` is given.
    fn plane_gradient<T>(x: &[T], y: Option<&[T]>, grad: &[T], mean: T, a: T, level: T, slope: T, out: &mut [std::mem::MaybeUninit<T>]) {
        match y {
            None => {
                for ((out, &x), &g) in out.iter_mut().zip(x).zip(grad) {
                    out.write(a * (g - level - (x - mean) * slope));
                }
            }
            Some(y) => {
                for (((out, &x), &g), &y) in out.iter_mut().zip(x).zip(grad).zip(y) {
                    let g = if y > T::ZERO { g } else { T::ZERO };
                    out.write(a * (g - level - (x - mean) * slope));
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

multiversion! {
    fn mask<T>(y: &[T], grad: &[T], out: &mut [std::mem::MaybeUninit<T>]) {
        for ((out, &y), &g) in out.iter_mut().zip(y).zip(grad) {
            out.write(if y > T::ZERO { g } else { T::ZERO });
        }
    }
}

/// The gradient where `y > 0`.
pub(super) fn masked<T: Real>(y: &[T], grad: &[T]) -> Vec<T> {
    // SAFETY: every element is written.
    unsafe { collect(grad.len(), 1, 1, |first, out| mask(&y[first..], &grad[first..], out)) }
}

impl ChannelAffine {
    fn image(&self) -> usize {
        self.channels * self.plane
    }

    /// Planes of one channel, with the offset of each.
    fn planes_of(&self, channel: usize, len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let (plane, image) = (self.plane, self.image());
        (0..len / image).map(move |n| n * image + channel * plane..n * image + (channel + 1) * plane)
    }

    /// Mean and biased variance of each channel: sums over a plane in the type itself, over planes in f64.
    pub(super) fn moments<T: Real>(&self, x: &[T]) -> (Vec<T>, Vec<T>) {
        let count = (x.len() / self.channels.max(1)) as f64;
        let mut out = vec![[T::ZERO; 2]; self.channels];
        crate::kernel::for_slices(&mut out, 1, 2 * x.len() / self.channels.max(1), &|first, out| {
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
                // The mean was rounded; its square error is taken off.
                let rounding = total / count - mean.to_f64();
                *out = [mean, T::of(square / count - rounding * rounding)];
            }
        });
        out.into_iter().map(|[mean, variance]| (mean, variance)).unzip()
    }

    /// `f((x − mean) · scale + shift + residual)`.
    pub(super) fn run<T: Real>(&self, x: &[T], residual: Option<&[T]>, mean: &[T], scale: &[T], shift: &[T]) -> Vec<T> {
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
    pub(super) fn sums<T: Real>(&self, x: &[T], y: Option<&[T]>, grad: &[T], mean: &[T]) -> Vec<[T; 2]> {
        let mut out = vec![[T::ZERO; 2]; self.channels];
        crate::kernel::for_slices(&mut out, 1, 2 * x.len() / self.channels.max(1), &|first, out| {
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

    /// `a (g − level − (x − mean) slope)` with numbers for each channel.
    pub(super) fn gradient<T: Real>(
        &self,
        x: &[T],
        y: Option<&[T]>,
        grad: &[T],
        numbers: impl Fn(usize) -> [T; 4] + Sync,
    ) -> Vec<T> {
        let plane = self.plane;
        if plane == 0 {
            return Vec::new();
        }
        // SAFETY: every plane is written whole.
        unsafe {
            collect(x.len() / plane, plane, 3 * plane, |first, out| {
                for (at, out) in out.chunks_exact_mut(plane).enumerate() {
                    let [mean, a, level, slope] = numbers((first + at) % self.channels);
                    let range = (first + at) * plane..(first + at + 1) * plane;
                    let y = y.map(|y| &y[range.clone()]);
                    plane_gradient(&x[range.clone()], y, &grad[range], mean, a, level, slope, out);
                }
            })
        }
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
        let zeros = vec![T::ZERO; self.channels];
        let grad_residual = (needs[2] && self.has_relu).then(|| masked(y, grad));
        let original = grad;
        let (y, grad) = match &grad_residual {
            Some(masked) => (None, masked.as_slice()),
            None => (self.has_relu.then_some(y), grad),
        };
        let grad_numbers = needs[1].then(|| {
            let sums = self.sums(x[0], y, grad, &zeros);
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
        let grad_x = needs[0].then(|| self.gradient(x[0], y, grad, |c| [T::ZERO, scale[c], T::ZERO, T::ZERO]));
        Ok([grad_x, grad_numbers, needs[2].then(|| grad_residual.unwrap_or_else(|| original.to_vec()))])
    }
}
