//! Multi-scale gated tanh units over time and what surrounds them, as differentiable operations on `[rows, time, channels]`.

use candle_core::{Result, Tensor};
use core_tensor::kernel::{Gradients, Kernel, Real, apply, multiversion};
use rayon::prelude::*;

/// Rows for one task.
const ROWS: usize = 64;

struct Windows {
    time: usize,
    channels: usize,
    width: usize,
}

impl Windows {
    fn steps(&self) -> usize {
        self.time - self.width + 1
    }
}

impl Kernel for Windows {
    const NAME: &'static str = "windows over time";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let (row, window) = (self.time * self.channels, self.width * self.channels);
        let mut out = vec![T::ZERO; x[0].len() / row * self.steps() * window];
        out.par_chunks_mut(ROWS * self.steps() * window).zip(x[0].par_chunks(ROWS * row)).for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(self.steps() * window).zip(x.chunks_exact(row)) {
                for (t, out) in out.chunks_exact_mut(window).enumerate() {
                    out.copy_from_slice(&x[t * self.channels..t * self.channels + window]);
                }
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], _needs: [bool; 3]) -> Result<Gradients<T>> {
        let (row, window) = (self.time * self.channels, self.width * self.channels);
        let mut out = vec![T::ZERO; x[0].len()];
        out.par_chunks_mut(ROWS * row).zip(grad.par_chunks(ROWS * self.steps() * window)).for_each(|(out, grad)| {
            for (out, grad) in out.chunks_exact_mut(row).zip(grad.chunks_exact(self.steps() * window)) {
                for (t, grad) in grad.chunks_exact(window).enumerate() {
                    let out = &mut out[t * self.channels..t * self.channels + window];
                    out.iter_mut().zip(grad).for_each(|(out, &g)| *out += g);
                }
            }
        });
        Ok([Some(out), None, None])
    }
}

/// All windows of `width` steps of `x` `[rows, time, channels]`: `[rows · (time − width + 1), width · channels]`.
pub(super) fn windows(x: &Tensor, width: usize) -> Result<Tensor> {
    let (rows, time, channels) = x.dims3()?;
    let shape = (rows * (time - width + 1), width * channels);
    if !x.device().is_cpu() {
        return windows_composed(x, width);
    }
    Ok(apply(Windows { time, channels, width }, &[x], shape)?)
}

fn windows_composed(x: &Tensor, width: usize) -> Result<Tensor> {
    let (rows, time, channels) = x.dims3()?;
    let steps = time - width + 1;
    let parts = (0..width).map(|at| x.narrow(1, at, steps)).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&parts, 2)?.reshape((rows * steps, width * channels))
}

struct Gate {
    channels: usize,
    /// Steps of each of the three branches.
    steps: [usize; 3],
}

multiversion! {
    /// The units of one branch `x` `[steps, 2 · channels]` into `out` `[channels, all steps]` from the step `first` on.
    fn gate_branch<T>(channels: usize, x: &[T], out: &mut [T], first: usize, all: usize) {
        let mut row = vec![T::ZERO; channels];
        for (t, x) in x.chunks_exact(2 * channels).enumerate() {
            let (value, gate) = x.split_at(channels);
            row.iter_mut().zip(value).zip(gate).for_each(|((y, &a), &b)| {
                *y = Real::tanh(a) * b.sigmoid();
            });
            row.iter().enumerate().for_each(|(c, &y)| out[c * all + first + t] = y);
        }
    }
}

multiversion! {
    /// The gradient of one branch, in the shape of `x`, from `grad` `[channels, all steps]`.
    fn gate_branch_gradient<T>(channels: usize, x: &[T], grad: &[T], out: &mut [T], first: usize, all: usize) {
        let mut row = vec![T::ZERO; channels];
        for ((t, x), out) in x.chunks_exact(2 * channels).enumerate().zip(out.chunks_exact_mut(2 * channels)) {
            row.iter_mut().enumerate().for_each(|(c, g)| *g = grad[c * all + first + t]);
            let (value, gate) = x.split_at(channels);
            let (of_value, of_gate) = out.split_at_mut(channels);
            let outs = of_value.iter_mut().zip(of_gate);
            for (((of_a, of_b), (&a, &b)), &g) in outs.zip(value.iter().zip(gate)).zip(&row) {
                let (y, s) = (Real::tanh(a), b.sigmoid());
                *of_a = (g * s * (-y).mul_add(y, T::ONE)).or_zero();
                *of_b = (g * y * s * (T::ONE - s)).or_zero();
            }
        }
    }
}

impl Kernel for Gate {
    const NAME: &'static str = "gated units";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let (channels, all) = (self.channels, self.steps.iter().sum::<usize>());
        let rows = x[0].len() / (2 * channels * self.steps[0]);
        let mut out = vec![T::ZERO; rows * channels * all];
        out.par_chunks_mut(ROWS * channels * all).enumerate().for_each(|(part, out)| {
            for (at, out) in out.chunks_exact_mut(channels * all).enumerate() {
                let (row, mut first) = (part * ROWS + at, 0);
                for (x, steps) in x.iter().zip(self.steps) {
                    let x = &x[row * steps * 2 * channels..(row + 1) * steps * 2 * channels];
                    gate_branch(channels, x, out, first, all);
                    first += steps;
                }
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let (channels, all) = (self.channels, self.steps.iter().sum::<usize>());
        let mut gradients = [None, None, None];
        let mut first = 0;
        for (branch, steps) in self.steps.into_iter().enumerate() {
            let width = steps * 2 * channels;
            gradients[branch] = needs[branch].then(|| {
                let mut out = vec![T::ZERO; x[branch].len()];
                out.par_chunks_mut(ROWS * width)
                    .zip(x[branch].par_chunks(ROWS * width))
                    .zip(grad.par_chunks(ROWS * channels * all))
                    .for_each(|((out, x), grad)| {
                        let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
                        for ((out, x), grad) in rows.zip(grad.chunks_exact(channels * all)) {
                            gate_branch_gradient(channels, x, grad, out, first, all);
                        }
                    });
                out
            });
            first += steps;
        }
        Ok(gradients)
    }
}

/// `tanh(a) · σ(b)` of three branches `[rows, steps, 2 · channels]` (a and b side by side), one after the other in time: `[rows, channels, Σ steps]`.
pub(super) fn gate(branches: [&Tensor; 3]) -> Result<Tensor> {
    let (rows, _, wide) = branches[0].dims3()?;
    let steps = [branches[0].dims()[1], branches[1].dims()[1], branches[2].dims()[1]];
    if !branches[0].device().is_cpu() {
        return gate_composed(branches);
    }
    Ok(apply(Gate { channels: wide / 2, steps }, &branches, (rows, wide / 2, steps.iter().sum::<usize>()))?)
}

fn gate_composed(branches: [&Tensor; 3]) -> Result<Tensor> {
    let gated = |x: &Tensor| {
        let half = x.dims()[2] / 2;
        let (a, b) = (x.narrow(2, 0, half)?.contiguous()?, x.narrow(2, half, half)?.contiguous()?);
        (a.tanh()? * candle_nn::ops::sigmoid(&b)?)?.transpose(1, 2)
    };
    Tensor::cat(&branches.map(gated).into_iter().collect::<Result<Vec<_>>>()?, 2)?.contiguous()
}

struct Join {
    time: usize,
    channels: usize,
    has_signal: bool,
}

impl Join {
    /// Calls `f(position in [time, channels], position in [channels, time])`.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        for t in 0..self.time {
            for c in 0..self.channels {
                f(t * self.channels + c, c * self.time + t);
            }
        }
    }
}

fn positive<T: Real>(x: T) -> T {
    if x > T::ZERO || x.is_nan() { x } else { T::ZERO }
}

impl Kernel for Join {
    const NAME: &'static str = "residual of gated units";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let row = self.time * self.channels;
        let mut out = vec![T::ZERO; x[0].len()];
        out.par_chunks_mut(ROWS * row).enumerate().for_each(|(part, out)| {
            for (at, out) in out.chunks_exact_mut(row).enumerate() {
                let start = (part * ROWS + at) * row;
                let part = |input: usize| &x[input][start..start + row];
                let (mixed, residual) = (part(0), part(1));
                let signal = self.has_signal.then(|| part(2));
                self.each(|at, turned| {
                    let u = positive(mixed[turned] + signal.map_or(T::ZERO, |signal| signal[at]));
                    out[at] = positive(residual[at] + u);
                });
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], _needs: [bool; 3]) -> Result<Gradients<T>> {
        let row = self.time * self.channels;
        let (mut of_mixed, mut of_residual) = (vec![T::ZERO; grad.len()], vec![T::ZERO; grad.len()]);
        let mut of_signal = vec![T::ZERO; grad.len()];
        of_mixed
            .par_chunks_mut(row)
            .zip(of_residual.par_chunks_mut(row))
            .zip(of_signal.par_chunks_mut(row))
            .with_min_len(ROWS)
            .enumerate()
            .for_each(|(at, ((of_mixed, of_residual), of_signal))| {
                let part = |input: usize| &x[input][at * row..(at + 1) * row];
                let (mixed, residual, grad) = (part(0), part(1), &grad[at * row..(at + 1) * row]);
                let signal = self.has_signal.then(|| part(2));
                self.each(|at, turned| {
                    let inner = mixed[turned] + signal.map_or(T::ZERO, |signal| signal[at]);
                    let outer = if residual[at] + positive(inner) > T::ZERO { grad[at] } else { T::ZERO };
                    of_residual[at] = outer;
                    let inner = if inner > T::ZERO { outer } else { T::ZERO };
                    (of_mixed[turned], of_signal[at]) = (inner, inner);
                });
            });
        Ok([Some(of_mixed), Some(of_residual), self.has_signal.then_some(of_signal)])
    }
}

/// `relu(residual + relu(signal + mixed))` with `mixed` `[rows, channels, time]`, the others `[rows, time, channels]`.
pub(super) fn join(mixed: &Tensor, residual: &Tensor, signal: Option<&Tensor>) -> Result<Tensor> {
    let (_, time, channels) = residual.dims3()?;
    if !mixed.device().is_cpu() {
        return join_composed(mixed, residual, signal);
    }
    let op = Join { time, channels, has_signal: signal.is_some() };
    Ok(match signal {
        Some(signal) => apply(op, &[mixed, residual, signal], residual.shape())?,
        None => apply(op, &[mixed, residual], residual.shape())?,
    })
}

fn join_composed(mixed: &Tensor, residual: &Tensor, signal: Option<&Tensor>) -> Result<Tensor> {
    let mixed = mixed.transpose(1, 2)?.contiguous()?;
    let inner = match signal {
        Some(signal) => (mixed + signal)?,
        None => mixed,
    };
    Ok(core_tensor::ops::relu(&(residual + core_tensor::ops::relu(&inner)?)?)?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_equal;
    use super::*;
    use core_tensor::random::Rng;

    #[test]
    fn kernels_equal_their_compositions() {
        let mut rng = Rng::new(1);
        let mut normal =
            |shape: &[usize]| rng.normal(0., 1., shape, candle_core::DType::F64, &candle_core::Device::Cpu).unwrap();
        let x = normal(&[70, 8, 3]);
        assert_equal(&[x], |x| windows(&x[0], 5), |x| windows_composed(&x[0], 5));
        let branches = [normal(&[70, 6, 8]), normal(&[70, 4, 8]), normal(&[70, 2, 8])];
        assert_equal(&branches, |x| gate([&x[0], &x[1], &x[2]]), |x| gate_composed([&x[0], &x[1], &x[2]]));
        let (mixed, residual, signal) = (normal(&[70, 3, 5]), normal(&[70, 5, 3]), normal(&[70, 5, 3]));
        assert_equal(
            &[mixed.clone(), residual.clone(), signal],
            |x| join(&x[0], &x[1], Some(&x[2])),
            |x| join_composed(&x[0], &x[1], Some(&x[2])),
        );
        assert_equal(&[mixed, residual], |x| join(&x[0], &x[1], None), |x| join_composed(&x[0], &x[1], None));
    }
}
