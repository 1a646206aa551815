//! Chains of element-wise operations in one pass.

use super::activation::{Function, Silu, masked, masked_in_place};
use super::reduce::with_row_sums;
use crate::kernel::{Gradients, Kernel, Real, build, collect, for_slices2, multiversion};
use std::mem::MaybeUninit;

pub(crate) struct Biased<F> {
    pub(crate) function: F,
}

multiversion! {
    fn values<T, F: Function>(function: F, x: &[T], bias: &[T], out: &mut [MaybeUninit<T>]) {
        for (x, out) in x.chunks_exact(bias.len()).zip(out.chunks_exact_mut(bias.len())) {
            for ((out, &x), &b) in out.iter_mut().zip(x).zip(bias) {
                out.write(function.value(x + b));
            }
        }
    }
}

multiversion! {
    /// Multiplies `grad` with the derivatives, and adds its rows to `sums` if there are any.
    fn derivatives<T, F: Function>(function: F, x: &[T], bias: &[T], y: &[T], grad: &mut [T], sums: &mut [T]) {
        let width = bias.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact(width));
        for ((x, y), grad) in rows.zip(grad.chunks_exact_mut(width)) {
            for (((g, &x), &b), &y) in grad.iter_mut().zip(x).zip(bias).zip(y) {
                *g = (*g * function.derivative(x + b, y)).or_zero();
            }
            for (sum, &g) in sums.iter_mut().zip(&*grad) {
                *sum += g;
            }
        }
    }
}

impl<F: Function> Kernel for Biased<F> {
    const NAME: &'static str = F::NAME;

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (x, bias) = (x[0], x[1]);
        let width = bias.len();
        if width == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: every row is written whole.
        Ok(unsafe {
            collect(x.len() / width, width, width * F::WORK, |first, out| {
                values(self.function, &x[first * width..], bias, out);
            })
        })
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        self.backward_in_place(x, y, grad.to_vec(), needs)
    }

    fn backward_in_place<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        mut grad: Vec<T>,
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (x, bias) = (x[0], x[1]);
        let width = bias.len();
        if width == 0 {
            return Ok([Some(Vec::new()), Some(Vec::new()), None]);
        }
        let grad_bias = with_row_sums(&mut grad, width, needs[1], F::WORK, &|first, grad, sums| {
            derivatives(self.function, &x[first..], bias, &y[first..], grad, sums);
        });
        Ok([Some(grad), grad_bias, None])
    }
}

pub(crate) struct AddRelu;

multiversion! {
    fn add_relu_piece<T>(a: &[T], b: &[T], out: &mut [MaybeUninit<T>]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            let sum = a + b;
            // A NaN stays one.
            out.write(if sum <= T::ZERO { T::ZERO } else { sum });
        }
    }
}

impl Kernel for AddRelu {
    const NAME: &'static str = "add-relu";
    const IS_SHARED: bool = true;

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        // SAFETY: every element is written.
        Ok(unsafe { collect(x[0].len(), 1, 1, |first, out| add_relu_piece(&x[0][first..], &x[1][first..], out)) })
    }

    fn backward<T: Real>(
        &self,
        _x: &[&[T]],
        y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        Ok([Some(masked(y, grad)), None, None])
    }

    fn backward_in_place<T: Real>(
        &self,
        _x: &[&[T]],
        y: &[T],
        mut grad: Vec<T>,
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        masked_in_place(y, &mut grad);
        Ok([Some(grad), None, None])
    }
}

pub(crate) struct Swiglu;

multiversion! {
    fn swiglu_piece<T>(gate: &[T], x: &[T], out: &mut [MaybeUninit<T>]) {
        for ((out, &gate), &x) in out.iter_mut().zip(gate).zip(x) {
            out.write(Silu.value(gate) * x);
        }
    }
}

multiversion! {
    /// Turns `grad` into the gradient of `x`, and writes that of the gate.
    fn swiglu_gradients<T>(gate: &[T], x: &[T], grad: &mut [T], out: &mut [MaybeUninit<T>]) {
        for (((out, &gate), &x), g) in out.iter_mut().zip(gate).zip(x).zip(grad) {
            let sigmoid = gate.sigmoid();
            out.write((*g * x * sigmoid * gate.mul_add(T::ONE - sigmoid, T::ONE)).or_zero());
            *g = (*g * gate * sigmoid).or_zero();
        }
    }
}

impl Kernel for Swiglu {
    const NAME: &'static str = "swiglu";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        // SAFETY: every element is written.
        Ok(unsafe { collect(x[0].len(), 1, 16, |first, out| swiglu_piece(&x[0][first..], &x[1][first..], out)) })
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        self.backward_in_place(x, y, grad.to_vec(), needs)
    }

    fn backward_in_place<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        mut grad: Vec<T>,
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        // SAFETY: every element is written.
        let gate = unsafe {
            build(grad.len(), |out| {
                for_slices2((&mut grad, 1), (out, 1), 2 * Silu::WORK, &|first, grad, out| {
                    swiglu_gradients(&x[0][first..], &x[1][first..], grad, out);
                });
            })
        };
        Ok([Some(gate), Some(grad), None])
    }
}
