//! Products of batches of matrices.

use crate::kernel::{Gradients, Kernel, Matrix, Real, for_slices, gemm_strided, written};

pub(crate) struct BatchedProduct {
    pub(crate) batch: usize,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) is_a_transposed: bool,
    pub(crate) is_b_transposed: bool,
}

/// `[rows, columns]`, stored transposed if `is_transposed`.
fn matrix<T>(data: &[T], rows: usize, columns: usize, is_transposed: bool) -> Matrix<'_, T> {
    if is_transposed { Matrix::new(data, columns, rows).t() } else { Matrix::new(data, rows, columns) }
}

/// `left(i) · right(i)` for every matrix of a batch, over threads.
fn for_batch<'a, T: Real>(
    batch: usize,
    (m, n, k): (usize, usize, usize),
    left: impl Fn(usize) -> Matrix<'a, T> + Sync,
    right: impl Fn(usize) -> Matrix<'a, T> + Sync,
) -> Vec<T> {
    if m * n == 0 {
        return Vec::new();
    }
    // With fewer matrices than threads each product is spread instead.
    let is_parallel_inside = batch < rayon::current_num_threads();
    let work = if is_parallel_inside { 1 } else { m * n * k };
    let products = |out: &mut [T]| {
        for_slices(out, m * n, work, &|first, out| {
            for (at, out) in out.chunks_exact_mut(m * n).enumerate() {
                gemm_strided(left(first + at), right(first + at), out, n, false, is_parallel_inside);
            }
        });
    };
    // SAFETY: products that are not added write every element and read none.
    unsafe { written(batch * m * n, products) }
}

impl Kernel for BatchedProduct {
    const NAME: &'static str = "matmul";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let &Self { batch, m, n, k, is_a_transposed, is_b_transposed } = self;
        Ok(for_batch(
            batch,
            (m, n, k),
            |i| matrix(&x[0][i * m * k..(i + 1) * m * k], m, k, is_a_transposed),
            |i| matrix(&x[1][i * k * n..(i + 1) * k * n], k, n, is_b_transposed),
        ))
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let &Self { batch, m, n, k, is_a_transposed, is_b_transposed } = self;
        let grad = |i: usize| Matrix::new(&grad[i * m * n..(i + 1) * m * n], m, n);
        let a = |i: usize| matrix(&x[0][i * m * k..(i + 1) * m * k], m, k, is_a_transposed);
        let b = |i: usize| matrix(&x[1][i * k * n..(i + 1) * k * n], k, n, is_b_transposed);
        let grad_a = needs[0].then(|| {
            if is_a_transposed {
                for_batch(batch, (k, m, n), b, |i| grad(i).t())
            } else {
                for_batch(batch, (m, k, n), grad, |i| b(i).t())
            }
        });
        let grad_b = needs[1].then(|| {
            if is_b_transposed {
                for_batch(batch, (n, k, m), |i| grad(i).t(), a)
            } else {
                for_batch(batch, (k, n, m), |i| a(i).t(), grad)
            }
        });
        Ok([grad_a, grad_b, None])
    }
}
