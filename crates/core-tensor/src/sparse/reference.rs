//! The sparse operations as compositions of Candle's own: for devices without a kernel of ours, and to test the kernels.
//!
//! Every function here gives the result of the [`SparsePattern`] method of the same name, on any device, with gradients.
//! They assume that the shapes were checked.

use super::SparsePattern;
use super::device_indices::DeviceIndices;
use crate::Result;
use candle_core::{D, Device, Tensor};

/// `[num_rows, 1, …]` with `1 / degree`, zero where there are no entries, to broadcast over a tensor of the rank and dtype
/// of `like`.
pub(super) fn inverse_degrees(pattern: &SparsePattern, like: &Tensor) -> Result<Tensor> {
    let inverse: Vec<f64> =
        pattern.row_degrees().iter().map(|&d| if d == 0 { 0. } else { 1. / f64::from(d) }).collect();
    let mut dims = vec![1; like.rank()];
    dims[0] = inverse.len();
    // Converted on the host, because not every device has f64.
    let inverse = Tensor::from_vec(inverse, dims, &Device::Cpu)?.to_dtype(like.dtype())?;
    Ok(inverse.to_device(like.device())?)
}

/// [`Tensor::index_select`] along the first dimension, which Candle refuses for empty indices on some devices.
fn select(x: &Tensor, index: &Tensor) -> Result<Tensor> {
    if index.elem_count() == 0 || x.elem_count() == 0 {
        let mut dims = x.dims().to_vec();
        dims[0] = index.elem_count();
        return Ok(Tensor::zeros(dims, x.dtype(), x.device())?);
    }
    Ok(x.contiguous()?.index_select(index, 0)?)
}

/// Adds row `i` of `values` to row `index[i]` of `num_rows` rows of zeros.
fn add_rows(values: &Tensor, index: &Tensor, num_rows: usize) -> Result<Tensor> {
    let mut dims = values.dims().to_vec();
    dims[0] = num_rows;
    let zeros = Tensor::zeros(dims, values.dtype(), values.device())?;
    if values.elem_count() == 0 { Ok(zeros) } else { Ok(zeros.index_add(index, &values.contiguous()?, 0)?) }
}

/// `x` with trailing dimensions of size 1 up to `rank`.
fn unsqueeze_to(x: &Tensor, rank: usize) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    dims.resize(rank.max(x.rank()), 1);
    Ok(x.reshape(dims)?)
}

/// See [`SparsePattern::matmul`].
///
/// # Errors
///
/// Those of Candle; so for the others.
pub fn matmul(pattern: &SparsePattern, x: &Tensor) -> Result<Tensor> {
    let indices = pattern.device_indices(x.device())?;
    add_rows(&select(x, &indices.cols)?, &indices.rows, pattern.num_rows())
}

/// See [`SparsePattern::segment_mean`].
///
/// # Errors
///
/// Those of Candle.
pub fn segment_mean(pattern: &SparsePattern, x: &Tensor) -> Result<Tensor> {
    let sums = matmul(pattern, x)?;
    Ok(sums.broadcast_mul(&inverse_degrees(pattern, &sums)?)?)
}

/// See [`SparsePattern::matmul_weighted`].
///
/// # Errors
///
/// Those of Candle.
pub fn matmul_weighted(pattern: &SparsePattern, values: &Tensor, x: &Tensor) -> Result<Tensor> {
    let indices = pattern.device_indices(x.device())?;
    let messages = select(x, &indices.cols)?;
    let messages = messages.broadcast_mul(&unsqueeze_to(values, messages.rank())?)?;
    add_rows(&messages, &indices.rows, pattern.num_rows())
}

/// See [`SparsePattern::sampled_dot`]; all dimensions after the rows, or after the `heads`, are features.
///
/// # Errors
///
/// Those of Candle.
pub fn sampled_dot(pattern: &SparsePattern, left: &Tensor, right: &Tensor, heads: Option<usize>) -> Result<Tensor> {
    let indices = pattern.device_indices(left.device())?;
    let products = (select(left, &indices.rows)? * select(right, &indices.cols)?)?;
    let entries = pattern.num_entries();
    let features: usize = products.dims()[1..].iter().product::<usize>() / heads.unwrap_or(1).max(1);
    Ok(match heads {
        None => products.reshape((entries, features))?.sum(D::Minus1)?,
        Some(heads) => products.reshape((entries, heads, features))?.sum(D::Minus1)?,
    })
}

/// See [`SparsePattern::segment_softmax`].
///
/// # Errors
///
/// Those of Candle.
pub fn segment_softmax(pattern: &SparsePattern, scores: &Tensor) -> Result<Tensor> {
    let indices = pattern.device_indices(scores.device())?;
    // Subtracting the largest score changes nothing but the range of the exponential, so it needs no gradient.
    let in_slots = select(&scores.detach(), &indices.slot_entries)?;
    let largest = extremes(pattern, &indices, &in_slots, false)?;
    let powers = (scores - select(&largest, &indices.rows)?)?.exp()?;
    let sums = add_rows(&powers, &indices.rows, pattern.num_rows())?;
    Ok((powers / select(&sums, &indices.rows)?)?)
}

/// See [`SparsePattern::segment_max`]. A NaN is the maximum only where it comes first.
///
/// # Errors
///
/// Those of Candle.
pub fn segment_max(pattern: &SparsePattern, x: &Tensor) -> Result<Tensor> {
    let indices = pattern.device_indices(x.device())?;
    extremes(pattern, &indices, &select(x, &indices.slot_cols)?, false)
}

/// See [`SparsePattern::segment_min`]. A NaN is the minimum only where it comes first.
///
/// # Errors
///
/// Those of Candle.
pub fn segment_min(pattern: &SparsePattern, x: &Tensor) -> Result<Tensor> {
    let indices = pattern.device_indices(x.device())?;
    extremes(pattern, &indices, &select(x, &indices.slot_cols)?, true)
}

/// The extreme value of each row, given values `[entries, …]` in slot order. A scan by doubling:
/// after step `k` each slot knows the extreme of the `2^k` slots of its row up to itself, so the last slot of a row knows all.
fn extremes(pattern: &SparsePattern, indices: &DeviceIndices, values: &Tensor, is_min: bool) -> Result<Tensor> {
    let mut dims = values.dims().to_vec();
    let entries = dims[0];
    let width: usize = dims[1..].iter().product();
    let device = values.device();
    let flat = values.reshape((entries, width))?;
    let slots = Tensor::arange(0, entries as u32, device)?.reshape((entries, 1))?.broadcast_as((entries, width))?;
    let (mut best, mut chosen) = (flat.detach(), slots.contiguous()?);
    let mut reach = 1;
    while reach < pattern.max_row_degree() && flat.elem_count() > 0 {
        let rest = entries - reach;
        let (earlier, later) = (best.narrow(0, 0, rest)?, best.narrow(0, reach, rest)?);
        let is_better = if is_min { earlier.le(&later)? } else { earlier.ge(&later)? };
        let rows = &indices.slot_rows;
        let is_same_row = rows.narrow(0, 0, rest)?.eq(&rows.narrow(0, reach, rest)?)?;
        let takes = is_better.broadcast_mul(&is_same_row.reshape((rest, 1))?)?;
        let values = takes.where_cond(&earlier.contiguous()?, &later.contiguous()?)?;
        let places = takes
            .where_cond(&chosen.narrow(0, 0, rest)?.contiguous()?, &chosen.narrow(0, reach, rest)?.contiguous()?)?;
        best = Tensor::cat(&[&best.narrow(0, 0, reach)?, &values], 0)?;
        chosen = Tensor::cat(&[&chosen.narrow(0, 0, reach)?, &places], 0)?;
        reach *= 2;
    }
    let chosen = select(&chosen, &indices.last_slots)?;
    dims[0] = pattern.num_rows();
    let picked = if chosen.elem_count() == 0 {
        Tensor::zeros((indices.last_slots.elem_count(), width), values.dtype(), device)?
    } else {
        flat.contiguous()?.gather(&chosen, 0)?
    };
    let picked = add_rows(&picked, &indices.filled_rows, pattern.num_rows())?;
    Ok(picked.reshape(dims)?)
}
