//! Dense matrix products.

use super::Real;

/// A matrix in a slice, by its strides.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// `[rows, cols]` in row-major order.
    pub(crate) fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert!(data.len() >= rows * cols, "a matrix outside of its data");
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transpose, without a copy.
    pub(crate) fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// Products smaller than this many multiply-adds stay on one thread.
const MIN_PARALLEL: usize = 128 * 1024;

/// `out = left · right`, or `out += left · right`, in row-major order.
pub(crate) fn gemm<T: Real>(left: Matrix<'_, T>, right: Matrix<'_, T>, out: &mut [T], is_added: bool) {
    let (m, n, k) = (left.rows, right.cols, left.cols);
    assert!(right.rows == k && out.len() == m * n, "sizes of a matrix product");
    if k == 0 && !is_added {
        out.fill(T::ZERO);
    }
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    let parallelism = if m * n * k < MIN_PARALLEL {
        gemm::Parallelism::None
    } else {
        gemm::Parallelism::Rayon(rayon::current_num_threads())
    };
    // SAFETY: the matrices lie within their slices by construction, `out` has m · n elements, and it is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            is_added,
            left.data.as_ptr(),
            left.col_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.col_stride as isize,
            right.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}
