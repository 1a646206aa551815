//! Scaled dot-product attention without the matrix of all scores.

use crate::cpu::attention::{Attention, Sizes};
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::{D, DType, Tensor};
use std::sync::OnceLock;

/// The settings of [`attention`].
#[derive(Debug, Clone, Default)]
pub struct AttentionConfig {
    /// The factor of the products; `1 / √d` if `None`.
    pub scale: Option<f64>,
    /// Whether query `i` sees only the keys up to `i + keys − queries`, so that the last query sees all; false. For equal lengths this is
    /// PyTorch's `is_causal`.
    pub is_causal: bool,
    /// Added to the scores, `[queries, keys]` of the dtype of the query, without gradient. `−∞` hides a key.
    pub mask: Option<Tensor>,
}

/// `y = softmax(scale · q kᵀ + mask) v`: `q` is `[…, queries, d]`, `k` `[…, keys, d]`, `v` `[…, keys, e]` with the same leading
/// dimensions (batch and heads), the result `[…, queries, e]`.
///
/// Scores exist for a block of queries at a time and are computed again for the gradient: memory grows with the lengths, not with
/// their product. A query that sees no key gives zeros (PyTorch: NaN).
///
/// # Errors
///
/// When the shapes do not fit, the dtypes differ, or the scale is zero or not finite.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, config: &AttentionConfig) -> Result<Tensor> {
    const OP: &str = "attention";
    let wanted = "[…, length, width]";
    let Some((leading, &[queries, depth])) = q.dims().split_last_chunk::<2>() else {
        return Err(Error::shape(OP, "q", q.shape(), wanted));
    };
    let Some((k_leading, &[keys, k_depth])) = k.dims().split_last_chunk::<2>() else {
        return Err(Error::shape(OP, "k", k.shape(), wanted));
    };
    let Some((v_leading, &[v_keys, width])) = v.dims().split_last_chunk::<2>() else {
        return Err(Error::shape(OP, "v", v.shape(), wanted));
    };
    if k_leading != leading || k_depth != depth {
        return Err(Error::shape(OP, "k", k.shape(), format!("{leading:?}, keys, {depth} like q")));
    }
    if v_leading != leading || v_keys != keys {
        return Err(Error::shape(OP, "v", v.shape(), format!("{leading:?}, {keys}, e like k")));
    }
    for (what, tensor) in [("k", Some(k)), ("v", Some(v)), ("mask", config.mask.as_ref())] {
        let Some(tensor) = tensor else { continue };
        if tensor.dtype() != q.dtype() {
            return Err(Error::DType { operation: OP, what, got: tensor.dtype(), expected: "the dtype of q" });
        }
    }
    if let Some(mask) = &config.mask
        && mask.dims() != [queries, keys]
    {
        return Err(Error::shape(OP, "mask", mask.shape(), format!("[{queries}, {keys}]")));
    }
    let scale = config.scale.unwrap_or(1. / (depth.max(1) as f64).sqrt());
    if !scale.is_finite() || scale == 0. {
        return Err(Error::Value { operation: OP, what: "scale", got: scale, expected: "finite and not zero" });
    }
    let mut shape = leading.to_vec();
    shape.extend([queries, width]);
    if q.device().is_cpu() {
        let mask = match &config.mask {
            Some(mask) => Some(mask.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?),
            None => None,
        };
        let sizes = Sizes { queries, keys, depth, width };
        let op = Attention { sizes, scale, is_causal: config.is_causal, mask, log_sums: OnceLock::new() };
        return apply(op, &[q, k, v], shape);
    }
    let mut scores = (q.contiguous()?.matmul(&k.transpose(D::Minus1, D::Minus2)?.contiguous()?)? * scale)?;
    if config.is_causal {
        let hidden = (0..queries * keys).map(|at| {
            let (i, j) = (at / keys, at % keys);
            if j + queries <= i + keys { 0f32 } else { f32::NEG_INFINITY }
        });
        let hidden = Tensor::from_vec(hidden.collect::<Vec<_>>(), (queries, keys), q.device())?.to_dtype(q.dtype())?;
        scores = scores.broadcast_add(&hidden)?;
    }
    if let Some(mask) = &config.mask {
        scores = scores.broadcast_add(&mask.detach())?;
    }
    Ok(candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v.contiguous()?)?)
}
