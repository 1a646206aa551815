//! Bounds on gradients.

use crate::kernel::{dispatch_tensor, for_slices, multiversion, sum1, with_slice};
use crate::params::Parameters;
use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, WithDType};

/// Scales all gradients together so that their norm is at most `max_norm`, and returns the norm they had:
/// `g ← g · min(1, max_norm / (norm + 1e-6))` as in PyTorch.
///
/// # Errors
///
/// When the norm is not finite (PyTorch would silently make all gradients zero or NaN); the gradients are unchanged then. When
/// `max_norm` is negative or NaN.
pub fn clip_grad_norm(parameters: &Parameters, grads: &mut GradStore, max_norm: f64) -> Result<f64> {
    if max_norm.is_nan() || max_norm < 0. {
        let expected = "not negative";
        return Err(Error::Value { operation: "clip_grad_norm", what: "max_norm", got: max_norm, expected });
    }
    let mut squares = 0.;
    let found = parameters.found(grads);
    for &at in &found {
        if let Some(gradient) = grads.get(&parameters[at].1) {
            squares += sum_of_squares(gradient)?;
        }
    }
    let norm = squares.sqrt();
    if !norm.is_finite() {
        return Err(Error::Value {
            operation: "clip_grad_norm",
            what: "the norm of the gradients",
            got: norm,
            expected: "finite",
        });
    }
    let factor = max_norm / (norm + 1e-6);
    if factor < 1. {
        for at in found {
            let var = &parameters[at].1;
            if let Some(gradient) = grads.remove(var) {
                grads.insert(var, crate::ops::affine(&gradient.detach(), factor, 0.)?);
            }
        }
    }
    Ok(norm)
}

/// Moves every element of every gradient into `[−limit, limit]`. A NaN stays.
///
/// # Errors
///
/// When `limit` is negative or NaN.
pub fn clip_grad_value(parameters: &Parameters, grads: &mut GradStore, limit: f64) -> Result<()> {
    if limit.is_nan() || limit < 0. {
        return Err(Error::Value { operation: "clip_grad_value", what: "limit", got: limit, expected: "not negative" });
    }
    for at in parameters.found(grads) {
        let var = &parameters[at].1;
        if let Some(gradient) = grads.remove(var) {
            grads.insert(var, gradient.detach().clamp(-limit, limit)?);
        }
    }
    Ok(())
}

/// Elements whose squares are added up in their own type.
const BLOCK: usize = 4096;

multiversion! {
    fn block_squares<T>(values: &[T], sum: &mut f64) {
        *sum = sum1(values, |v| v * v).to_f64();
    }
}

fn sum_of_squares(gradient: &Tensor) -> Result<f64> {
    let gradient = gradient.detach();
    if !gradient.device().is_cpu() {
        return Ok(f64::from(gradient.sqr()?.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?));
    }
    let gradient = gradient.contiguous()?;
    let squares = dispatch_tensor!(gradient, "clip-grad-norm", T => {
        with_slice::<T, _>(&gradient, "clip-grad-norm", |values| {
            // Sums of a block in the type itself, of blocks in f64: no cancellation, and the same for every number of threads.
            let mut sums = vec![0f64; values.len().div_ceil(BLOCK)];
            for_slices(&mut sums, 1, BLOCK, &|first, sums| {
                for (sum, block) in sums.iter_mut().zip(values[first * BLOCK..].chunks(BLOCK)) {
                    block_squares(block, sum);
                }
            });
            // What overflows or vanishes as f32 need not as f64.
            if sums.iter().any(|sum| sum.is_infinite()) || sums.iter().sum::<f64>() < 1e-20 {
                return Ok(values.iter().map(|v| v.to_f64() * v.to_f64()).sum());
            }
            Ok(sums.iter().sum())
        })
    })?;
    Ok(squares)
}
