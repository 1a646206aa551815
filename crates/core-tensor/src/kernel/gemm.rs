//! Dense matrix products.

use super::Real;

/// A view of a slice as a matrix, by its strides.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// `[rows, cols]` in row-major order, the first elements of `data`.
    ///
    /// # Panics
    ///
    /// When `data` is shorter.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// `[rows, cols]`, whose rows lie `stride` elements apart.
    ///
    /// # Panics
    ///
    /// When `data` is shorter, or `stride` is less than `cols`.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(fits(data.len(), rows, cols, stride), "a matrix is larger than its data");
        Self { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// Some of its rows.
    ///
    /// # Panics
    ///
    /// When it does not have them.
    pub fn rows(self, rows: std::ops::Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows of a matrix");
        let start = if rows.is_empty() { 0 } else { rows.start * self.row_stride };
        Self { data: &self.data[start..], rows: rows.len(), ..self }
    }

    /// The transpose, without a copy.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

fn fits(len: usize, rows: usize, cols: usize, stride: usize) -> bool {
    rows == 0 || cols == 0 || (stride >= cols && (rows - 1) * stride + cols <= len)
}

/// Products smaller than this many multiply-adds stay on one thread.
const MIN_PARALLEL: usize = 128 * 1024;

/// `out = left · right`, or `out += left · right` if `is_added`, in row-major order, over threads when it is large. The bits do not depend on the number of threads.
///
/// # Panics
///
/// When the sizes do not fit each other.
pub fn gemm<T: Real>(left: Matrix<'_, T>, right: Matrix<'_, T>, out: &mut [T], is_added: bool) {
    assert!(out.len() == left.rows * right.cols, "sizes of a matrix product");
    gemm_strided(left, right, out, right.cols, is_added, true);
}

/// `left · right`, in row-major order, in new memory that is written once.
///
/// # Panics
///
/// When the sizes do not fit each other, or the result does not fit into memory.
pub fn product<T: Real>(left: Matrix<'_, T>, right: Matrix<'_, T>) -> Vec<T> {
    let (m, n, k) = (left.rows, right.cols, left.cols);
    assert!(right.rows == k, "sizes of a matrix product");
    // Too large a number of elements ends in the allocation, as for any vector.
    let len = m.saturating_mul(n);
    if len == 0 || k == 0 {
        return vec![T::ZERO; len];
    }
    let mut out = Vec::with_capacity(len);
    let rows = Rows { start: out.as_mut_ptr(), len, stride: n };
    // SAFETY: the capacity is at least `len`, and a product that is not added writes all `m · n` elements without reading them.
    unsafe {
        into_rows(left, right, rows, false, true);
        out.set_len(len);
    }
    out
}

/// [`gemm()`] into rows that lie `stride` elements apart in `out`; on this thread alone unless `is_parallel`, as inside of a task.
///
/// # Panics
///
/// When the sizes do not fit each other.
pub fn gemm_strided<T: Real>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    out: &mut [T],
    stride: usize,
    is_added: bool,
    is_parallel: bool,
) {
    let (m, n, k) = (left.rows, right.cols, left.cols);
    assert!(right.rows == k && fits(out.len(), m, n, stride), "sizes of a matrix product");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !is_added {
            out.chunks_mut(stride).take(m).for_each(|row| row[..n].fill(T::ZERO));
        }
        return;
    }
    let rows = Rows { start: out.as_mut_ptr(), len: out.len(), stride };
    // SAFETY: the rows are borrowed exclusively and initialised.
    unsafe { into_rows(left, right, rows, is_added, is_parallel) }
}

/// Rows of a result, `stride` elements apart.
#[derive(Clone, Copy)]
struct Rows<T> {
    start: *mut T,
    len: usize,
    stride: usize,
}

/// The product of matrices that fit and are not empty.
///
/// # Safety
///
/// The rows are valid for writes of `len` elements that nobody else uses, and initialised if the product is added.
unsafe fn into_rows<T: Real>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    out: Rows<T>,
    is_added: bool,
    is_parallel: bool,
) {
    let (m, n, k) = (left.rows, right.cols, left.cols);
    // GEMM packs a right side whose columns are contiguous element by element; a copy in blocks is several times faster.
    let is_worth_it = right.row_stride == 1 && right.col_stride > 1 && k >= 8 && n >= 8 && m >= 8;
    if is_worth_it {
        return T::with_scratch(|scratch| {
            let len = k * n;
            if scratch.len() < len {
                scratch.resize(len, T::ZERO);
            }
            // As it lies in memory, `right` is `[n, k]` with rows `col_stride` apart.
            super::transpose(right.data, n, right.col_stride, &mut scratch[..len], is_parallel);
            // SAFETY: as for this function.
            unsafe { multiply(left, Matrix::new(&scratch[..len], k, n), out, is_added, is_parallel) }
        });
    }
    // SAFETY: as for this function.
    unsafe { multiply(left, right, out, is_added, is_parallel) }
}

/// The product itself.
///
/// # Safety
///
/// As for [`into_rows`].
unsafe fn multiply<T: Real>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    out: Rows<T>,
    is_added: bool,
    is_parallel: bool,
) {
    let (m, n, k) = (left.rows, right.cols, left.cols);
    assert!(right.rows == k && fits(out.len, m, n, out.stride), "sizes of a matrix product");
    let parallelism = if !is_parallel || m * n * k < MIN_PARALLEL || rayon::current_num_threads() == 1 {
        gemm::Parallelism::None
    } else {
        gemm::Parallelism::Rayon(rayon::current_num_threads())
    };
    // SAFETY: the matrices lie within their slices by construction, so does the result by the assertion above; the caller promises that
    // nobody else uses it. It is read only if the product is added.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.start,
            1,
            out.stride as isize,
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
