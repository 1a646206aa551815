//! Scaled dot-product attention without the matrix of all scores.

use crate::cpu::attention::{Attention, Places, Sizes};
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
    for (what, tensor) in [("k", k), ("v", v)] {
        if tensor.dtype() != q.dtype() {
            return Err(Error::DType { operation: OP, what, got: tensor.dtype(), expected: "the dtype of q" });
        }
    }
    let scale = check(config, q.dtype(), [queries, keys, depth])?;
    let mut shape = leading.to_vec();
    shape.extend([queries, width]);
    if q.device().is_cpu() {
        let op = on_cpu(config, scale, Sizes { queries, keys, depth, width }, Places::Apart)?;
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

/// The scale, if the settings fit.
fn check(config: &AttentionConfig, dtype: DType, [queries, keys, depth]: [usize; 3]) -> Result<f64> {
    const OP: &str = "attention";
    if let Some(mask) = &config.mask {
        if mask.dtype() != dtype {
            return Err(Error::DType { operation: OP, what: "mask", got: mask.dtype(), expected: "the dtype of q" });
        }
        if mask.dims() != [queries, keys] {
            return Err(Error::shape(OP, "mask", mask.shape(), format!("[{queries}, {keys}]")));
        }
    }
    let scale = config.scale.unwrap_or(1. / (depth.max(1) as f64).sqrt());
    if !scale.is_finite() || scale == 0. {
        return Err(Error::Value { operation: OP, what: "scale", got: scale, expected: "finite and not zero" });
    }
    Ok(scale)
}

fn on_cpu(config: &AttentionConfig, scale: f64, sizes: Sizes, places: Places) -> Result<Attention> {
    let mask = match &config.mask {
        Some(mask) => Some(mask.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?),
        None => None,
    };
    Ok(Attention { sizes, places, scale, is_causal: config.is_causal, mask, log_sums: OnceLock::new() })
}

/// [`attention`] of each head of `qkv`, `[batch, length, 3 · width]` with queries, keys and values of all heads one after the other, such as one product with a packed weight gives; the result is
/// `[batch, length, width]`. On the CPU no element is copied to another place for it.
///
/// # Errors
///
/// When `qkv` has another rank, the heads do not divide a third of its width, or as for [`attention`].
pub fn packed_attention(qkv: &Tensor, heads: usize, config: &AttentionConfig) -> Result<Tensor> {
    const OP: &str = "packed_attention";
    let &[batch, length, triple] = qkv.dims() else {
        return Err(Error::shape(OP, "qkv", qkv.shape(), "[batch, length, 3 · width]"));
    };
    if heads == 0 || !triple.is_multiple_of(3 * heads) {
        return Err(Error::shape(OP, "qkv", qkv.shape(), format!("[batch, length, 3 · a multiple of {heads} heads]")));
    }
    let (width, depth) = (triple / 3, triple / 3 / heads);
    if !qkv.device().is_cpu() {
        let part = |at: usize| -> Result<Tensor> {
            let part = qkv.narrow(D::Minus1, at * width, width)?.reshape((batch, length, heads, depth))?;
            Ok(part.transpose(1, 2)?.contiguous()?)
        };
        let y = attention(&part(0)?, &part(1)?, &part(2)?, config)?;
        return Ok(y.transpose(1, 2)?.reshape((batch, length, width))?);
    }
    let scale = check(config, qkv.dtype(), [length, length, depth])?;
    let sizes = Sizes { queries: length, keys: length, depth, width: depth };
    apply(on_cpu(config, scale, sizes, Places::Packed { heads })?, &[qkv], (batch, length, width))
}
