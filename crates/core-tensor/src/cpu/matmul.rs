//! Products of batches of matrices.

use crate::kernel::{Gradients, Kernel, Matrix, Real, for_slices, gemm_strided};

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

/// `out[i] = left(i) · right(i)` for every matrix of a batch, over threads.
fn for_batch<'a, T: Real>(
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
