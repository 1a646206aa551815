//! Activation functions with PyTorch's derivatives.

use crate::Result;
use crate::cpu::{
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

/// A function of one element, and its derivative in terms of the argument and the value.
trait Function: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    /// The cost of an element in multiply-adds.
    const WORK: usize;
    fn value<T: Real>(self, x: T) -> T;
    fn derivative<T: Real>(self, x: T, y: T) -> T;
    /// The derivative as a tensor, for second derivatives, where that is meant to work.
    fn derivative_tensor(self, x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor>;
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
struct Tanh;

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
        if grad.track_op() {
            return Ok(Some((grad * self.function.derivative_tensor(x, y)?)?));
        }
        let grad = contiguous(grad)?;
        let out = dispatch_tensor!(x, F::NAME, T => self.gradient::<T>(x, y, &grad))?;
        Ok(Some(out))
    }
}
