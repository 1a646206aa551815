//! The steps of recurrent layers.
//!
//! What the products with the inputs leave are, for each step, the product with the hidden state and a fused loop over the gates. Backward the steps run in reverse and the gradient of the
//! recurrent weights is one GEMM at the end.

use super::reduce::sum_rows;
use crate::kernel::{Gradients, Kernel, Matrix, Real, gemm, multiversion};
use std::sync::OnceLock;

#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) time: usize,
    pub(crate) batch: usize,
    pub(crate) hidden: usize,
}

/// Values of the forward pass that the backward pass needs, as f64 or f32 like the tensors themselves.
pub(crate) type Kept = OnceLock<(candle_core::CpuStorage, candle_core::CpuStorage)>;

fn keep<T: Real>(kept: &Kept, a: Vec<T>, b: Vec<T>) {
    let _ = kept.set((T::to_cpu_storage_owned(a), T::to_cpu_storage_owned(b)));
}

fn kept<'a, T: Real>(kept: &'a Kept, op: &'static str) -> candle_core::Result<(&'a [T], &'a [T])> {
    match kept.get() {
        Some((a, b)) => Ok((a.as_slice::<T>()?, b.as_slice::<T>()?)),
        None => Err(candle_core::Error::BackwardNotSupported { op }),
    }
}

pub(crate) struct Lstm {
    pub(crate) sizes: Sizes,
    /// The gates after their functions, and the states `c`, of all steps.
    pub(crate) kept: Kept,
}

multiversion! {
    /// One step for some rows of the batch: `gates` become their functions, `c` and `h` the new states.
    fn lstm_rows<T>(hidden: usize, previous: &[T], gates: &mut [T], c: &mut [T], h: &mut [T]) {
        let rows = gates.chunks_exact_mut(4 * hidden).zip(previous.chunks_exact(hidden));
        for ((gates, previous), (c, h)) in rows.zip(c.chunks_exact_mut(hidden).zip(h.chunks_exact_mut(hidden))) {
            let (i, rest) = gates.split_at_mut(hidden);
            let (f, rest) = rest.split_at_mut(hidden);
            let (g, o) = rest.split_at_mut(hidden);
            for i in i.iter_mut() {
                *i = i.sigmoid();
            }
            for f in f.iter_mut() {
                *f = f.sigmoid();
            }
            for g in g.iter_mut() {
                *g = Real::tanh(*g);
            }
            for o in o.iter_mut() {
                *o = o.sigmoid();
            }
            for ((((c, &previous), &i), &f), &g) in c.iter_mut().zip(previous).zip(&*i).zip(&*f).zip(&*g) {
                *c = f * previous + i * g;
            }
            for ((h, &c), &o) in h.iter_mut().zip(&*c).zip(&*o) {
                *h = o * Real::tanh(c);
            }
        }
    }
}

multiversion! {
    /// The gradients of the gates before their functions from those of `h` and `c`; `dc` becomes that of the previous `c`.
    fn lstm_gradient_rows<T>(hidden: usize, gates: &[T], previous: &[T], c: &[T], dh: &[T], dc: &mut [T], out: &mut [T]) {
        let rows = gates.chunks_exact(4 * hidden).zip(out.chunks_exact_mut(4 * hidden));
        for (row, (gates, out)) in rows.enumerate() {
            // Slices of one length, so that no place has to be checked.
            let start = row * hidden;
            let (previous, c, dh) = (&previous[start..][..hidden], &c[start..][..hidden], &dh[start..][..hidden]);
            let dc = &mut dc[start..][..hidden];
            let ((i, f), (g, o)) = (gates[..2 * hidden].split_at(hidden), gates[2 * hidden..].split_at(hidden));
            let (to_if, to_go) = out.split_at_mut(2 * hidden);
            let ((to_i, to_f), (to_g, to_o)) = (to_if.split_at_mut(hidden), to_go.split_at_mut(hidden));
            let (f, o, to_f, to_o) = (&f[..hidden], &o[..hidden], &mut to_f[..hidden], &mut to_o[..hidden]);
            for j in 0..hidden {
                let (i, f, g, o) = (i[j], f[j], g[j], o[j]);
                let tanh = Real::tanh(c[j]);
                let d = (dh[j] * o).mul_add((-tanh).mul_add(tanh, T::ONE), dc[j]);
                to_i[j] = (d * g * i * (T::ONE - i)).or_zero();
                to_f[j] = (d * previous[j] * f * (T::ONE - f)).or_zero();
                to_g[j] = (d * i * (-g).mul_add(g, T::ONE)).or_zero();
                to_o[j] = (dh[j] * tanh * o * (T::ONE - o)).or_zero();
                dc[j] = (d * f).or_zero();
            }
        }
    }
}

impl Kernel for Lstm {
    const NAME: &'static str = "lstm";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let Sizes { time, batch, hidden } = self.sizes;
        let state = batch * hidden;
        let (h0, c0) = x[2].split_at(state);
        let mut gates = x[0].to_vec();
        let mut out = vec![T::ZERO; (time + 1) * state];
        let mut cells = vec![T::ZERO; time * state];
        if state > 0 {
            for step in 0..time {
                let (before, now) = out.split_at_mut(step * state);
                let previous_h = if step == 0 { h0 } else { &before[(step - 1) * state..] };
                let gates = &mut gates[4 * step * state..4 * (step + 1) * state];
                let weight = Matrix::new(x[1], 4 * hidden, hidden).t();
                gemm(Matrix::new(previous_h, batch, hidden), weight, gates, true);
                let (before, cells) = cells.split_at_mut(step * state);
                let previous_c = if step == 0 { c0 } else { &before[(step - 1) * state..] };
                // Gates, and the pairs of states, belong to rows of the batch.
                let (c, h) = (&mut cells[..state], &mut now[..state]);
                lstm_rows(hidden, previous_c, gates, c, h);
            }
            out[time * state..].copy_from_slice(&cells[(time - 1) * state..]);
        }
        keep(&self.kept, gates, cells);
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (gates, cells) = kept::<T>(&self.kept, Self::NAME)?;
        let Sizes { time, batch, hidden } = self.sizes;
        let state = batch * hidden;
        let (h0, c0) = x[2].split_at(state);
        let mut grad_gates = vec![T::ZERO; x[0].len()];
        let mut grad_weight = vec![T::ZERO; x[1].len()];
        let mut first = vec![T::ZERO; 2 * state];
        if state == 0 {
            return Ok([Some(grad_gates), Some(grad_weight), Some(first)]);
        }
        let mut dc = grad[time * state..].to_vec();
        let mut dh = vec![T::ZERO; state];
        for step in (0..time).rev() {
            dh.iter_mut().zip(&grad[step * state..]).for_each(|(d, &g)| *d += g);
            let previous = if step == 0 { c0 } else { &cells[(step - 1) * state..step * state] };
            let range = 4 * step * state..4 * (step + 1) * state;
            let out = &mut grad_gates[range.clone()];
            let c = &cells[step * state..(step + 1) * state];
            lstm_gradient_rows(hidden, &gates[range], previous, c, &dh, &mut dc, out);
            gemm(Matrix::new(out, batch, 4 * hidden), Matrix::new(x[1], 4 * hidden, hidden), &mut dh, false);
        }
        if needs[1] {
            add_weight_gradient(self.sizes, 4, &grad_gates, h0, y, &mut grad_weight);
        }
        first[..state].copy_from_slice(&dh);
        first[state..].copy_from_slice(&dc);
        Ok([Some(grad_gates), Some(grad_weight), Some(first)])
    }
}

/// `Σ_t d_tᵀ h_{t−1}`, `[count · hidden, hidden]`.
fn add_weight_gradient<T: Real>(sizes: Sizes, count: usize, d: &[T], h0: &[T], h: &[T], out: &mut [T]) {
    let Sizes { time, batch, hidden } = sizes;
    let (state, width) = (batch * hidden, count * hidden);
    gemm(Matrix::new(&d[..batch * width], batch, width).t(), Matrix::new(h0, batch, hidden), out, false);
    if time > 1 {
        let rows = (time - 1) * batch;
        let (d, h) =
            (Matrix::new(&d[batch * width..], rows, width), Matrix::new(&h[..(time - 1) * state], rows, hidden));
        gemm(d.t(), h, out, true);
    }
}

pub(crate) struct Gru {
    pub(crate) sizes: Sizes,
    /// The gates after their functions, and `W_n h + b_n`, of all steps.
    pub(crate) kept: Kept,
}

multiversion! {
    /// One step: `gates` (those of the input) become their functions, `recurrent` are the products with the previous state.
    fn gru_rows<T>(hidden: usize, previous: &[T], recurrent: &[T], gates: &mut [T], inner: &mut [T], h: &mut [T]) {
        let rows = gates.chunks_exact_mut(3 * hidden).zip(recurrent.chunks_exact(3 * hidden));
        for (row, (gates, recurrent)) in rows.enumerate() {
            let range = row * hidden..(row + 1) * hidden;
            let (previous, inner, h) = (&previous[range.clone()], &mut inner[range.clone()], &mut h[range]);
            inner.copy_from_slice(&recurrent[2 * hidden..]);
            let (rz, n) = gates.split_at_mut(2 * hidden);
            for (gate, &u) in rz.iter_mut().zip(recurrent) {
                *gate = (*gate + u).sigmoid();
            }
            let (r, z) = rz.split_at(hidden);
            for ((n, &r), &u) in n.iter_mut().zip(r).zip(&*inner) {
                *n = Real::tanh(*n + r * u);
            }
            for (((h, &n), &z), &previous) in h.iter_mut().zip(&*n).zip(z).zip(previous) {
                *h = n + z * (previous - n);
            }
        }
    }
}

multiversion! {
    /// The gradients of the input's part of the gates into `out`, of the recurrent part into `recurrent`, and what reaches the previous state
    /// directly into `dh`.
    fn gru_gradient_rows<T>(hidden: usize, gates: &[T], inner: &[T], previous: &[T], dh: &mut [T], out: &mut [T], recurrent: &mut [T]) {
        for (row, gates) in gates.chunks_exact(3 * hidden).enumerate() {
            let (start, wide) = (row * hidden, row * 3 * hidden);
            let (inner, previous) = (&inner[start..][..hidden], &previous[start..][..hidden]);
            let dh = &mut dh[start..][..hidden];
            let (r, zn) = gates.split_at(hidden);
            let (z, n) = (&zn[..hidden], &zn[hidden..][..hidden]);
            let (to_r, rest) = out[wide..][..3 * hidden].split_at_mut(hidden);
            let (to_z, to_n) = rest.split_at_mut(hidden);
            let (of_r, rest) = recurrent[wide..][..3 * hidden].split_at_mut(hidden);
            let (of_z, of_n) = rest.split_at_mut(hidden);
            let (to_n, of_n) = (&mut to_n[..hidden], &mut of_n[..hidden]);
            for j in 0..hidden {
                let (r, z, n, d) = (r[j], z[j], n[j], dh[j]);
                let dn = (d * (T::ONE - z) * (-n).mul_add(n, T::ONE)).or_zero();
                let dr = (dn * inner[j] * r * (T::ONE - r)).or_zero();
                let dz = (d * (previous[j] - n) * z * (T::ONE - z)).or_zero();
                (to_r[j], to_z[j], to_n[j]) = (dr, dz, dn);
                (of_r[j], of_z[j], of_n[j]) = (dr, dz, (dn * r).or_zero());
                dh[j] = (d * z).or_zero();
            }
        }
    }
}

/// Inputs are the gates, the recurrent weights with their bias as a last column, and the first state.
impl Kernel for Gru {
    const NAME: &'static str = "gru";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let Sizes { time, batch, hidden } = self.sizes;
        let (state, width) = (batch * hidden, 3 * hidden);
        let mut gates = x[0].to_vec();
        let mut inner = vec![T::ZERO; time * state];
        let mut out = vec![T::ZERO; time * state];
        if state > 0 {
            let mut recurrent = vec![T::ZERO; batch * width];
            let weight = Matrix::strided(x[1], width, hidden, hidden + 1).t();
            for step in 0..time {
                let (before, now) = out.split_at_mut(step * state);
                let previous = if step == 0 { x[2] } else { &before[(step - 1) * state..] };
                for row in recurrent.chunks_exact_mut(width) {
                    row.iter_mut().zip(x[1].chunks_exact(hidden + 1)).for_each(|(r, w)| *r = w[hidden]);
                }
                gemm(Matrix::new(previous, batch, hidden), weight, &mut recurrent, true);
                let gates = &mut gates[step * batch * width..(step + 1) * batch * width];
                let inner = &mut inner[step * state..(step + 1) * state];
                gru_rows(hidden, previous, &recurrent, gates, inner, &mut now[..state]);
            }
        }
        keep(&self.kept, gates, inner);
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (gates, inner) = kept::<T>(&self.kept, Self::NAME)?;
        let Sizes { time, batch, hidden } = self.sizes;
        let (state, width) = (batch * hidden, 3 * hidden);
        let mut out = vec![T::ZERO; x[0].len()];
        let mut grad_weight = vec![T::ZERO; x[1].len()];
        let mut dh = vec![T::ZERO; state];
        if state == 0 {
            return Ok([Some(out), Some(grad_weight), Some(dh)]);
        }
        let mut recurrent = vec![T::ZERO; x[0].len()];
        let weight = Matrix::strided(x[1], width, hidden, hidden + 1);
        for step in (0..time).rev() {
            dh.iter_mut().zip(&grad[step * state..]).for_each(|(d, &g)| *d += g);
            let previous = if step == 0 { x[2] } else { &y[(step - 1) * state..step * state] };
            let (range, wide) = (step * state..(step + 1) * state, step * batch * width..(step + 1) * batch * width);
            let (out, recurrent) = (&mut out[wide.clone()], &mut recurrent[wide.clone()]);
            gru_gradient_rows(hidden, &gates[wide], &inner[range], previous, &mut dh, out, recurrent);
            gemm(Matrix::new(recurrent, batch, width), weight, &mut dh, true);
        }
        let mut plain = vec![T::ZERO; width * hidden];
        add_weight_gradient(self.sizes, 3, &recurrent, x[2], y, &mut plain);
        let bias = sum_rows(&recurrent, width);
        for ((out, row), b) in grad_weight.chunks_exact_mut(hidden + 1).zip(plain.chunks_exact(hidden)).zip(bias) {
            out[..hidden].copy_from_slice(row);
            out[hidden] = b;
        }
        Ok([Some(out), Some(grad_weight), Some(dh)])
    }
}
