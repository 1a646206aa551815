//! Sums over rows and over everything.

use crate::kernel::{
    Gradients, Kernel, MIN_WORK_PER_TASK, Real, collect, for_slices, for_slices2, multiversion, sum_all,
};

pub(crate) struct SumAll {
    pub(crate) scale: f64,
}

/// Elements that are added up in their own type; the sums of blocks are added in f64.
const SUM_BLOCK: usize = 4096;

impl Kernel for SumAll {
    const NAME: &'static str = "sum-all";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let mut sums = vec![0f64; x[0].len().div_ceil(SUM_BLOCK)];
        for_slices(&mut sums, 1, SUM_BLOCK, &|first, sums| {
            for (sum, block) in sums.iter_mut().zip(x[0][first * SUM_BLOCK..].chunks(SUM_BLOCK)) {
                let mut total = [T::ZERO];
                sum_all(block, &mut total);
                *sum = total[0].to_f64();
            }
        });
        Ok(vec![T::of(sums.iter().sum::<f64>() * self.scale)])
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        Ok([Some(vec![grad[0] * T::of(self.scale); x[0].len()]), None, None])
    }

    fn constant_gradient(&self, grad: f64) -> Option<f64> {
        Some(grad * self.scale)
    }
}

multiversion! {
    /// Adds the rows of `x` to `out`.
    fn add_rows<T>(x: &[T], out: &mut [T]) {
        let width = out.len();
        // Four rows at a time, so that `out` is read and written a quarter as often.
        let mut fours = x.chunks_exact(4 * width);
        for rows in &mut fours {
            let (a, rest) = rows.split_at(width);
            let (b, rest) = rest.split_at(width);
            let (c, d) = rest.split_at(width);
            for ((((o, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *o += (a + b) + (c + d);
            }
        }
        for row in fours.remainder().chunks_exact(width) {
            for (o, &v) in out.iter_mut().zip(row) {
                *o += v;
            }
        }
    }
}

/// The sum of the rows of `x`, each `width` elements.
pub(crate) fn sum_rows<T: Real>(x: &[T], width: usize) -> Vec<T> {
    let mut total = vec![T::ZERO; width];
    if width == 0 {
        return total;
    }
    // The blocks depend on the shape alone, so the order of additions does not depend on threads.
    let block = rows_per_block(width) * width;
    let blocks = x.len().div_ceil(block);
    if blocks <= 1 {
        add_rows(x, &mut total);
        return total;
    }
    let mut partial = vec![T::ZERO; blocks * width];
    for_slices(&mut partial, width, block, &|first, out| {
        for (out, x) in out.chunks_exact_mut(width).zip(x[first * block..].chunks(block)) {
            add_rows(x, out);
        }
    });
    sum_partials(&partial, width)
}

/// Calls `body(first element, rows, sums)` for blocks of the rows of `x`, each `width` elements; `body` changes them and, if the sum of all rows is asked for, adds them to `sums`, which are empty
/// otherwise. `work` is the number of steps for an element.
pub(crate) fn with_row_sums<T: Real>(
    x: &mut [T],
    width: usize,
    has_sums: bool,
    work: usize,
    body: &(impl Fn(usize, &mut [T], &mut [T]) + Sync),
) -> Option<Vec<T>> {
    let block = rows_per_block(width) * width;
    if !has_sums || x.is_empty() {
        for_slices(x, width, width * work, &|first, x| body(first * width, x, &mut []));
        return has_sums.then(|| vec![T::ZERO; width]);
    }
    let mut partial = vec![T::ZERO; x.len().div_ceil(block) * width];
    for_slices2((x, block), (&mut partial, width), block * work, &|first, x, partial| {
        for (at, (x, sums)) in x.chunks_mut(block).zip(partial.chunks_exact_mut(width)).enumerate() {
            body((first + at) * block, x, sums);
        }
    });
    Some(sum_partials(&partial, width))
}

/// Rows whose sums are added up in their own type: few, so that little is lost.
pub(crate) fn rows_per_block(width: usize) -> usize {
    (MIN_WORK_PER_TASK / width.max(1)).clamp(16, 128)
}

/// The sum of the rows, in f64: they are sums of blocks.
pub(crate) fn sum_partials<T: Real>(partial: &[T], width: usize) -> Vec<T> {
    let mut total = vec![0f64; width];
    if width > 0 {
        for row in partial.chunks_exact(width) {
            total.iter_mut().zip(row).for_each(|(t, v)| *t += v.to_f64());
        }
    }
    total.into_iter().map(T::of).collect()
}

/// `count` copies of a row, one after the other.
pub(crate) fn repeated<T: Real>(row: &[T], count: usize) -> Vec<T> {
    // SAFETY: every row is written whole.
    unsafe {
        collect(count, row.len(), row.len(), |_, out| {
            for out in out.chunks_exact_mut(row.len()) {
                for (out, &x) in out.iter_mut().zip(row) {
                    out.write(x);
                }
            }
        })
    }
}
