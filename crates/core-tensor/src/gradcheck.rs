//! Gradients compared with finite differences, for tests of differentiable operations.

use crate::{Error, Result, ops};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};

/// The settings of [`gradcheck_with`]. The defaults suit smooth functions of f64 values around 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradcheckConfig {
    /// Step `h` of the central differences; 1e-5. Their error is about `h² + 1e-16 / h`: truncation and rounding.
    pub step: f64,
    /// Accepted absolute difference; 1e-7.
    pub absolute_tolerance: f64,
    /// Accepted difference as a fraction of the larger of both gradients, in addition; 1e-6.
    pub relative_tolerance: f64,
}

impl Default for GradcheckConfig {
    fn default() -> Self {
        Self { step: 1e-5, absolute_tolerance: 1e-7, relative_tolerance: 1e-6 }
    }
}

/// Compares the gradients of `f` by backpropagation with central differences, for every element of every input.
///
/// The output is reduced to a scalar with fixed, uneven weights, which detects an operation that ignores the gradient of its output. `f` must be deterministic, and
/// smooth near the inputs: keep them away from kinks and ties. `f` is called with variables and with results of operations, which Candle treats differently.
///
/// # Errors
///
/// At the first element whose gradients differ, when an input is not f64, and when `f` fails.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// use core_tensor::gradcheck::gradcheck;
/// let x = Tensor::new(&[0.3f64, -1.2], &Device::Cpu)?;
/// gradcheck(|inputs| Ok(inputs[0].sin()?), &[x])?;
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn gradcheck(f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) -> Result<()> {
    gradcheck_with(f, inputs, GradcheckConfig::default())
}

/// [`gradcheck`] with other settings than the defaults.
///
/// # Errors
///
/// As for [`gradcheck`].
pub fn gradcheck_with(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    config: GradcheckConfig,
) -> Result<()> {
    for input in inputs {
        if input.dtype() != DType::F64 {
            return Err(Error::DType { operation: "gradcheck", what: "an input", got: input.dtype(), expected: "f64" });
        }
    }
    let plain: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
    let weights = uneven_weights(&f(&plain)?)?;
    let value = |inputs: &[Tensor]| -> Result<f64> { Ok((f(inputs)? * &weights)?.sum_all()?.to_scalar::<f64>()?) };

    let vars: Vec<Var> = inputs.iter().map(|input| Ok(Var::from_tensor(&input.detach())?)).collect::<Result<_>>()?;
    let leaves: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let computed: Vec<Tensor> = vars.iter().map(|var| Ok(var.affine(1., 0.)?)).collect::<Result<_>>()?;
    let numeric = differences(&value, inputs, config.step)?;
    for arguments in [&leaves, &computed] {
        let grads = backward_both(&ops::sum_all(&ops::mul(&f(arguments)?, &weights)?)?)?;
        for (input, (var, numeric)) in vars.iter().zip(&numeric).enumerate() {
            let analytic = match grads.get(var) {
                Some(grad) => grad.flatten_all()?.to_vec1::<f64>()?,
                None => vec![0.; numeric.len()],
            };
            compare(input, &analytic, numeric, config)?;
        }
    }
    Ok(())
}

/// The gradients of a loss by [`crate::backward`], after a comparison with those of Candle's own pass: for tests of models.
///
/// # Errors
///
/// When the gradient of a variable differs by more than 1e-12 (f64) or 1e-5 (f32) of the largest number in all of them, or is missing on one side and not zero on the other; the errors of both passes.
pub fn backward_both(loss: &Tensor) -> Result<GradStore> {
    let (ours, candles) = (crate::backward(loss)?, loss.backward()?);
    let variables: Vec<&Tensor> = loss.sorted_nodes().into_iter().filter(|node| node.is_variable()).collect();
    let values = |grads: &GradStore, variable: &Tensor| -> Result<Vec<f64>> {
        match grads.get(variable) {
            Some(gradient) => Ok(gradient.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?),
            None => Ok(vec![0.; variable.elem_count()]),
        }
    };
    let mut largest = 0f64;
    for variable in &variables {
        largest = values(&candles, variable)?.iter().fold(largest, |largest, value| largest.max(value.abs()));
    }
    for (input, variable) in variables.into_iter().enumerate() {
        let (ours, candles) = (values(&ours, variable)?, values(&candles, variable)?);
        let tolerance = if variable.dtype() == DType::F64 { 1e-12 } else { 1e-5 };
        let config = GradcheckConfig { absolute_tolerance: tolerance * largest, relative_tolerance: 0., step: 0. };
        let both_nan = |(a, b): (&f64, &f64)| a.is_nan() && b.is_nan();
        if !ours.iter().zip(&candles).any(both_nan) {
            compare(input, &ours, &candles, config)?;
        }
    }
    Ok(ours)
}

/// Irregular weights between 0.5 and 1.5.
fn uneven_weights(like: &Tensor) -> Result<Tensor> {
    let weights: Vec<f64> = (0..like.elem_count()).map(|i| 1. + 0.5 * (1.7 * i as f64 + 0.3).sin()).collect();
    Ok(Tensor::from_vec(weights, like.shape(), like.device())?)
}

fn differences(value: &impl Fn(&[Tensor]) -> Result<f64>, inputs: &[Tensor], step: f64) -> Result<Vec<Vec<f64>>> {
    let mut all = Vec::with_capacity(inputs.len());
    for (which, input) in inputs.iter().enumerate() {
        let original = input.flatten_all()?.to_vec1::<f64>()?;
        let at = |position: usize, offset: f64| -> Result<f64> {
            let mut moved = original.clone();
            moved[position] += offset;
            let mut arguments: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
            arguments[which] = Tensor::from_vec(moved, input.shape(), input.device())?;
            value(&arguments)
        };
        let numeric: Vec<f64> = (0..original.len())
            .map(|position| Ok((at(position, step)? - at(position, -step)?) / (2. * step)))
            .collect::<Result<_>>()?;
        all.push(numeric);
    }
    Ok(all)
}

fn compare(input: usize, analytic: &[f64], numeric: &[f64], config: GradcheckConfig) -> Result<()> {
    for (position, (&analytic, &numeric)) in analytic.iter().zip(numeric).enumerate() {
        let allowed = config.absolute_tolerance + config.relative_tolerance * analytic.abs().max(numeric.abs());
        // this form counts a NaN as a difference
        let agrees = (analytic - numeric).abs() <= allowed;
        if !agrees {
            return Err(Error::Gradient { input, position, analytic, numeric });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape};

    struct WrongGradient;

    impl CustomOp1 for WrongGradient {
        fn name(&self) -> &'static str {
            "wrong-gradient"
        }
        fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
            Ok((s.clone(), l.shape().clone()))
        }
        fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
            Ok(Some((grad * 1.001)?))
        }
    }

    #[test]
    fn a_gradient_that_is_off_by_a_thousandth_is_found() {
        let x = Tensor::new(&[0.5f64, 2.], &Device::Cpu).unwrap();
        let result = gradcheck(|x| Ok(x[0].apply_op1(WrongGradient)?), &[x]);
        assert!(matches!(result, Err(Error::Gradient { input: 0, position: 0, .. })));
    }

    #[test]
    fn a_missing_gradient_is_found() {
        let x = Tensor::new(&[0.5f64, 2.], &Device::Cpu).unwrap();
        assert!(gradcheck(|x| Ok(x[0].detach()), &[x]).is_err());
    }
}
