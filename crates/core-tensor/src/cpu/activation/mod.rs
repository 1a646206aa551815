//! Functions of one element, with PyTorch's derivatives.

mod functions;
mod special;

pub(crate) use functions::{
    Absolute, Affine, Elu, Exp, Gelu, GeluTanh, LeakyRelu, Logarithm, NormalDistribution, Relu, Sigmoid, Silu,
    Softplus, Square, SquareRoot, Tanh,
};
pub(crate) use special::{Cosine, Digamma, LogGamma, Sine, Trigamma};

use crate::kernel::{Real, collect, for_slices, multiversion};
use std::mem::MaybeUninit;

/// A function of one element, and its derivative in terms of the argument and the value.
pub(crate) trait Function: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    /// The cost of an element in multiply-adds.
    const WORK: usize;
    fn value<T: Real>(self, x: T) -> T;
    fn derivative<T: Real>(self, x: T, y: T) -> T;
    /// Whether there are arguments for which [`Function::value`] and [`Function::derivative`] are not right: those for which [`Function::beyond`] gives something.
    const HAS_LIMITS: bool = false;
    /// The value and the derivative beyond the limits.
    fn beyond(self, x: f64) -> Option<[f64; 2]> {
        let _ = x;
        None
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
    if F::HAS_LIMITS {
        for (at, x) in x.iter().enumerate() {
            if let Some(found) = function.beyond(x.to_f64()) {
                mend(at, found.map(T::of));
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
    if F::HAS_LIMITS {
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
