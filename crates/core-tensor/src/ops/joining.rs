//! Copies of parts of tensors, on our tape: in row-major order, joined, and selected.

use crate::cpu::joining::{Choose, Join, Select};
use crate::kernel::{apply, contiguous};
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// The same elements in row-major order: Candle's `contiguous`, on our tape and over threads. A tensor that has them so already is given back.
///
/// # Errors
///
/// None that Candle's does not have.
pub fn to_contiguous(x: &Tensor) -> Result<Tensor> {
    Ok(contiguous(x)?)
}

fn is_ours(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// Tensors one after the other along a dimension; all others must agree. Up to three are copied once, up to nine twice, and so on.
///
/// # Errors
///
/// No tensor, a dimension that they do not have, sizes that differ elsewhere, different dtypes.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let (a, b) = (Tensor::new(&[[1f32], [2.]], &Device::Cpu)?, Tensor::new(&[[3f32], [4.]], &Device::Cpu)?);
/// assert_eq!(core_tensor::ops::cat(&[&a, &b], 1)?.to_vec2::<f32>()?, [[1., 3.], [2., 4.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn cat<A: AsRef<Tensor>>(tensors: &[A], dim: usize) -> Result<Tensor> {
    cat_all(&tensors.iter().map(A::as_ref).collect::<Vec<_>>(), dim)
}

fn cat_all(tensors: &[&Tensor], dim: usize) -> Result<Tensor> {
    const OP: &str = "cat";
    let Some(&first) = tensors.first() else {
        return Err(Error::Value { operation: OP, what: "the number of tensors", got: 0., expected: "at least 1" });
    };
    for x in tensors {
        let fits = dim < x.rank()
            && x.rank() == first.rank()
            && x.dims().iter().zip(first.dims()).enumerate().all(|(at, (a, b))| at == dim || a == b);
        if !fits {
            let expected = format!("{:?} but for dimension {dim}", first.dims());
            return Err(Error::shape(OP, "a tensor", x.shape(), expected));
        }
        if x.dtype() != first.dtype() {
            let expected = "the dtype of the first";
            return Err(Error::DType { operation: OP, what: "a tensor", got: x.dtype(), expected });
        }
    }
    if !tensors.iter().all(|x| is_ours(x)) {
        return Ok(Tensor::cat(tensors, dim)?);
    }
    let mut level: Vec<Tensor> = tensors.iter().map(|&x| x.clone()).collect();
    while level.len() > 1 {
        level = level.chunks(3).map(|parts| joined(parts, dim)).collect::<Result<_>>()?;
    }
    Ok(level.swap_remove(0))
}

fn joined(parts: &[Tensor], dim: usize) -> Result<Tensor> {
    if let [only] = parts {
        return Ok(only.clone());
    }
    let mut shape = parts[0].dims().to_vec();
    shape[dim] = parts.iter().map(|x| x.dims()[dim]).sum();
    let rows = shape[..dim].iter().product();
    let mut widths = [0; 3];
    for (width, x) in widths.iter_mut().zip(parts) {
        *width = x.dims()[dim..].iter().product();
    }
    let parts: Vec<&Tensor> = parts.iter().collect();
    apply(Join { rows, widths }, &parts, shape)
}

/// Tensors of one shape along a new dimension, see [`cat`].
///
/// # Errors
///
/// As for [`cat`].
pub fn stack<A: AsRef<Tensor>>(tensors: &[A], dim: usize) -> Result<Tensor> {
    if let Some(first) = tensors.first().map(A::as_ref).filter(|first| dim > first.rank()) {
        return Err(Error::shape("stack", "a tensor", first.shape(), format!("at least {dim} dimensions")));
    }
    let unsqueezed: Vec<Tensor> =
        tensors.iter().map(|x| x.as_ref().unsqueeze(dim)).collect::<candle_core::Result<_>>()?;
    cat(&unsqueezed, dim)
}

/// The entries of `x` along a dimension with the numbers `ids`, which are u32 and may repeat; the gradient adds up in their order. For rows of a matrix,
/// [`embedding`](super::embedding) adds up over threads.
///
/// # Errors
///
/// A dimension that `x` does not have, `ids` that are not u32 or not `[n]`, a number that is too large.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let (x, ids) = (Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?, Tensor::new(&[1u32, 1, 0], &Device::Cpu)?);
/// assert_eq!(core_tensor::ops::index_select(&x, &ids, 1)?.to_vec2::<f32>()?, [[2., 2., 1.], [4., 4., 3.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn index_select(x: &Tensor, ids: &Tensor, dim: usize) -> Result<Tensor> {
    const OP: &str = "index_select";
    if dim >= x.rank() {
        return Err(Error::shape(OP, "x", x.shape(), format!("more than {dim} dimensions")));
    }
    if ids.rank() != 1 {
        return Err(Error::shape(OP, "ids", ids.shape(), "[n]"));
    }
    if ids.dtype() != DType::U32 {
        return Err(Error::DType { operation: OP, what: "ids", got: ids.dtype(), expected: "u32" });
    }
    let (size, numbers) = (x.dims()[dim], ids.to_vec1::<u32>()?);
    if let Some(&number) = numbers.iter().find(|&&number| number as usize >= size) {
        return Err(Error::Value {
            operation: OP,
            what: "a number",
            got: number.into(),
            expected: "below the size of the dimension",
        });
    }
    if !is_ours(x) {
        return Ok(contiguous(x)?.index_select(ids, dim)?);
    }
    let mut shape = x.dims().to_vec();
    shape[dim] = numbers.len();
    let width = x.dims()[dim + 1..].iter().product();
    apply(Select { numbers, size, width }, &[x], shape)
}

/// `a` where `mask` is not 0, else `b`, element by element; all three have one shape, `mask` is u8. The other argument has gradient 0 there, whatever its value is.
///
/// # Errors
///
/// Other shapes or dtypes.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[-1f32, 4.], &Device::Cpu)?;
/// let y = core_tensor::ops::where_cond(&x.gt(0f32)?, &x, &x.zeros_like()?)?;
/// assert_eq!(y.to_vec1::<f32>()?, [0., 4.]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn where_cond(mask: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "where_cond";
    if mask.dtype() != DType::U8 {
        return Err(Error::DType { operation: OP, what: "mask", got: mask.dtype(), expected: "u8" });
    }
    if a.dtype() != b.dtype() {
        return Err(Error::DType { operation: OP, what: "b", got: b.dtype(), expected: "the dtype of a" });
    }
    for (what, x) in [("mask", mask), ("b", b)] {
        if x.shape() != a.shape() {
            return Err(Error::shape(OP, what, x.shape(), format!("{:?} like a", a.dims())));
        }
    }
    if !is_ours(a) {
        return Ok(mask.where_cond(a, b)?);
    }
    let mask = mask.flatten_all()?.to_vec1::<u8>()?;
    apply(Choose { mask }, &[a, b], a.shape())
}
