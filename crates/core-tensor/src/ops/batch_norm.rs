//! Batch normalisation of feature vectors and of planes.

use crate::cpu::batch_norm::{PlaneNorm, RowsNorm, Statistics};
use crate::cpu::channel_affine::ChannelAffine;
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::Tensor;

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
            (Some(residual), false) => super::add(&y, residual),
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
    let statistics = Statistics::default();
    let kept = statistics.clone();
    let y = if plane == 1 {
        let op = RowsNorm { eps, statistics: kept };
        let y = apply(op, &[&x.reshape((count, channels))?, weight, bias], (count, channels))?.reshape(x.shape())?;
        epilogue.apply(y)?
    } else {
        let affine = ChannelAffine { channels, plane, has_relu: epilogue.has_relu };
        let op = PlaneNorm { affine, eps, statistics: kept };
        let numbers = super::stack(&[weight, bias], 0)?;
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
    let scale = super::div(weight, &(variance.detach() + eps)?.sqrt()?)?;
    let shift = super::sub(bias, &super::mul(&scale, &mean.detach())?)?;
    if plane == 1 && epilogue.is_empty() {
        let rows = x.reshape(((), channels))?;
        return Ok(super::bias_add(&super::mul(&rows, &scale)?, &shift)?.reshape(x.shape())?);
    }
    if x.device().is_cpu() {
        let op = ChannelAffine { channels, plane, has_relu: epilogue.has_relu };
        let numbers = super::stack(&[&scale, &shift], 0)?;
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
