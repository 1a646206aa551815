//! Activation functions with PyTorch's derivatives.

use super::gamma;
use crate::Result;
use crate::cpu::activation::{
    Absolute, Affine, Cosine, Digamma, Elu, Exp, Function, Gelu, GeluTanh, LeakyRelu, LogGamma, Logarithm,
    NormalDistribution, Relu, Sigmoid, Silu, Sine, Softplus, Square, SquareRoot, Tanh, Trigamma, constant_gradient,
    gradient, gradient_in_place, values,
};
use crate::kernel::{Real, contiguous, dispatch_real, dispatch_tensor, into_storage, is_taped, slice, with_slice};
use crate::tape::{self, Found, Gradient, Rule};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

/// `max(x, 0)`, with derivative 0 at 0 (Candle has 1 there).
///
/// # Errors
///
/// When `x` is not a float; so for the others.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return activate(x, Relu);
    }
    // A NaN stays one, and −∞ gives 0.
    Ok(x.le(0.)?.where_cond(&x.zeros_like()?, x)?)
}

/// `x` where `x > 0`, else `negative_slope · x`; the derivative at 0 is `negative_slope`.
///
/// # Errors
///
/// As for [`relu`].
pub fn leaky_relu(x: &Tensor, negative_slope: f64) -> Result<Tensor> {
    if x.device().is_cpu() {
        return activate(x, LeakyRelu { negative_slope });
    }
    let is_positive = x.gt(0.)?.to_dtype(x.dtype())?;
    Ok((x * is_positive.affine(1. - negative_slope, negative_slope)?)?)
}

/// `x` where `x > 0`, else `alpha · (eˣ − 1)`; 1 is the usual `alpha`.
///
/// # Errors
///
/// As for [`relu`].
pub fn elu(x: &Tensor, alpha: f64) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Elu { alpha }) } else { Ok(x.elu(alpha)?) }
}

/// `1 / (1 + e⁻ˣ)`.
///
/// # Errors
///
/// As for [`relu`].
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Sigmoid) } else { Ok(candle_nn::ops::sigmoid(x)?) }
}

/// The hyperbolic tangent.
///
/// # Errors
///
/// As for [`relu`].
pub fn tanh(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Tanh) } else { Ok(x.tanh()?) }
}

/// The sine.
///
/// # Errors
///
/// As for [`relu`].
pub fn sin(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Sine) } else { Ok(x.sin()?) }
}

/// `log |Γ(x)|`; infinite at 0 and the negative integers. The derivative is [`digamma`].
///
/// Exact to 1e-12 in f64 for `1e-3 ≤ x ≤ 1e3` (absolute near the zeros 1 and 2), to rounding in f32. On other devices than the CPU a composition of Candle's operations, for positive `x` only.
///
/// # Errors
///
/// As for [`relu`].
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 4., 0.5], &Device::Cpu)?;
/// let y = core_tensor::ops::lgamma(&x)?.to_vec1::<f64>()?;
/// assert!(y[0].abs() < 1e-14 && (y[1] - 6f64.ln()).abs() < 1e-14 && (y[2] - 0.5 * std::f64::consts::PI.ln()).abs() < 1e-14);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn lgamma(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, LogGamma) } else { Ok(gamma::lgamma(x)?) }
}

/// `ψ(x) = d log Γ(x) / dx`; not a number at negative integers. The derivative is [`trigamma`]. As exact as [`lgamma`].
///
/// # Errors
///
/// As for [`relu`].
pub fn digamma(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Digamma) } else { Ok(gamma::digamma(x)?) }
}

/// `ψ₁(x) = dψ(x) / dx`; infinite at 0 and the negative integers. It has a derivative, but no second one. As exact as [`lgamma`].
///
/// # Errors
///
/// As for [`relu`].
pub fn trigamma(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Trigamma) } else { Ok(gamma::trigamma(x)?) }
}

/// The cosine.
///
/// # Errors
///
/// As for [`relu`].
pub fn cos(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Cosine) } else { Ok(x.cos()?) }
}

/// `x · Φ(x)` with the distribution function `Φ` of the standard normal: the GELU of PyTorch's default.
///
/// # Errors
///
/// As for [`relu`].
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Gelu) } else { Ok(x.gelu_erf()?) }
}

/// `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`: PyTorch's GELU with `approximate="tanh"`.
///
/// # Errors
///
/// As for [`relu`].
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, GeluTanh) } else { Ok(x.gelu()?) }
}

/// `x / (1 + e⁻ˣ)`, also called swish.
///
/// # Errors
///
/// As for [`relu`].
pub fn silu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Silu) } else { Ok(x.silu()?) }
}

/// `log(1 + eˣ)`, computed without overflow.
///
/// # Errors
///
/// As for [`relu`].
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return activate(x, Softplus);
    }
    Ok((x.relu()? + log_one_plus(&x.abs()?.neg()?.exp()?)?)?)
}

/// `log(1 + e)` for `0 ≤ e ≤ 1` of operations that Candle has everywhere: by its series where the sum would lose the digits of `e`.
pub(crate) fn log_one_plus(e: &Tensor) -> candle_core::Result<Tensor> {
    const TERMS: i32 = 8;
    // e − e²/2 + e³/3 − …, by Horner's scheme
    let coefficient = |k: i32| (if k % 2 == 0 { -1. } else { 1. }) / f64::from(k);
    let mut series = e.affine(coefficient(TERMS), coefficient(TERMS - 1))?;
    for k in (1..TERMS - 1).rev() {
        series = (series * e)?.affine(1., coefficient(k))?;
    }
    e.lt(0.1)?.where_cond(&(series * e)?, &e.affine(1., 1.)?.log()?)
}

/// `eˣ`.
///
/// # Errors
///
/// As for [`relu`].
pub fn exp(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Exp) } else { Ok(x.exp()?) }
}

/// A function with a derivative of operations that have derivatives themselves, for second derivatives.
pub(super) trait Differentiable: Function {
    /// The derivative in terms of the argument and the value.
    fn derivative_tensor(self, x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor>;
}

impl Differentiable for Gelu {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        activate(x, NormalDistribution)? + (x * NormalDistribution.derivative_tensor(x, x)?)?
    }
}

impl Differentiable for NormalDistribution {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.sqr()?.affine(-0.5, 0.)?.exp()?.affine(0.398_942_280_401_432_7, 0.)
    }
}

impl Differentiable for GeluTanh {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        const ROOT: f64 = 0.797_884_560_802_865_4;
        let square = x.sqr()?;
        let tanh = (x * square.affine(ROOT * 0.044_715, ROOT)?)?.tanh()?;
        let slope = square.affine(3. * ROOT * 0.044_715, ROOT)?;
        ((x * tanh.sqr()?.affine(-1., 1.)?)? * slope)?.add(&tanh.affine(1., 1.)?)?.affine(0.5, 0.)
    }
}

impl Differentiable for Silu {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        let sigmoid = candle_nn::ops::sigmoid(x)?;
        &sigmoid * (x * sigmoid.affine(-1., 1.)?)?.affine(1., 1.)?
    }
}

impl Differentiable for Softplus {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        candle_nn::ops::sigmoid(x)
    }
}

impl Differentiable for Exp {
    fn derivative_tensor(self, _x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        Ok(y.clone())
    }
}

impl Differentiable for Sine {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.cos()
    }
}

impl Differentiable for Cosine {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.sin()?.neg()
    }
}

impl Differentiable for LogGamma {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        Ok(activate(x, Digamma)?)
    }
}

impl Differentiable for Digamma {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        Ok(activate(x, Trigamma)?)
    }
}

impl Differentiable for Trigamma {
    fn derivative_tensor(self, _x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        Err(candle_core::Error::BackwardNotSupported { op: Self::NAME })
    }
}

impl Differentiable for Relu {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.gt(0.)?.to_dtype(x.dtype())
    }
}

impl Differentiable for LeakyRelu {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.gt(0.)?.to_dtype(x.dtype())?.affine(1. - self.negative_slope, self.negative_slope)
    }
}

impl Differentiable for Elu {
    fn derivative_tensor(self, x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        x.gt(0.)?.where_cond(&x.ones_like()?, &(y + self.alpha)?)
    }
}

impl Differentiable for Sigmoid {
    fn derivative_tensor(self, _x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        y * y.affine(-1., 1.)?
    }
}

impl Differentiable for Tanh {
    fn derivative_tensor(self, _x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        y.sqr()?.affine(-1., 1.)
    }
}

pub(super) fn activate<F: Differentiable>(x: &Tensor, function: F) -> Result<Tensor> {
    Ok(tape::apply1(&contiguous(x)?, Activation { function })?)
}

impl Differentiable for Affine {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.ones_like()?.affine(self.mul, 0.)
    }
}

impl Differentiable for Square {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.affine(2., 0.)
    }
}

impl Differentiable for SquareRoot {
    fn derivative_tensor(self, _x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        y.recip()?.affine(0.5, 0.)
    }
}

impl Differentiable for Logarithm {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.recip()
    }
}

impl Differentiable for Absolute {
    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.gt(0.)?.to_dtype(x.dtype())? - x.lt(0.)?.to_dtype(x.dtype())?
    }
}

struct Activation<F> {
    function: F,
}

impl<F: Differentiable> Rule for Activation<F> {
    fn gradients(&self, inputs: &[&Tensor], y: &Tensor, grad: Gradient, _: [bool; 3]) -> candle_core::Result<Found> {
        let function = self.function;
        dispatch_tensor!(y, F::NAME, T => {
            let out = with_slice::<T, _>(inputs[0], F::NAME, |x| with_slice::<T, _>(y, F::NAME, |y_values| match grad {
                Gradient::Number(number) => Ok(constant_gradient(function, x, y_values, T::of(number))),
                Gradient::Shared(grad) => {
                    with_slice::<T, _>(&grad.contiguous()?, F::NAME, |grad| Ok(gradient(function, x, y_values, grad)))
                }
                Gradient::Owned(_) => Ok(gradient_in_place(function, x, y_values, grad.into_vec::<T>(y)?)),
            }))?;
            Ok([Some(Gradient::Owned(into_storage(out))), None, None])
        })
    }
}

impl<F: Differentiable> CustomOp1 for Activation<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = dispatch_real!(storage, F::NAME, T => {
            Ok(into_storage(values(self.function, slice::<T>(storage, layout, F::NAME)?)))
        })?;
        Ok((out, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        if is_taped(grad) {
            return Ok(Some((grad * self.function.derivative_tensor(x, y)?)?));
        }
        let grad = contiguous(grad)?;
        let out = dispatch_tensor!(x, F::NAME, T => {
            let out = with_slice::<T, _>(x, F::NAME, |x| {
                with_slice::<T, _>(y, F::NAME, |y| {
                    with_slice::<T, _>(&grad, F::NAME, |grad| Ok(gradient(self.function, x, y, grad)))
                })
            })?;
            Tensor::from_vec(out, x.shape(), x.device())
        })?;
        Ok(Some(out))
    }
}
