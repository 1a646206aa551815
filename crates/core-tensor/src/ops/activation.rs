//! Activation functions with PyTorch's derivatives.

use crate::Result;
use crate::kernel::{
    Real, collect, contiguous, dispatch_real, dispatch_tensor, into_storage, multiversion, slice, with_slice,
};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::mem::MaybeUninit;

/// `max(x, 0)`, with derivative 0 at 0 (Candle has 1 there).
///
/// # Errors
///
/// When `x` is not a float; so for the others.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    leaky_relu(x, 0.)
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
    // max(x, 0) + log(1 + e^{−|x|})
    Ok((x.relu()? + (x.abs()?.neg()?.exp()? + 1.)?.log()?)?)
}

/// `eˣ`.
///
/// # Errors
///
/// As for [`relu`].
pub fn exp(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { activate(x, Exp) } else { Ok(x.exp()?) }
}

#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl Function for Gelu {
    const NAME: &'static str = "gelu";
    const WORK: usize = 24;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        T::of(0.5) * x * (T::ONE + Real::erf(x * T::of(std::f64::consts::FRAC_1_SQRT_2)))
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        // Φ(x) + x φ(x)
        let distribution = T::of(0.5) * (T::ONE + Real::erf(x * T::of(std::f64::consts::FRAC_1_SQRT_2)));
        let density = T::of(0.398_942_280_401_432_7) * Real::exp(T::of(-0.5) * x * x);
        distribution + x * density
    }

    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        let distribution = x.affine(std::f64::consts::FRAC_1_SQRT_2, 0.)?.erf()?.affine(0.5, 0.5)?;
        let density = x.sqr()?.affine(-0.5, 0.)?.exp()?.affine(0.398_942_280_401_432_7, 0.)?;
        distribution + (x * density)?
    }
}

#[derive(Clone, Copy)]
struct GeluTanh;

impl Function for GeluTanh {
    const NAME: &'static str = "gelu-tanh";
    const WORK: usize = 20;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        let inner = T::of(0.797_884_560_802_865_4) * (x + T::of(0.044_715) * x * x * x);
        T::of(0.5) * x * (T::ONE + Real::tanh(inner))
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        let inner = T::of(0.797_884_560_802_865_4) * (x + T::of(0.044_715) * x * x * x);
        let slope = T::of(0.797_884_560_802_865_4) * (T::ONE + T::of(3. * 0.044_715) * x * x);
        let tanh = Real::tanh(inner);
        T::of(0.5) * (T::ONE + tanh + x * (T::ONE - tanh * tanh) * slope)
    }

    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        const ROOT: f64 = 0.797_884_560_802_865_4;
        let square = x.sqr()?;
        let tanh = (x * square.affine(ROOT * 0.044_715, ROOT)?)?.tanh()?;
        let slope = square.affine(3. * ROOT * 0.044_715, ROOT)?;
        ((x * tanh.sqr()?.affine(-1., 1.)?)? * slope)?.add(&tanh.affine(1., 1.)?)?.affine(0.5, 0.)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Silu;

impl Function for Silu {
    const NAME: &'static str = "silu";
    const WORK: usize = 16;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x / (T::ONE + Real::exp(-x))
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        let sigmoid = T::ONE / (T::ONE + Real::exp(-x));
        sigmoid * (T::ONE + x * (T::ONE - sigmoid))
    }

    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        let sigmoid = candle_nn::ops::sigmoid(x)?;
        &sigmoid * (x * sigmoid.affine(-1., 1.)?)?.affine(1., 1.)?
    }
}

#[derive(Clone, Copy)]
struct Softplus;

impl Function for Softplus {
    const NAME: &'static str = "softplus";
    const WORK: usize = 40;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        let positive = if x > T::ZERO { x } else { T::ZERO };
        // A NaN must not vanish in the comparison.
        if Real::is_nan(x) { x } else { positive + Real::ln(T::ONE + Real::exp(-Real::abs(x))) }
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        T::ONE / (T::ONE + Real::exp(-x))
    }

    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        candle_nn::ops::sigmoid(x)
    }
}

#[derive(Clone, Copy)]
struct Exp;

impl Function for Exp {
    const NAME: &'static str = "exp";
    const WORK: usize = 12;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::exp(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, y: T) -> T {
        y
    }

    fn derivative_tensor(self, _x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        Ok(y.clone())
    }
}

/// A function of one element, and its derivative in terms of the argument and the value.
pub(super) trait Function: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    /// The cost of an element in multiply-adds.
    const WORK: usize;
    fn value<T: Real>(self, x: T) -> T;
    fn derivative<T: Real>(self, x: T, y: T) -> T;
    /// The derivative as a tensor, for second derivatives, where that is meant to work.
    fn derivative_tensor(self, x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor>;
}

#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Function for Relu {
    const NAME: &'static str = "relu";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        LeakyRelu { negative_slope: 0. }.value(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, y: T) -> T {
        LeakyRelu { negative_slope: 0. }.derivative(x, y)
    }

    fn derivative_tensor(self, x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        LeakyRelu { negative_slope: 0. }.derivative_tensor(x, y)
    }
}

#[derive(Clone, Copy)]
struct LeakyRelu {
    negative_slope: f64,
}

impl Function for LeakyRelu {
    const NAME: &'static str = "leaky-relu";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        // A NaN takes the second branch and stays one.
        if x > T::ZERO { x } else { T::of(self.negative_slope) * x }
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        if x > T::ZERO { T::ONE } else { T::of(self.negative_slope) }
    }

    fn derivative_tensor(self, x: &Tensor, _y: &Tensor) -> candle_core::Result<Tensor> {
        x.gt(0.)?.to_dtype(x.dtype())?.affine(1. - self.negative_slope, self.negative_slope)
    }
}

#[derive(Clone, Copy)]
struct Elu {
    alpha: f64,
}

impl Function for Elu {
    const NAME: &'static str = "elu";
    const WORK: usize = 16;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        if x > T::ZERO { x } else { T::of(self.alpha) * Real::exp_m1(x) }
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, y: T) -> T {
        if x > T::ZERO { T::ONE } else { y + T::of(self.alpha) }
    }

    fn derivative_tensor(self, x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        x.gt(0.)?.where_cond(&x.ones_like()?, &(y + self.alpha)?)
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl Function for Sigmoid {
    const NAME: &'static str = "sigmoid";
    const WORK: usize = 16;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        T::ONE / (T::ONE + Real::exp(-x))
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, y: T) -> T {
        y * (T::ONE - y)
    }

    fn derivative_tensor(self, _x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        y * y.affine(-1., 1.)?
    }
}

#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl Function for Tanh {
    const NAME: &'static str = "tanh";
    const WORK: usize = 16;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::tanh(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, y: T) -> T {
        T::ONE - y * y
    }

    fn derivative_tensor(self, _x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
        y.sqr()?.affine(-1., 1.)
    }
}

multiversion! {
    /// Writes the values of the function at the first elements of `x`.
    fn apply<T, F: Function>(function: F, x: &[T], out: &mut [MaybeUninit<T>]) {
        for (out, &x) in out.iter_mut().zip(x) {
            out.write(function.value(x));
        }
    }
}

multiversion! {
    /// Writes `grad` times the derivative.
    fn chain<T, F: Function>(function: F, x: &[T], y: &[T], grad: &[T], out: &mut [MaybeUninit<T>]) {
        for (((out, &x), &y), &g) in out.iter_mut().zip(x).zip(y).zip(grad) {
            out.write(g * function.derivative(x, y));
        }
    }
}

fn activate<F: Function>(x: &Tensor, function: F) -> Result<Tensor> {
    Ok(contiguous(x)?.apply_op1(Activation { function })?)
}

struct Activation<F> {
    function: F,
}

impl<F: Function> Activation<F> {
    fn gradient<T: Real>(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> candle_core::Result<Tensor> {
        let function = self.function;
        let out = with_slice::<T, _>(x, F::NAME, |x| {
            with_slice::<T, _>(y, F::NAME, |y| {
                with_slice::<T, _>(grad, F::NAME, |grad| {
                    // SAFETY: every element of each piece is written.
                    Ok(unsafe {
                        collect(x.len(), 1, 1, |first, out| {
                            chain(function, &x[first..], &y[first..], &grad[first..], out);
                        })
                    })
                })
            })
        })?;
        Tensor::from_vec(out, x.shape(), x.device())
    }
}

impl<F: Function> CustomOp1 for Activation<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let function = self.function;
        let out = dispatch_real!(storage, F::NAME, T => {
            let x = slice::<T>(storage, layout, F::NAME)?;
            // SAFETY: every element of each piece is written.
            let out = unsafe {
                collect(x.len(), 1, F::WORK, |first, out| {
                    apply(function, &x[first..], out);
                })
            };
            Ok(into_storage(out))
        })?;
        Ok((out, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        if crate::kernel::is_taped(grad) {
            return Ok(Some((grad * self.function.derivative_tensor(x, y)?)?));
        }
        let grad = contiguous(grad)?;
        let out = dispatch_tensor!(x, F::NAME, T => self.gradient::<T>(x, y, &grad))?;
        Ok(Some(out))
    }
}
