//! Products of batches of matrices.

use crate::cpu::matmul::BatchedProduct;
use crate::kernel::{apply, contiguous};
use crate::{Error, Result};
use candle_core::{D, Tensor};

/// The product of the last two dimensions: `a` is `[…, m, k]`, `b` `[…, k, n]` with the same leading dimensions, the result `[…, m, n]`.
///
/// Any layout is right (Candle's product is wrong for some transposed batches), a transpose of the last two dimensions is not
/// copied, and small matrices are spread over threads as a batch.
///
/// # Errors
///
/// When the shapes do not fit or the dtypes differ.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let a = Tensor::new(&[[[1f32, 2.]], [[3., 4.]]], &Device::Cpu)?;
/// let y = core_tensor::ops::matmul(&a, &a.transpose(1, 2)?)?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[5.]], [[25.]]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "matmul";
    let (Some((leading, [m, k])), Some((other, [inner, n]))) =
        (a.dims().split_last_chunk::<2>(), b.dims().split_last_chunk::<2>())
    else {
        let short = if a.rank() < 2 { ("a", a) } else { ("b", b) };
        return Err(Error::shape(OP, short.0, short.1.shape(), "[…, rows, columns]"));
    };
    if leading != other || k != inner {
        return Err(Error::shape(OP, "b", b.shape(), format!("{leading:?} and [{k}, n] like a")));
    }
    if a.dtype() != b.dtype() {
        return Err(Error::DType { operation: OP, what: "b", got: b.dtype(), expected: "the dtype of a" });
    }
    let mut shape = leading.to_vec();
    shape.extend([*m, *n]);
    if !a.device().is_cpu() {
        return Ok(a.contiguous()?.matmul(&b.contiguous()?)?);
    }
    // A transposed view is used without a copy; the transpose stays on the tape.
    let (a, is_a_transposed) = in_memory(a)?;
    let (b, is_b_transposed) = in_memory(b)?;
    let batch = leading.iter().product();
    let op = BatchedProduct { batch, m: *m, n: *n, k: *k, is_a_transposed, is_b_transposed };
    apply(op, &[&a, &b], shape)
}

fn in_memory(x: &Tensor) -> Result<(Tensor, bool)> {
    if x.is_contiguous() {
        return Ok((x.clone(), false));
    }
    let transposed = x.transpose(D::Minus1, D::Minus2)?;
    if transposed.is_contiguous() { Ok((transposed, true)) } else { Ok((contiguous(x)?, false)) }
}
