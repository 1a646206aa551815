//! Batch normalisation of feature vectors and of planes.

use super::norm::{ChannelAffine, masked};
use crate::kernel::{Gradients, Kernel, apply};
use crate::kernel::{
    Real, collect, contiguous, dispatch_real, dispatch_tensor, for_slices, into_storage, multiversion, slice,
    with_slice,
};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use std::sync::{Arc, OnceLock};

/// The statistics of a batch, each `[channels]` and without gradient.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// The mean.
    pub mean: Tensor,
    /// The variance with divisor `n`, by which the batch was normalised.
    pub biased_variance: Tensor,
    /// The number of rows, `n`.
    pub count: usize,
}

impl BatchStatistics {
    /// The variance with divisor `n − 1`, which PyTorch keeps in `running_var`.
    ///
    /// # Errors
    ///
    /// Those of Candle.
    pub fn unbiased_variance(&self) -> Result<Tensor> {
        let n = self.count as f64;
        Ok((&self.biased_variance * (n / (n - 1.)))?)
    }
}

/// What follows a normalisation in the same pass: `y ← y + residual`, then `y ← max(y, 0)`. By default nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// A tensor of the shape of `x` to add, with a gradient of its own.
    pub residual: Option<&'a Tensor>,
    /// Whether negative values become zero.
    pub has_relu: bool,
}

impl Epilogue<'_> {
    fn is_empty(&self) -> bool {
        self.residual.is_none() && !self.has_relu
    }

    /// The same as operations of their own.
    fn apply(&self, y: Tensor) -> Result<Tensor> {
        match (self.residual, self.has_relu) {
            (None, false) => Ok(y),
            (None, true) => super::relu(&y),
            (Some(residual), false) => Ok((y + residual)?),
            (Some(residual), true) => super::add_relu(&y, residual),
        }
    }
}

/// `y = (x − mean) / √(variance + eps) · weight + bias` with the mean and the biased variance of each channel over the batch and
/// all positions: `x` is `[n, channels, …]`, `weight` and `bias` `[channels]`. Gradients flow through the statistics.
///
/// # Errors
///
/// When the shapes do not fit, the dtypes differ, or a channel has fewer than 2 elements: one has no variance.
pub fn batch_norm_train(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Tensor, BatchStatistics)> {
    batch_norm_train_with(x, weight, bias, eps, &Epilogue::default())
}

/// [`batch_norm_train`] with what follows it in one pass.
///
/// # Errors
///
/// As for [`batch_norm_train`], and when the residual has another shape or dtype than `x`.
pub fn batch_norm_train_with(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    epilogue: &Epilogue<'_>,
) -> Result<(Tensor, BatchStatistics)> {
    const OP: &str = "batch_norm_train";
    let (channels, plane) = check(OP, x, &[("weight", weight), ("bias", bias)], eps, epilogue)?;
    let count = x.dims()[0] * plane;
    if count < 2 {
        return Err(Error::shape(
            OP,
            "x",
            x.shape(),
            "[n, channels, …] with at least 2 elements a channel in training",
        ));
    }
    if !x.device().is_cpu() {
        let (y, statistics) = composed(x, weight, bias, eps)?;
        return Ok((epilogue.apply(y)?, statistics));
    }
    let statistics = Arc::new(OnceLock::new());
    let kept = statistics.clone();
    let y = if plane == 1 {
        let rows = contiguous(&x.reshape((count, channels))?)?;
        let op = BatchNorm { eps, statistics: kept };
        let y = rows.apply_op3(&contiguous(weight)?, &contiguous(bias)?, op)?.reshape(x.shape())?;
        epilogue.apply(y)?
    } else {
        let affine = ChannelAffine { channels, plane, has_relu: epilogue.has_relu };
        let op = PlaneNorm { affine, eps, statistics: kept };
        let numbers = Tensor::stack(&[weight, bias], 0)?;
        match epilogue.residual {
            None => apply(op, &[x, &numbers], x.shape())?,
            Some(residual) => apply(op, &[x, &numbers, residual], x.shape())?,
        }
    };
    match statistics.get() {
        Some((mean, biased_variance)) => {
            let (mean, biased_variance) = (mean.clone(), biased_variance.clone());
            Ok((y, BatchStatistics { mean, biased_variance, count }))
        }
        None => Err(candle_core::Error::Msg(format!("{OP}: the kernel left no statistics")).into()),
    }
}

/// [`batch_norm_train`] with given statistics, which get no gradient: an affine map of each channel.
///
/// # Errors
///
/// When the shapes do not fit or the dtypes differ.
pub fn batch_norm_eval(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    batch_norm_eval_with(x, [mean, variance], weight, bias, eps, &Epilogue::default())
}

/// [`batch_norm_eval`] with what follows it in one pass; `statistics` are the mean and the variance.
///
/// # Errors
///
/// As for [`batch_norm_eval`], and when the residual has another shape or dtype than `x`.
pub fn batch_norm_eval_with(
    x: &Tensor,
    [mean, variance]: [&Tensor; 2],
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    epilogue: &Epilogue<'_>,
) -> Result<Tensor> {
    const OP: &str = "batch_norm_eval";
    let vectors = [("weight", weight), ("bias", bias), ("mean", mean), ("variance", variance)];
    let (channels, plane) = check(OP, x, &vectors, eps, epilogue)?;
    let scale = (weight / (variance.detach() + eps)?.sqrt()?)?;
    let shift = (bias - (&scale * mean.detach())?)?;
    if plane == 1 && epilogue.is_empty() {
        let rows = x.reshape(((), channels))?;
        return Ok(super::bias_add(&rows.broadcast_mul(&scale)?, &shift)?.reshape(x.shape())?);
    }
    if x.device().is_cpu() {
        let op = ChannelAffine { channels, plane, has_relu: epilogue.has_relu };
        let numbers = Tensor::stack(&[scale, shift], 0)?;
        return match epilogue.residual {
            None => apply(op, &[x, &numbers], x.shape()),
            Some(residual) => apply(op, &[x, &numbers, residual], x.shape()),
        };
    }
    let shape = per_channel(x, channels);
    epilogue.apply(x.broadcast_mul(&scale.reshape(shape.as_slice())?)?.broadcast_add(&shift.reshape(shape)?)?)
}

/// `[1, channels, 1, …]`.
fn per_channel(x: &Tensor, channels: usize) -> Vec<usize> {
    let mut shape = vec![1; x.rank()];
    shape[1] = channels;
    shape
}

/// The channels of `x`, and the number of positions of each.
fn check(
    op: &'static str,
    x: &Tensor,
    vectors: &[(&'static str, &Tensor)],
    eps: f64,
    epilogue: &Epilogue<'_>,
) -> Result<(usize, usize)> {
    let &[_, channels, ref positions @ ..] = x.dims() else {
        return Err(Error::shape(op, "x", x.shape(), "[n, channels, …]"));
    };
    for (what, vector) in vectors {
        if vector.dims() != [channels] {
            return Err(Error::shape(op, what, vector.shape(), format!("[channels = {channels}]")));
        }
        if vector.dtype() != x.dtype() {
            return Err(Error::DType { operation: op, what, got: vector.dtype(), expected: "the dtype of x" });
        }
    }
    if let Some(residual) = epilogue.residual {
        if residual.shape() != x.shape() {
            return Err(Error::shape(op, "residual", residual.shape(), format!("{:?} like x", x.dims())));
        }
        if residual.dtype() != x.dtype() {
            return Err(Error::DType {
                operation: op,
                what: "residual",
                got: residual.dtype(),
                expected: "the dtype of x",
            });
        }
    }
    let is_valid = eps.is_finite() && eps >= 0.;
    if is_valid {
        Ok((channels, positions.iter().product()))
    } else {
        Err(Error::Value { operation: op, what: "eps", got: eps, expected: "finite and not negative" })
    }
}

/// The same, of Candle operations: for other devices, and to compare with.
fn composed(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Tensor, BatchStatistics)> {
    let channels = weight.elem_count();
    let axes: Vec<usize> = (0..x.rank()).filter(|&axis| axis != 1).collect();
    let shape = per_channel(x, channels);
    let mean = x.mean_keepdim(axes.as_slice())?;
    let centered = x.broadcast_sub(&mean)?;
    let variance = centered.sqr()?.mean_keepdim(axes.as_slice())?;
    let normal = centered.broadcast_div(&(&variance + eps)?.sqrt()?)?;
    let y = normal.broadcast_mul(&weight.reshape(shape.as_slice())?)?.broadcast_add(&bias.reshape(shape)?)?;
    let (mean, biased_variance) = (mean.reshape(channels)?.detach(), variance.reshape(channels)?.detach());
    Ok((y, BatchStatistics { mean, biased_variance, count: x.elem_count() / channels.max(1) }))
}

/// Batch norm of planes. Inputs are `x`, the rows `weight` and `bias` in one tensor, and perhaps a residual.
struct PlaneNorm {
    affine: ChannelAffine,
    eps: f64,
    statistics: Arc<OnceLock<(Tensor, Tensor)>>,
}

impl Kernel for PlaneNorm {
    const NAME: &'static str = "batch-norm";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let channels = self.affine.channels;
        let (weight, bias) = x[1].split_at(channels);
        let (mean, variance) = self.affine.moments(x[0]);
        let scale: Vec<T> = variance.iter().zip(weight).map(|(&v, &w)| w / Real::sqrt(v + T::of(self.eps))).collect();
        let out = self.affine.run(x[0], x.get(2).copied(), &mean, &scale, bias);
        let device = candle_core::Device::Cpu;
        let mean = Tensor::from_vec(mean, channels, &device)?;
        let _ = self.statistics.set((mean, Tensor::from_vec(variance, channels, &device)?));
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let Some((mean, variance)) = self.statistics.get() else {
            return Err(candle_core::Error::BackwardNotSupported { op: Self::NAME });
        };
        let (mean, variance) = (mean.to_vec1::<T>()?, variance.to_vec1::<T>()?);
        let channels = self.affine.channels;
        let grad_residual = (needs[2] && self.affine.has_relu).then(|| masked(y, grad));
        let original = grad;
        let (y, grad) = match &grad_residual {
            Some(masked) => (None, masked.as_slice()),
            None => (self.affine.has_relu.then_some(y), grad),
        };
        let sums = self.affine.sums(x[0], y, grad, &mean);
        let inverse: Vec<T> = variance.iter().map(|&v| T::ONE / Real::sqrt(v + T::of(self.eps))).collect();
        let scale = T::of(channels as f64 / x[0].len() as f64);
        let grad_x = needs[0].then(|| {
            self.affine.gradient(x[0], y, grad, |c| {
                let [total, product] = sums[c];
                [mean[c], x[1][c] * inverse[c], total * scale, product * scale * inverse[c] * inverse[c]]
            })
        });
        let weights = sums.iter().zip(&inverse).map(|(&[_, product], &i)| product * i);
        let grad_numbers = weights.chain(sums.iter().map(|&[total, _]| total)).collect();
        Ok([grad_x, Some(grad_numbers), needs[2].then(|| grad_residual.unwrap_or_else(|| original.to_vec()))])
    }
}

struct BatchNorm {
    eps: f64,
    statistics: Arc<OnceLock<(Tensor, Tensor)>>,
}

multiversion! {
    /// Adds `(x − mean)²` of each row to `out`.
    fn add_squares<T>(x: &[T], mean: &[T], out: &mut [T]) {
        for row in x.chunks_exact(mean.len()) {
            for ((o, &x), &m) in out.iter_mut().zip(row).zip(mean) {
                *o += (x - m) * (x - m);
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
                *p += g * (x - m);
            }
        }
    }
}

/// Adds up the `out_width` sums that `add(first row, number of rows, out)` makes of blocks of rows, in a fixed order.
fn blocked<T: Real>(
    rows: usize,
    width: usize,
    out_width: usize,
    add: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync,
) -> Vec<T> {
    let per_block = super::reduce::rows_per_block(width);
    let blocks = rows.div_ceil(per_block);
    let mut partial = vec![T::ZERO; blocks * out_width];
    for_slices(&mut partial, out_width, per_block * width, &|first, out| {
        for (block, out) in out.chunks_exact_mut(out_width.max(1)).enumerate() {
            let start = (first + block) * per_block;
            add(start * width..(start + per_block).min(rows) * width, out);
        }
    });
    super::reduce::sum_partials(&partial, out_width)
}

impl BatchNorm {
    fn run<T: Real>(&self, x: &[T], weight: &[T], bias: &[T]) -> candle_core::Result<Vec<T>> {
        let width = weight.len();
        let rows = x.len() / width.max(1);
        let scale = T::of(1. / rows as f64);
        let mut mean = super::reduce::sum_rows(x, width);
        mean.iter_mut().for_each(|m| *m *= scale);
        let mut variance = blocked(rows, width, width, |range, out| add_squares(&x[range], &mean, out));
        variance.iter_mut().for_each(|v| *v *= scale);
        let factor: Vec<T> = variance.iter().zip(weight).map(|(&v, &w)| w / Real::sqrt(v + T::of(self.eps))).collect();
        // SAFETY: every row is written whole.
        let out = unsafe {
            collect(rows, width, width, |first, out| {
                for (out, x) in out.chunks_exact_mut(width.max(1)).zip(x[first * width..].chunks_exact(width)) {
                    for ((((out, &x), &m), &f), &b) in out.iter_mut().zip(x).zip(&mean).zip(&factor).zip(bias) {
                        out.write((x - m) * f + b);
                    }
                }
            })
        };
        let device = candle_core::Device::Cpu;
        let mean = Tensor::from_vec(mean, width, &device)?;
        let _ = self.statistics.set((mean, Tensor::from_vec(variance, width, &device)?));
        Ok(out)
    }

    fn gradients<T: Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Tensor, Tensor, Tensor)> {
        let op = self.name();
        let Some((mean, variance)) = self.statistics.get() else {
            return Err(candle_core::Error::BackwardNotSupported { op });
        };
        let (rows, width) = x.dims2()?;
        let (mean, variance) = (mean.to_vec1::<T>()?, variance.to_vec1::<T>()?);
        let weight_values = weight.to_vec1::<T>()?;
        let inverse: Vec<T> = variance.iter().map(|&v| T::ONE / Real::sqrt(v + T::of(self.eps))).collect();
        let (grad_x, sums) = with_slice::<T, _>(x, op, |x| {
            with_slice::<T, _>(grad, op, |grad| {
                let sums = blocked(rows, width, 2 * width, |range, out| {
                    add_products(&x[range.clone()], &grad[range], &mean, out);
                });
                let scale = T::of(1. / rows as f64);
                // dx = weight / σ · (g − mean(g) − (x − μ) / σ² · mean(g (x − μ)))
                let outer: Vec<T> = weight_values.iter().zip(&inverse).map(|(&w, &i)| w * i).collect();
                let level: Vec<T> = sums[..width].iter().map(|&s| s * scale).collect();
                let slope: Vec<T> = sums[width..].iter().zip(&inverse).map(|(&s, &i)| s * scale * i * i).collect();
                // SAFETY: every row is written whole.
                let grad_x = unsafe {
                    collect(rows, width, width, |first, out| {
                        let range = first * width..;
                        let arguments = x[range.clone()].chunks_exact(width).zip(grad[range].chunks_exact(width));
                        for (out, (x, grad)) in out.chunks_exact_mut(width.max(1)).zip(arguments) {
                            for (j, out) in out.iter_mut().enumerate() {
                                out.write(outer[j] * (grad[j] - level[j] - (x[j] - mean[j]) * slope[j]));
                            }
                        }
                    })
                };
                Ok((grad_x, sums))
            })
        })?;
        let (grad_bias, products) = sums.split_at(width);
        let grad_weight: Vec<T> = products.iter().zip(&inverse).map(|(&p, &i)| p * i).collect();
        Ok((
            Tensor::from_vec(grad_x, x.shape(), x.device())?,
            Tensor::from_vec(grad_weight, width, x.device())?,
            Tensor::from_slice(grad_bias, width, x.device())?,
        ))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let op = self.name();
        let out = dispatch_real!(x, op, T => {
            let (weight, bias) = (slice::<T>(weight, weight_layout, op)?, slice::<T>(bias, bias_layout, op)?);
            Ok(into_storage(self.run(slice::<T>(x, x_layout, op)?, weight, bias)?))
        })?;
        Ok((out, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        if crate::kernel::is_taped(grad) {
            return Err(candle_core::Error::BackwardNotSupported { op: self.name() });
        }
        let grad = contiguous(grad)?;
        let (grad_x, grad_weight, grad_bias) =
            dispatch_tensor!(x, self.name(), T => self.gradients::<T>(x, weight, &grad))?;
        Ok((
            x.track_op().then_some(grad_x),
            weight.track_op().then_some(grad_weight),
            bias.track_op().then_some(grad_bias),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;
    use candle_core::{DType, Device, Var};

    #[test]
    fn the_kernel_equals_its_composition_forward_and_backward() {
        // Large enough for several blocks, f64, so that only the order of additions differs.
        let mut rng = Rng::new(0);
        let mut normal = |shape: &[usize]| rng.normal(3., 1., shape, DType::F64, &Device::Cpu).unwrap();
        let inputs: Vec<Var> =
            [normal(&[5000, 37]), normal(&[37]), normal(&[37])].iter().map(|t| Var::from_tensor(t).unwrap()).collect();
        let seed = normal(&[5000, 37]);
        type Normalise = fn(&Tensor, &Tensor, &Tensor, f64) -> Result<(Tensor, BatchStatistics)>;
        let run = |f: Normalise| {
            let (y, statistics) = f(&inputs[0], &inputs[1], &inputs[2], 1e-5).unwrap();
            let grads = (&y * &seed).unwrap().sum_all().unwrap().backward().unwrap();
            let mut all = vec![y.detach(), statistics.mean, statistics.biased_variance];
            all.extend(inputs.iter().map(|v| grads.get(v).unwrap().clone()));
            all
        };
        for (a, b) in run(batch_norm_train).iter().zip(&run(composed)) {
            let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(difference.to_scalar::<f64>().unwrap() < 1e-9);
        }
    }
}
