//! Causal attention whose scores also depend on how far back a key lies.

use crate::cpu::relative_attention::RelativeAttention;
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::{D, Tensor};

/// Causal attention with relative positions (Transformer-XL's, without its two extra biases): per head
/// `score[i, j] = (q_i · k_j + q_i · r_{i−j}) / √s` for `j ≤ i`, `y_i = Σ_j softmax(score_i)_j v_j`.
///
/// `qkv` is `[batch, length, 3 · heads · s]`: queries, keys and values side by side, in each the heads side by side. `relative` is
/// `[length, heads · s]`: row `δ` belongs to the distance `δ`. The result is `[batch, length, heads · s]`.
///
/// Scores exist for one head at a time and are computed again for the gradient.
///
/// # Errors
///
/// When the shapes do not fit, `heads` does not divide the width, or the dtypes differ.
pub fn relative_attention(qkv: &Tensor, relative: &Tensor, heads: usize) -> Result<Tensor> {
    const OP: &str = "relative_attention";
    let &[batch, length, triple] = qkv.dims() else {
        return Err(Error::shape(OP, "qkv", qkv.shape(), "[batch, length, 3 · width]"));
    };
    let width = triple / 3;
    if triple % 3 != 0 || heads == 0 || !width.is_multiple_of(heads) {
        let expected = format!("[batch, length, 3 · width] with a width that is a multiple of the {heads} heads");
        return Err(Error::shape(OP, "qkv", qkv.shape(), expected));
    }
    if relative.dims() != [length, width] {
        return Err(Error::shape(OP, "relative", relative.shape(), format!("[length = {length}, width = {width}]")));
    }
    if relative.dtype() != qkv.dtype() {
        let expected = "the dtype of qkv";
        return Err(Error::DType { operation: OP, what: "relative", got: relative.dtype(), expected });
    }
    if qkv.elem_count() == 0 {
        return Ok(qkv.narrow(D::Minus1, 0, width)?);
    }
    let size = width / heads;
    if qkv.device().is_cpu() {
        return apply(RelativeAttention { length, heads, size }, &[qkv, relative], (batch, length, width));
    }
    let part = |at: usize| -> Result<Tensor> {
        let part = qkv.narrow(D::Minus1, at * width, width)?.reshape((batch, length, heads, size))?;
        Ok(part.transpose(1, 2)?.contiguous()?)
    };
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let device = qkv.device();
    let backwards = Tensor::new((0..length as u32).rev().collect::<Vec<_>>(), device)?;
    let r = relative.index_select(&backwards, 0)?.reshape((length, heads, size))?.permute((1, 2, 0))?.contiguous()?;
    let by_distance = q.broadcast_matmul(&r.unsqueeze(0)?)?;
    // column m of row i belongs to the distance length − 1 − m; a column of zeros in front moves each row by one more than the one before
    let zeros = Tensor::zeros((batch, heads, length, 1), qkv.dtype(), device)?;
    let shifted = Tensor::cat(&[&zeros, &by_distance], 3)?.reshape((batch, heads, length + 1, length))?;
    let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? + shifted.narrow(2, 1, length)?)?;
    let scores = (scores * (1. / (size as f64).sqrt()))?;
    let hidden = (0..length * length).map(|at| if at % length <= at / length { 0f32 } else { f32::NEG_INFINITY });
    let hidden = Tensor::from_vec(hidden.collect::<Vec<_>>(), (length, length), device)?.to_dtype(qkv.dtype())?;
    let p = candle_nn::ops::softmax(&scores.broadcast_add(&hidden)?, D::Minus1)?;
    Ok(p.matmul(&v)?.transpose(1, 2)?.reshape((batch, length, width))?)
}
