//! Recurrent layers over whole sequences, each one operation of the tape.
//!
//! The products with the inputs of all time steps are one large GEMM outside; the steps are a kernel.

use crate::cpu::recurrent::{Gru, Lstm, Sizes};
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::{IndexOp, Tensor};
use std::sync::OnceLock;

/// The states of an LSTM with the gates `i, f, g, o` in PyTorch's order: `c ← σ(f) c + σ(i) tanh(g)`, `h ← σ(o) tanh(c)`.
///
/// `gates` are the products with the inputs, biases included, `[time, batch, 4 · hidden]`; `weight_hh` is `[4 · hidden, hidden]`, the first
/// states `h0` and `c0` `[batch, hidden]`. Returns the states `h` of all steps, `[time, batch, hidden]`, and the last `c`.
///
/// # Errors
///
/// When the shapes do not fit or the dtypes differ.
pub fn lstm(gates: &Tensor, weight_hh: &Tensor, h0: &Tensor, c0: &Tensor) -> Result<(Tensor, Tensor)> {
    const OP: &str = "lstm";
    let sizes = check(OP, gates, weight_hh, &[("h0", h0), ("c0", c0)], 4)?;
    let Sizes { time, batch, hidden } = sizes;
    if gates.device().is_cpu() && time > 0 {
        let first = super::stack(&[h0, c0], 0)?;
        let op = Lstm { sizes, kept: OnceLock::new() };
        let states = apply(op, &[gates, weight_hh, &first], (time + 1, batch, hidden))?;
        return Ok((states.narrow(0, 0, time)?, states.i(time)?));
    }
    let (mut h, mut c, mut all) = (h0.clone(), c0.clone(), Vec::with_capacity(time));
    let weight = weight_hh.t()?.contiguous()?;
    for step in 0..time {
        let sums = (gates.i(step)? + h.matmul(&weight)?)?;
        let gate = |n: usize| sums.narrow(1, n * hidden, hidden);
        let (i, f, g, o) =
            (super::sigmoid(&gate(0)?)?, super::sigmoid(&gate(1)?)?, gate(2)?.tanh()?, super::sigmoid(&gate(3)?)?);
        c = ((f * c)? + (i * g)?)?;
        h = (o * c.tanh()?)?;
        all.push(h.clone());
    }
    let h = if all.is_empty() { gates.narrow(2, 0, hidden)? } else { Tensor::stack(&all, 0)? };
    Ok((h, c))
}

/// The states of a GRU with the gates `r, z, n` in PyTorch's order: `n ← tanh(n_x + σ(r) (W_n h + bias_n))`,
/// `h ← (1 − σ(z)) n + σ(z) h`.
///
/// `gates` are the products with the inputs, `[time, batch, 3 · hidden]`, with their biases; `weight_hh` is `[3 · hidden, hidden]`,
/// `bias_hh` `[3 · hidden]`, the first state `h0` `[batch, hidden]`. Returns the states of all steps, `[time, batch, hidden]`.
///
/// # Errors
///
/// When the shapes do not fit or the dtypes differ.
pub fn gru(gates: &Tensor, weight_hh: &Tensor, bias_hh: &Tensor, h0: &Tensor) -> Result<Tensor> {
    const OP: &str = "gru";
    let sizes = check(OP, gates, weight_hh, &[("h0", h0)], 3)?;
    let Sizes { time, batch, hidden } = sizes;
    if bias_hh.dims() != [3 * hidden] {
        return Err(Error::shape(OP, "bias_hh", bias_hh.shape(), format!("[{}]", 3 * hidden)));
    }
    if bias_hh.dtype() != gates.dtype() {
        return Err(Error::DType {
            operation: OP,
            what: "bias_hh",
            got: bias_hh.dtype(),
            expected: "the dtype of gates",
        });
    }
    if gates.device().is_cpu() && time > 0 {
        let weight = super::cat(&[weight_hh, &bias_hh.unsqueeze(1)?], 1)?;
        let op = Gru { sizes, kept: OnceLock::new() };
        return apply(op, &[gates, &weight, h0], (time, batch, hidden));
    }
    let (mut h, mut all) = (h0.clone(), Vec::with_capacity(time));
    let weight = weight_hh.t()?.contiguous()?;
    for step in 0..time {
        let (x, recurrent) = (gates.i(step)?, h.matmul(&weight)?.broadcast_add(bias_hh)?);
        let gate = |t: &Tensor, n: usize| t.narrow(1, n * hidden, hidden);
        let r = super::sigmoid(&(gate(&x, 0)? + gate(&recurrent, 0)?)?)?;
        let z = super::sigmoid(&(gate(&x, 1)? + gate(&recurrent, 1)?)?)?;
        let n = (gate(&x, 2)? + (r * gate(&recurrent, 2)?)?)?.tanh()?;
        h = (&n + (z * (h - &n)?)?)?;
        all.push(h.clone());
    }
    Ok(if all.is_empty() { gates.narrow(2, 0, hidden)? } else { Tensor::stack(&all, 0)? })
}

fn check(
    op: &'static str,
    gates: &Tensor,
    weight_hh: &Tensor,
    states: &[(&'static str, &Tensor)],
    count: usize,
) -> Result<Sizes> {
    let fits = weight_hh.rank() == 2 && weight_hh.dims()[0] == count * weight_hh.dims()[1];
    if !fits {
        return Err(Error::shape(op, "weight_hh", weight_hh.shape(), format!("[{count} · hidden, hidden]")));
    }
    let hidden = weight_hh.dims()[1];
    let &[time, batch, width] = gates.dims() else {
        return Err(Error::shape(op, "gates", gates.shape(), format!("[time, batch, {}]", count * hidden)));
    };
    if width != count * hidden {
        return Err(Error::shape(op, "gates", gates.shape(), format!("[time, batch, {}]", count * hidden)));
    }
    for (what, state) in states {
        if state.dims() != [batch, hidden] {
            return Err(Error::shape(op, what, state.shape(), format!("[batch = {batch}, hidden = {hidden}]")));
        }
    }
    for (what, tensor) in states.iter().copied().chain([("weight_hh", weight_hh)]) {
        if tensor.dtype() != gates.dtype() {
            return Err(Error::DType { operation: op, what, got: tensor.dtype(), expected: "the dtype of gates" });
        }
    }
    Ok(Sizes { time, batch, hidden })
}
