//! Functions of one element, with PyTorch's derivatives.

use crate::kernel::{Real, collect, multiversion};
use std::mem::MaybeUninit;

/// A function of one element, and its derivative in terms of the argument and the value.
pub(crate) trait Function: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    /// The cost of an element in multiply-adds.
    const WORK: usize;
    fn value<T: Real>(self, x: T) -> T;
    fn derivative<T: Real>(self, x: T, y: T) -> T;
}

#[derive(Clone, Copy)]
pub(crate) struct Gelu;

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
}

#[derive(Clone, Copy)]
pub(crate) struct GeluTanh;

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
}

#[derive(Clone, Copy)]
pub(crate) struct Silu;

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
}

#[derive(Clone, Copy)]
pub(crate) struct Softplus;

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
}

#[derive(Clone, Copy)]
pub(crate) struct Exp;

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
}

#[derive(Clone, Copy)]
pub(crate) struct Relu;

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
}

#[derive(Clone, Copy)]
pub(crate) struct LeakyRelu {
    pub(crate) negative_slope: f64,
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
}

#[derive(Clone, Copy)]
pub(crate) struct Elu {
    pub(crate) alpha: f64,
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
}

#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

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
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh;

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

/// The function of every element.
pub(crate) fn values<T: Real, F: Function>(function: F, x: &[T]) -> Vec<T> {
    // SAFETY: every element of each piece is written.
    unsafe { collect(x.len(), 1, F::WORK, |first, out| apply(function, &x[first..], out)) }
}

/// `grad` times the derivative at every element; `y` are the values.
pub(crate) fn gradient<T: Real, F: Function>(function: F, x: &[T], y: &[T], grad: &[T]) -> Vec<T> {
    // SAFETY: every element of each piece is written.
    unsafe { collect(x.len(), 1, 1, |first, out| chain(function, &x[first..], &y[first..], &grad[first..], out)) }
}

multiversion! {
    fn mask<T>(y: &[T], grad: &[T], out: &mut [MaybeUninit<T>]) {
        for ((out, &y), &g) in out.iter_mut().zip(y).zip(grad) {
            out.write(if y > T::ZERO { g } else { T::ZERO });
        }
    }
}

/// The gradient where `y > 0`.
pub(crate) fn masked<T: Real>(y: &[T], grad: &[T]) -> Vec<T> {
    // SAFETY: every element is written.
    unsafe { collect(grad.len(), 1, 1, |first, out| mask(&y[first..], &grad[first..], out)) }
}
