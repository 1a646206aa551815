//! Losses.

use crate::cpu::loss;
use crate::kernel::{Real, contiguous, dispatch_real, dispatch_tensor, into_storage, is_taped, slice, with_slice};
use crate::tape::{self, Plain2};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp2, D, DType, Layout, Shape, Tensor};
use std::sync::OnceLock;

/// The mean over the rows of `−log softmax(logits)[target]`, a scalar: `logits` is `[n, classes]`, `targets` `[n]` of u32.
///
/// # Errors
///
/// When the shapes do not fit, `n` is zero, `targets` is not u32, or (on the CPU) a target is not below `classes`.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let logits = Tensor::zeros((2, 4), candle_core::DType::F32, &Device::Cpu)?;
/// let targets = Tensor::new(&[0u32, 3], &Device::Cpu)?;
/// let loss = core_tensor::ops::cross_entropy(&logits, &targets)?.to_scalar::<f32>()?;
/// assert!((loss - 4f32.ln()).abs() < 1e-6);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    check_targets("cross_entropy", "logits", logits, targets)?;
    if logits.device().is_cpu() {
        let op = CrossEntropy { is_mean: true, rows: OnceLock::new() };
        return Ok(tape::apply2(&contiguous(logits)?, &contiguous(targets)?, Plain2(op))?);
    }
    Ok(cross_entropy_each(logits, targets)?.mean_all()?)
}

/// [`cross_entropy`] of each row, `[n]`, for weighting and for sample selection. `n` may be zero.
///
/// # Errors
///
/// As for [`cross_entropy`].
pub fn cross_entropy_each(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    const OP: &str = "cross_entropy_each";
    if logits.dims().first() != Some(&0) {
        check_targets(OP, "logits", logits, targets)?;
    }
    if logits.device().is_cpu() {
        let op = CrossEntropy { is_mean: false, rows: OnceLock::new() };
        return Ok(tape::apply2(&contiguous(logits)?, &contiguous(targets)?, Plain2(op))?);
    }
    let picked = super::log_softmax(logits)?.gather(&targets.unsqueeze(1)?, 1)?;
    Ok(picked.squeeze(1)?.neg()?)
}

/// The mean over the rows of `−log_probabilities[target]`, a scalar: `log_probabilities` is `[n, classes]`, such as the
/// result of [`super::log_softmax`].
///
/// # Errors
///
/// As for [`cross_entropy`].
pub fn nll(log_probabilities: &Tensor, targets: &Tensor) -> Result<Tensor> {
    check_targets("nll", "log_probabilities", log_probabilities, targets)?;
    if targets.device().is_cpu() {
        check_range("nll", &targets.to_vec1::<u32>()?, log_probabilities.dims()[1])?;
    }
    let picked = log_probabilities.contiguous()?.gather(&targets.contiguous()?.unsqueeze(1)?, 1)?;
    Ok(picked.mean_all()?.neg()?)
}

/// The mean of `(prediction − target)²` over all elements, a scalar. Both have gradients.
///
/// # Errors
///
/// When the shapes or dtypes differ, or there are no elements.
pub fn mse(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    const OP: &str = "mse";
    if prediction.shape() != target.shape() {
        return Err(Error::shape(OP, "target", target.shape(), format!("{:?} like prediction", prediction.dims())));
    }
    if prediction.dtype() != target.dtype() {
        return Err(Error::DType {
            operation: OP,
            what: "target",
            got: target.dtype(),
            expected: "the dtype of prediction",
        });
    }
    if prediction.elem_count() == 0 {
        return Err(Error::shape(OP, "prediction", prediction.shape(), "at least one element"));
    }
    if prediction.device().is_cpu() {
        return Ok(tape::apply2(&contiguous(prediction)?, &contiguous(target)?, Plain2(MeanSquaredError))?);
    }
    Ok((prediction - target)?.sqr()?.mean_all()?)
}

fn check_targets(op: &'static str, what: &'static str, scores: &Tensor, targets: &Tensor) -> Result<()> {
    let &[rows, classes] = scores.dims() else {
        return Err(Error::shape(op, what, scores.shape(), "[n, classes]"));
    };
    if rows == 0 || classes == 0 {
        return Err(Error::shape(op, what, scores.shape(), "at least one row and one class"));
    }
    if targets.dims() != [rows] {
        return Err(Error::shape(op, "targets", targets.shape(), format!("[n = {rows}]")));
    }
    if targets.dtype() != DType::U32 {
        return Err(Error::DType { operation: op, what: "targets", got: targets.dtype(), expected: "u32" });
    }
    Ok(())
}

fn check_range(op: &'static str, targets: &[u32], classes: usize) -> Result<()> {
    match targets.iter().position(|&target| target as usize >= classes) {
        None => Ok(()),
        Some(position) => {
            let index = u64::from(targets[position]);
            Err(Error::OutOfRange { operation: op, what: "targets", position, index, bound: classes })
        }
    }
}

struct CrossEntropy {
    is_mean: bool,
    /// For the backward pass.
    rows: OnceLock<Vec<loss::LossRow>>,
}

impl CrossEntropy {
    fn run<T: Real>(&self, logits: &[T], targets: &[u32], classes: usize) -> candle_core::Result<(CpuStorage, Shape)> {
        check_range(self.name(), targets, classes)?;
        let rows = loss::cross_entropy_rows(logits, targets, classes);
        let result = if self.is_mean {
            let mean = rows.iter().map(|row| row.loss).sum::<f64>() / rows.len() as f64;
            (into_storage(vec![T::of(mean)]), Shape::from(()))
        } else {
            (into_storage(rows.iter().map(|row| T::of(row.loss)).collect()), Shape::from(rows.len()))
        };
        let _ = self.rows.set(rows);
        Ok(result)
    }

    fn gradient<T: Real>(&self, logits: &Tensor, targets: &Tensor, grad: &Tensor) -> candle_core::Result<Tensor> {
        let Some(loss_rows) = self.rows.get() else {
            return Err(candle_core::Error::BackwardNotSupported { op: self.name() });
        };
        let (rows, classes) = logits.dims2()?;
        let op = self.name();
        let out = with_slice::<T, _>(logits, op, |logits| {
            with_slice::<u32, _>(targets, op, |targets| {
                with_slice::<T, _>(grad, op, |grad| {
                    let mean = [grad.first().copied().unwrap_or(T::ZERO) * T::of(1. / rows as f64)];
                    let factors = if self.is_mean { &mean } else { grad };
                    Ok(loss::cross_entropy_gradient(logits, targets, loss_rows, factors, classes))
                })
            })
        })?;
        Tensor::from_vec(out, logits.shape(), logits.device())
    }
}

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let targets = slice::<u32>(targets, targets_layout, self.name())?;
        let classes = logits_layout.dims()[1];
        dispatch_real!(logits, self.name(), T => {
            self.run(slice::<T>(logits, logits_layout, self.name())?, targets, classes)
        })
    }

    fn bwd(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        if is_taped(grad) {
            // Second derivatives are wanted: (softmax − one-hot) · grad, of operations that have them.
            let probabilities = super::softmax(logits)?;
            let ones = Tensor::ones((targets.dims()[0], 1), logits.dtype(), logits.device())?;
            let hot = logits.zeros_like()?.detach().scatter_add(&targets.unsqueeze(1)?, &ones, D::Minus1)?;
            let factor = if self.is_mean {
                (grad / targets.dims()[0] as f64)?.broadcast_as(targets.shape())?
            } else {
                grad.clone()
            };
            return Ok((Some((probabilities - hot)?.broadcast_mul(&factor.unsqueeze(1)?)?), None));
        }
        let grad = contiguous(grad)?;
        Ok((Some(dispatch_tensor!(logits, self.name(), T => self.gradient::<T>(logits, targets, &grad))?), None))
    }
}

struct MeanSquaredError;

impl MeanSquaredError {
    /// `factor · grad · (a − b)`.
    fn gradient(a: &Tensor, b: &Tensor, grad: &Tensor, factor: f64) -> candle_core::Result<Tensor> {
        const OP: &str = "mse";
        dispatch_tensor!(a, OP, T => {
            let out = with_slice::<T, _>(a, OP, |a| with_slice::<T, _>(b, OP, |b| {
                let factor = grad.to_scalar::<T>()? * T::of(factor / a.len() as f64);
                Ok(loss::scaled_difference(a, b, factor))
            }))?;
            Tensor::from_vec(out, a.shape(), a.device())
        })
    }
}

impl CustomOp2 for MeanSquaredError {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let mean = dispatch_real!(a, "mse", T => {
            let mean = loss::mean_squared_error(slice::<T>(a, a_layout, "mse")?, slice::<T>(b, b_layout, "mse")?);
            Ok(into_storage(vec![mean]))
        })?;
        Ok((mean, Shape::from(())))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _mean: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        if is_taped(grad) {
            let grad_a = ((a - b)? * (2. / a.elem_count() as f64))?.broadcast_mul(grad)?;
            let grad_b = if b.track_op() { Some(grad_a.neg()?) } else { None };
            return Ok((a.track_op().then_some(grad_a), grad_b));
        }
        let grad_a = if a.track_op() { Some(Self::gradient(a, b, grad, 2.)?) } else { None };
        let grad_b = if b.track_op() { Some(Self::gradient(a, b, grad, -2.)?) } else { None };
        Ok((grad_a, grad_b))
    }
}
