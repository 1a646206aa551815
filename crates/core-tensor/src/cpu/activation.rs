//! Functions of one element, with PyTorch's derivatives.

use crate::kernel::{Real, collect, for_slices, multiversion};
use std::mem::MaybeUninit;

/// A function of one element, and its derivative in terms of the argument and the value.
pub(crate) trait Function: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    /// The cost of an element in multiply-adds.
    const WORK: usize;
    fn value<T: Real>(self, x: T) -> T;
    fn derivative<T: Real>(self, x: T, y: T) -> T;
    /// The magnitude up to which [`Function::value`] and [`Function::derivative`] are right, if there is one; from there on [`Function::beyond`] holds.
    const LARGEST: Option<f64> = None;
    /// The value and the derivative of large arguments.
    fn beyond(self, x: f64) -> [f64; 2] {
        [x, 1.]
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Gelu;

impl Function for Gelu {
    const NAME: &'static str = "gelu";
    const WORK: usize = 24;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * x.near_normal().0
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        let (distribution, density) = x.near_normal();
        x.mul_add(density, distribution)
    }
}

/// The distribution function of the standard normal.
#[derive(Clone, Copy)]
pub(crate) struct NormalDistribution;

impl Function for NormalDistribution {
    const NAME: &'static str = "normal-distribution";
    const WORK: usize = 24;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x.normal().0
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        x.normal().1
    }
}

#[derive(Clone, Copy)]
pub(crate) struct GeluTanh;

impl Function for GeluTanh {
    const NAME: &'static str = "gelu-tanh";
    const WORK: usize = 20;

    // With ½ (1 + tanh u) = σ(2u), where no digits cancel.
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        let twice = T::of(2. * 0.797_884_560_802_865_4) * x * T::of(0.044_715).mul_add(x * x, T::ONE);
        x * twice.sigmoid()
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        let twice = T::of(2. * 0.797_884_560_802_865_4) * x * T::of(0.044_715).mul_add(x * x, T::ONE);
        let slope = T::of(2. * 0.797_884_560_802_865_4) * T::of(3. * 0.044_715).mul_add(x * x, T::ONE);
        let power = Real::exp(-Real::abs(twice));
        let larger = T::ONE / (T::ONE + power);
        let (sigmoid, rest) = if twice > T::ZERO { (larger, larger * power) } else { (larger * power, larger) };
        // Far from 0 the slope is large and one of the factors 0.
        let bend = if power > T::ZERO { x * rest * slope } else { T::ZERO };
        sigmoid * (T::ONE + bend)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Function for Silu {
    const NAME: &'static str = "silu";
    const WORK: usize = 16;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * x.sigmoid()
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        let sigmoid = x.sigmoid();
        sigmoid * x.mul_add(T::ONE - sigmoid, T::ONE)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Softplus;

impl Function for Softplus {
    const NAME: &'static str = "softplus";
    const WORK: usize = 40;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x.softplus()
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        x.sigmoid()
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
        // A NaN stays one, and −∞ gives 0.
        if x <= T::ZERO { T::ZERO } else { x }
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        if x > T::ZERO { T::ONE } else { T::ZERO }
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
        x.sigmoid()
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
        (-y).mul_add(y, T::ONE)
    }
}

/// `mul · x + add`.
#[derive(Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) mul: f64,
    pub(crate) add: f64,
}

impl Function for Affine {
    const NAME: &'static str = "affine";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x.mul_add(T::of(self.mul), T::of(self.add))
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, _y: T) -> T {
        T::of(self.mul)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Square;

impl Function for Square {
    const NAME: &'static str = "sqr";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * x
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        x + x
    }
}

#[derive(Clone, Copy)]
pub(crate) struct SquareRoot;

impl Function for SquareRoot {
    const NAME: &'static str = "sqrt";
    const WORK: usize = 8;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::sqrt(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, y: T) -> T {
        T::of(0.5) / y
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Logarithm;

impl Function for Logarithm {
    const NAME: &'static str = "ln";
    const WORK: usize = 40;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::ln(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        T::ONE / x
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Absolute;

impl Function for Absolute {
    const NAME: &'static str = "abs";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::abs(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        if x > T::ZERO {
            T::ONE
        } else if x < T::ZERO {
            -T::ONE
        } else {
            T::ZERO
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sine;

impl Function for Sine {
    const NAME: &'static str = "sin";
    const WORK: usize = 32;
    const LARGEST: Option<f64> = Some(LARGEST_ANGLE);

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::sin(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        Real::cos(x)
    }

    fn beyond(self, x: f64) -> [f64; 2] {
        [x.sin(), x.cos()]
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Cosine;

impl Function for Cosine {
    const NAME: &'static str = "cos";
    const WORK: usize = 32;
    const LARGEST: Option<f64> = Some(LARGEST_ANGLE);

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::cos(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        -Real::sin(x)
    }

    fn beyond(self, x: f64) -> [f64; 2] {
        [x.cos(), -x.sin()]
    }
}

/// Where the vector forms of sine and cosine end: 2⁵⁰.
const LARGEST_ANGLE: f64 = 1_125_899_906_842_624.;

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
            out.write((g * function.derivative(x, y)).or_zero());
        }
    }
}

multiversion! {
    /// Multiplies `grad` with the derivative.
    fn chain_in_place<T, F: Function>(function: F, x: &[T], y: &[T], grad: &mut [T]) {
        for ((g, &x), &y) in grad.iter_mut().zip(x).zip(y) {
            *g = (*g * function.derivative(x, y)).or_zero();
        }
    }
}

multiversion! {
    /// Writes the derivative times a number.
    fn scaled_slopes<T, F: Function>(function: F, x: &[T], y: &[T], factor: T, out: &mut [MaybeUninit<T>]) {
        for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
            out.write((factor * function.derivative(x, y)).or_zero());
        }
    }
}

/// Calls `mend` with the place of each element for which `function` has no vector form, and its value and derivative.
fn for_large<T: Real, F: Function>(function: F, x: &[T], mut mend: impl FnMut(usize, [T; 2])) {
    if let Some(largest) = F::LARGEST {
        for (at, x) in x.iter().map(|x| x.to_f64()).enumerate() {
            if x.abs() >= largest {
                mend(at, function.beyond(x).map(T::of));
            }
        }
    }
}

/// The function of every element.
pub(crate) fn values<T: Real, F: Function>(function: F, x: &[T]) -> Vec<T> {
    // SAFETY: every element of each piece is written.
    unsafe {
        collect(x.len(), 1, F::WORK, |first, out| {
            let x = &x[first..first + out.len()];
            apply(function, x, out);
            for_large(function, x, |at, [value, _]| {
                out[at].write(value);
            });
        })
    }
}

/// As [`gradient`], in the buffer of `grad`.
pub(crate) fn gradient_in_place<T: Real, F: Function>(function: F, x: &[T], y: &[T], mut grad: Vec<T>) -> Vec<T> {
    if F::LARGEST.is_some() {
        return gradient(function, x, y, &grad);
    }
    for_slices(&mut grad, 1, F::WORK, &|first, grad| chain_in_place(function, &x[first..], &y[first..], grad));
    grad
}

/// `grad` times the derivative at every element; `y` are the values.
pub(crate) fn gradient<T: Real, F: Function>(function: F, x: &[T], y: &[T], grad: &[T]) -> Vec<T> {
    // SAFETY: every element of each piece is written.
    unsafe {
        collect(x.len(), 1, F::WORK, |first, out| {
            let (x, grad) = (&x[first..first + out.len()], &grad[first..]);
            chain(function, x, &y[first..], grad, out);
            for_large(function, x, |at, [_, slope]| {
                out[at].write(grad[at] * slope);
            });
        })
    }
}

/// The derivative at every element times a number.
pub(crate) fn constant_gradient<T: Real, F: Function>(function: F, x: &[T], y: &[T], factor: T) -> Vec<T> {
    // SAFETY: every element of each piece is written.
    unsafe {
        collect(x.len(), 1, F::WORK, |first, out| {
            let x = &x[first..first + out.len()];
            scaled_slopes(function, x, &y[first..], factor, out);
            for_large(function, x, |at, [_, slope]| {
                out[at].write(factor * slope);
            });
        })
    }
}

multiversion! {
    fn mask<T>(y: &[T], grad: &[T], out: &mut [MaybeUninit<T>]) {
        for ((out, &y), &g) in out.iter_mut().zip(y).zip(grad) {
            out.write(if y > T::ZERO { g } else { T::ZERO });
        }
    }
}

multiversion! {
    fn mask_in_place<T>(y: &[T], grad: &mut [T]) {
        for (g, &y) in grad.iter_mut().zip(y) {
            *g = if y > T::ZERO { *g } else { T::ZERO };
        }
    }
}

/// As [`masked`], in the buffer of `grad`.
pub(crate) fn masked_in_place<T: Real>(y: &[T], grad: &mut [T]) {
    for_slices(grad, 1, 1, &|first, grad| mask_in_place(&y[first..], grad));
}

/// The gradient where `y > 0`.
pub(crate) fn masked<T: Real>(y: &[T], grad: &[T]) -> Vec<T> {
    // SAFETY: every element is written.
    unsafe { collect(grad.len(), 1, 1, |first, out| mask(&y[first..], &grad[first..], out)) }
}
