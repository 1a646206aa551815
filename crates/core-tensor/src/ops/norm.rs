//! Normalisation of rows and of groups of channels.

use crate::cpu::norm::{GroupNorm, RowNorm};
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::{D, Tensor};

/// `y = (x − mean) / √(variance + eps) · weight + bias` with the mean and the biased variance of each row: `x` is `[…, n]`,
/// `weight` and `bias` `[n]`.
///
/// Candle's fused layer norm silently has no gradient; this one has.
///
/// # Errors
///
/// When the shapes do not fit, the dtypes differ, or `eps` is negative or not finite.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    const OP: &str = "layer_norm";
    check(OP, x, x.dims().last().copied(), &[("weight", weight), ("bias", bias)], eps, "[…, n]")?;
    if x.device().is_cpu() {
        return apply(RowNorm { width: weight.elem_count(), eps, is_centered: true }, &[x, weight, bias], x.shape());
    }
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centered.broadcast_div(&(variance + eps)?.sqrt()?)?;
    Ok(normal.broadcast_mul(weight)?.broadcast_add(bias)?)
}

/// `y = x / √(mean(x²) + eps) · weight` for each row: `x` is `[…, n]`, `weight` `[n]`.
///
/// # Errors
///
/// As for [`layer_norm`].
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    check("rms_norm", x, x.dims().last().copied(), &[("weight", weight)], eps, "[…, n]")?;
    if x.device().is_cpu() {
        return apply(RowNorm { width: weight.elem_count(), eps, is_centered: false }, &[x, weight], x.shape());
    }
    let square = x.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(x.broadcast_div(&(square + eps)?.sqrt()?)?.broadcast_mul(weight)?)
}

/// [`layer_norm`] over each of `groups` groups of neighbouring channels with all their positions: `x` is `[n, channels, …]`, `weight`
/// and `bias` `[channels]`. As many groups as channels: instance norm.
///
/// # Errors
///
/// As for [`layer_norm`], and when `groups` does not divide the channels.
pub fn group_norm(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    const OP: &str = "group_norm";
    let channels = x.dims().get(1).copied();
    check(OP, x, channels, &[("weight", weight), ("bias", bias)], eps, "[n, channels, …]")?;
    let channels = channels.unwrap_or(0);
    if groups == 0 || channels % groups != 0 {
        return Err(Error::Value {
            operation: OP,
            what: "groups",
            got: groups as f64,
            expected: "a divisor of the channels",
        });
    }
    let plane: usize = x.dims()[2..].iter().product();
    if x.device().is_cpu() {
        return apply(GroupNorm { channels, plane, groups, eps }, &[x, weight, bias], x.shape());
    }
    let rows = x.reshape((x.dims()[0] * groups, channels / groups * plane))?;
    let centered = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
    let variance = centered.sqr()?.mean_keepdim(1)?;
    let normal = centered.broadcast_div(&(variance + eps)?.sqrt()?)?.reshape((x.dims()[0], channels, plane))?;
    let (weight, bias) = (weight.reshape((1, channels, 1))?, bias.reshape((1, channels, 1))?);
    Ok(normal.broadcast_mul(&weight)?.broadcast_add(&bias)?.reshape(x.shape())?)
}

fn check(
    op: &'static str,
    x: &Tensor,
    size: Option<usize>,
    vectors: &[(&'static str, &Tensor)],
    eps: f64,
    expected: &'static str,
) -> Result<()> {
    let Some(size) = size else { return Err(Error::shape(op, "x", x.shape(), expected)) };
    for (what, vector) in vectors {
        if vector.dims() != [size] {
            return Err(Error::shape(op, what, vector.shape(), format!("[{size}]")));
        }
        if vector.dtype() != x.dtype() {
            return Err(Error::DType { operation: op, what, got: vector.dtype(), expected: "the dtype of x" });
        }
    }
    let is_valid = eps.is_finite() && eps >= 0.;
    if is_valid {
        Ok(())
    } else {
        Err(Error::Value { operation: op, what: "eps", got: eps, expected: "finite and not negative" })
    }
}
