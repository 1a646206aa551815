//! Some rows in the place of others.

use crate::cpu::replace_rows::ReplaceRows;
use crate::kernel::apply;
use crate::sparse::SparsePattern;
use crate::{Error, Result};
use candle_core::Tensor;

/// `x` `[n, …]` with row `rows[i]` replaced by row `i` of `values`, `[rows.len(), …]`. Both have gradients.
///
/// # Errors
///
/// When a row is not below `n` or named twice, or `values` has another shape or dtype.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32], [2.], [4.]], &Device::Cpu)?;
/// let y = core_tensor::ops::replace_rows(&x, &[2, 0], &Tensor::new(&[[7f32], [9.]], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[9.], [2.], [7.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn replace_rows(x: &Tensor, rows: &[u32], values: &Tensor) -> Result<Tensor> {
    const OP: &str = "replace_rows";
    let Some((&n, rest)) = x.dims().split_first() else { return Err(Error::shape(OP, "x", x.shape(), "[n, …]")) };
    let mut is_named = vec![false; n];
    for (position, &row) in rows.iter().enumerate() {
        match is_named.get_mut(row as usize) {
            Some(named) if !*named => *named = true,
            Some(_) => {
                let got = f64::from(row);
                return Err(Error::Value { operation: OP, what: "a row", got, expected: "named once" });
            }
            None => {
                let index = u64::from(row);
                return Err(Error::OutOfRange { operation: OP, what: "rows", position, index, bound: n });
            }
        }
    }
    let mut shape = vec![rows.len()];
    shape.extend_from_slice(rest);
    if values.dims() != shape {
        return Err(Error::shape(OP, "values", values.shape(), format!("{shape:?}")));
    }
    if x.dtype() != values.dtype() {
        return Err(Error::DType { operation: OP, what: "values", got: values.dtype(), expected: "the dtype of x" });
    }
    if rows.is_empty() {
        return Ok(x.clone());
    }
    if x.device().is_cpu() {
        let width = rest.iter().product();
        return apply(ReplaceRows { rows: rows.to_vec(), width }, &[x, values], x.shape());
    }
    let keeps: Vec<f32> = is_named.iter().map(|&named| f32::from(u8::from(!named))).collect();
    let mut broad = vec![n];
    broad.resize(x.rank(), 1);
    let keeps = Tensor::from_vec(keeps, broad, x.device())?.to_dtype(x.dtype())?;
    let positions: Vec<u32> = (0..rows.len() as u32).collect();
    let flat = values.reshape((rows.len(), rest.iter().product::<usize>()))?;
    let placed = SparsePattern::from_edges(n, rows.len(), rows, &positions)?.matmul(&flat)?.reshape(x.shape())?;
    Ok((x.broadcast_mul(&keeps)? + placed)?)
}
