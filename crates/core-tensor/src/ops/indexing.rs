//! Rows by number: embedding tables and scattered sums.

use crate::cpu::indexing::ScatterAdd;
use crate::kernel::apply;
use crate::sparse::{Index, SparsePattern};
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// `y[…, :] = weight[ids[…], :]`: `weight` is `[rows, width]`, `ids` of u32 and any shape. The gradient adds up, over threads and in a
/// fixed order. Prepare an [`Index`] when the same ids are used in many steps.
///
/// # Errors
///
/// When an id is not below `rows`, `ids` is not u32, or `weight` is not a matrix.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let weight = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// let ids = Tensor::new(&[[1u32, 1, 0]], &Device::Cpu)?;
/// let y = core_tensor::ops::embedding(&weight, &ids)?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[3., 4.], [3., 4.], [1., 2.]]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn embedding(weight: &Tensor, ids: &Tensor) -> Result<Tensor> {
    const OP: &str = "embedding";
    let &[rows, width] = weight.dims() else {
        return Err(Error::shape(OP, "weight", weight.shape(), "[rows, width]"));
    };
    let mut shape = ids.dims().to_vec();
    shape.push(width);
    let index = Index::new(&numbers(OP, "ids", ids)?, rows)?;
    Ok(index.gather(weight)?.reshape(shape)?)
}

/// `y[r] = Σ x[i]` over the `i` with `index[i] = r`: `x` is `[n, …]`, `index` `[n]` of u32 in any order, the result `[size, …]`. The sums run in the
/// order of `i`, over threads.
///
/// # Errors
///
/// When an index is not below `size`, `index` is not u32 or not `[n]`.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32], [2.], [4.]], &Device::Cpu)?;
/// let index = Tensor::new(&[2u32, 0, 2], &Device::Cpu)?;
/// let y = core_tensor::ops::scatter_add(&x, &index, 3)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[2.], [0.], [5.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn scatter_add(x: &Tensor, index: &Tensor, size: usize) -> Result<Tensor> {
    const OP: &str = "scatter_add";
    let Some(&n) = x.dims().first() else { return Err(Error::shape(OP, "x", x.shape(), "[n, …]")) };
    if index.dims() != [n] {
        return Err(Error::shape(OP, "index", index.shape(), format!("[n = {n}]")));
    }
    let index = numbers(OP, "index", index)?;
    let mut shape = x.dims().to_vec();
    shape[0] = size;
    if let Some(position) = index.iter().position(|&i| i as usize >= size) {
        let at = u64::from(index[position]);
        return Err(Error::OutOfRange { operation: OP, what: "index", position, index: at, bound: size });
    }
    if x.device().is_cpu() {
        let width = x.dims()[1..].iter().product();
        return apply(ScatterAdd { index, size, width }, &[x], shape);
    }
    let positions: Vec<u32> = (0..n as u32).collect();
    SparsePattern::from_edges(size, n, &index, &positions)?.matmul(x)
}

fn numbers(op: &'static str, what: &'static str, ids: &Tensor) -> Result<Vec<u32>> {
    if ids.dtype() != DType::U32 {
        return Err(Error::DType { operation: op, what, got: ids.dtype(), expected: "u32" });
    }
    Ok(ids.flatten_all()?.to_vec1::<u32>()?)
}
