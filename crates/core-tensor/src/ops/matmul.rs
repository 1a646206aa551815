//! Products of batches of matrices.

use crate::kernel::{Gradients, Kernel, Matrix, Real, apply, for_slices, gemm_strided};
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
    // A transposed view goes in as it lies in memory. `t` stays on the tape and copies nothing.
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
    if transposed.is_contiguous() { Ok((transposed, true)) } else { Ok((x.contiguous()?, false)) }
}

struct BatchedProduct {
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    is_a_transposed: bool,
    is_b_transposed: bool,
}

/// `[rows, columns]`, stored transposed if so said.
fn matrix<T>(data: &[T], rows: usize, columns: usize, is_transposed: bool) -> Matrix<'_, T> {
    if is_transposed { Matrix::new(data, columns, rows).t() } else { Matrix::new(data, rows, columns) }
}

/// `out[i] = left(i) · right(i)` for every matrix of a batch, over threads.
pub(super) fn for_batch<'a, T: Real>(
    out: &mut [T],
    (m, n, k): (usize, usize, usize),
    left: impl Fn(usize) -> Matrix<'a, T> + Sync,
    right: impl Fn(usize) -> Matrix<'a, T> + Sync,
) {
    if m * n == 0 {
        return;
    }
    // With fewer matrices than threads each product is spread instead.
    let is_parallel_inside = out.len() / (m * n) < rayon::current_num_threads();
    let work = if is_parallel_inside { 1 } else { m * n * k };
    for_slices(out, m * n, work, &|first, out| {
        for (at, out) in out.chunks_exact_mut(m * n).enumerate() {
            gemm_strided(left(first + at), right(first + at), out, n, false, is_parallel_inside);
        }
    });
}

impl Kernel for BatchedProduct {
    const NAME: &'static str = "matmul";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let &Self { batch, m, n, k, is_a_transposed, is_b_transposed } = self;
        let mut out = vec![T::ZERO; batch * m * n];
        for_batch(
            &mut out,
            (m, n, k),
            |i| matrix(&x[0][i * m * k..(i + 1) * m * k], m, k, is_a_transposed),
            |i| matrix(&x[1][i * k * n..(i + 1) * k * n], k, n, is_b_transposed),
        );
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let &Self { m, n, k, is_a_transposed, is_b_transposed, .. } = self;
        let grad = |i: usize| Matrix::new(&grad[i * m * n..(i + 1) * m * n], m, n);
        let a = |i: usize| matrix(&x[0][i * m * k..(i + 1) * m * k], m, k, is_a_transposed);
        let b = |i: usize| matrix(&x[1][i * k * n..(i + 1) * k * n], k, n, is_b_transposed);
        let grad_a = needs[0].then(|| {
            let mut out = vec![T::ZERO; x[0].len()];
            if is_a_transposed {
                for_batch(&mut out, (k, m, n), b, |i| grad(i).t());
            } else {
                for_batch(&mut out, (m, k, n), grad, |i| b(i).t());
            }
            out
        });
        let grad_b = needs[1].then(|| {
            let mut out = vec![T::ZERO; x[1].len()];
            if is_b_transposed {
                for_batch(&mut out, (n, k, m), |i| grad(i).t(), a);
            } else {
                for_batch(&mut out, (k, n, m), |i| a(i).t(), grad);
            }
            out
        });
        Ok([grad_a, grad_b, None])
    }
}
