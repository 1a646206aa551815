//! Router logits, and the choice of the largest.

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::ops;

/// The parameter `router`, `[E, d]`.
pub(super) fn router_weight(d_model: usize, num_experts: usize, vb: &VarBuilder<'_>) -> Result<Tensor> {
    Ok(vb.get_with_hints((num_experts, d_model), "router", Init::Randn { mean: 0., stdev: 0.02 })?)
}

pub(super) fn check_choice(num_experts: usize, k: usize) -> Result<()> {
    if num_experts == 0 || k == 0 || k > num_experts || num_experts > u32::MAX as usize {
        return Err(Error::config("number of experts", format!("{k} per token, of {num_experts}")));
    }
    Ok(())
}

/// `x W_rᵀ` in at least f32.
pub(super) fn logits(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let &[_, width] = x.dims() else { return Err(Error::shape("route", "x", x.shape(), "[tokens, d]")) };
    if weight.dims().last() != Some(&width) {
        return Err(Error::shape("route", "x", x.shape(), format!("[tokens, {:?}]", weight.dims().last())));
    }
    match x.dtype() {
        DType::F16 | DType::BF16 => {
            let (x, weight) = (x.to_dtype(DType::F32)?, weight.to_dtype(DType::F32)?);
            Ok(ops::linear(&x, &weight, None)?)
        }
        _ => Ok(ops::linear(x, weight, None)?),
    }
}

/// The logits as plain numbers, row by row. None is NaN.
pub(super) fn host(logits: &Tensor) -> Result<Vec<f64>> {
    let values = logits.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let columns = logits.dims().last().copied().unwrap_or(1).max(1);
    match values.iter().position(|value| value.is_nan()) {
        None => Ok(values),
        Some(at) => {
            let position = (at / columns) as u64;
            Err(Error::NotFinite { operation: "route", what: "a logit of token", position, got: f64::NAN })
        }
    }
}

/// The columns of the `k` largest entries of each row, the largest first; of equal entries the lower column first.
pub(super) fn largest(values: &[f64], columns: usize, k: usize) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(values.len() / columns.max(1) * k);
    let mut best: Vec<(f64, u32)> = Vec::with_capacity(k + 1);
    for row in values.chunks_exact(columns.max(1)) {
        if k == 1 {
            let first = (f64::NEG_INFINITY, 0u32);
            let pick = row.iter().zip(0..).fold(first, |best, (&v, at)| if v > best.0 { (v, at) } else { best });
            chosen.push(pick.1);
            continue;
        }
        best.clear();
        for (&value, column) in row.iter().zip(0..) {
            if best.len() < k || value > best[k - 1].0 {
                let at = best.partition_point(|&(known, _)| known >= value);
                best.insert(at, (value, column));
                best.truncate(k);
            }
        }
        chosen.extend(best.iter().map(|&(_, column)| column));
    }
    chosen
}

/// `values[t, chosen[t, j]]` as `[T, k]`, differentiable.
pub(super) fn gather(values: &Tensor, chosen: &[u32], k: usize) -> Result<Tensor> {
    let (tokens, columns) = values.dims2()?;
    let shape = (chosen.len() / k, k);
    // A column that does not exist must not become one of the next row: Candle's operation says what is wrong.
    let is_inside = chosen.iter().all(|&column| (column as usize) < columns);
    if tokens.saturating_mul(columns) > u32::MAX as usize || shape.0 != tokens || !is_inside {
        let index = Tensor::from_slice(chosen, shape, values.device())?;
        return Ok(ops::to_contiguous(values)?.gather(&index, 1)?);
    }
    let numbers: Vec<u32> = (0..).zip(chosen).map(|(at, &column)| (at / k * columns) as u32 + column).collect();
    let numbers = Tensor::new(numbers, values.device())?;
    Ok(ops::index_select(&ops::to_contiguous(values)?.flatten_all()?, &numbers, 0)?.reshape(shape)?)
}
