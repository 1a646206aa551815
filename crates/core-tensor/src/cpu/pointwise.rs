//! Chains of element-wise operations in one pass.

use super::activation::{Function, Silu, masked};
use super::reduce::sum_rows;
use crate::kernel::{Gradients, Kernel, Real, collect, multiversion};
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
    fn derivatives<T, F: Function>(function: F, x: &[T], bias: &[T], y: &[T], grad: &[T], out: &mut [MaybeUninit<T>]) {
        let width = bias.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact(width)).zip(grad.chunks_exact(width));
        for (((x, y), grad), out) in rows.zip(out.chunks_exact_mut(width)) {
            for ((((out, &x), &b), &y), &g) in out.iter_mut().zip(x).zip(bias).zip(y).zip(grad) {
                out.write(g * function.derivative(x + b, y));
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
        let (x, bias) = (x[0], x[1]);
        let width = bias.len();
        if width == 0 {
            return Ok([Some(Vec::new()), Some(Vec::new()), None]);
        }
        // SAFETY: every row is written whole.
        let out = unsafe {
            collect(x.len() / width, width, width * F::WORK, |first, out| {
                let start = first * width;
                derivatives(self.function, &x[start..], bias, &y[start..], &grad[start..], out);
            })
        };
        let grad_bias = needs[1].then(|| sum_rows(&out, width));
        Ok([Some(out), grad_bias, None])
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

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        // SAFETY: every element is written.
        Ok(unsafe { collect(x[0].len(), 1, 1, |first, out| add_relu_piece(&x[0][first..], &x[1][first..], out)) })
    }

    fn backward<T: Real>(
        &self,
        _x: &[&[T]],
        y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let out = masked(y, grad);
        let both = needs[0] && needs[1];
        let copy = both.then(|| out.clone());
        Ok(if needs[0] { [Some(out), copy, None] } else { [None, Some(out), None] })
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
    fn swiglu_gate<T>(gate: &[T], x: &[T], grad: &[T], out: &mut [MaybeUninit<T>]) {
        for (((out, &gate), &x), &g) in out.iter_mut().zip(gate).zip(x).zip(grad) {
            out.write(g * x * Silu.derivative(gate, gate));
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
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let len = grad.len();
        // SAFETY: every element is written, here and below.
        let gate = needs[0].then(|| unsafe {
            collect(len, 1, 16, |first, out| swiglu_gate(&x[0][first..], &x[1][first..], &grad[first..], out))
        });
        let value = needs[1].then(|| {
            // SAFETY: as above.
            unsafe { collect(len, 1, 16, |first, out| swiglu_piece(&x[0][first..], &grad[first..], out)) }
        });
        Ok([gate, value, None])
    }
}
