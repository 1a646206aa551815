//! Scattered sums of rows.

use crate::kernel::{Gradients, Kernel, MIN_WORK_PER_TASK, Real, for_slices, written};

pub(crate) struct ScatterAdd {
    pub(crate) index: Vec<u32>,
    pub(crate) size: usize,
    pub(crate) width: usize,
}

impl Kernel for ScatterAdd {
    const NAME: &'static str = "scatter-add";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let mut out = vec![T::ZERO; self.size * self.width];
        if self.width == 0 || out.is_empty() {
            return Ok(out);
        }
        // Each task owns a range of rows and reads all indices, which are few compared with the elements; so there are only as many tasks as
        // threads. Where they are cut does not change any sum.
        let is_large = x[0].len() >= 2 * MIN_WORK_PER_TASK;
        let tasks = if is_large { rayon::current_num_threads() } else { 1 };
        let unit = self.size.div_ceil(tasks);
        for_slices(&mut out, unit * self.width, x[0].len(), &|first, out| {
            let first = first * unit;
            let rows = first..first + out.len() / self.width;
            for (x, &row) in x[0].chunks_exact(self.width).zip(&self.index) {
                let row = row as usize;
                if rows.contains(&row) {
                    let at = (row - first) * self.width;
                    out[at..at + self.width].iter_mut().zip(x).for_each(|(o, &x)| *o += x);
                }
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        _x: &[&[T]],
        _y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let width = self.width;
        let copy = |out: &mut [T]| {
            for_slices(out, width, width, &|first, out| {
                for (out, &row) in out.chunks_exact_mut(width.max(1)).zip(&self.index[first..]) {
                    out.copy_from_slice(&grad[row as usize * width..(row as usize + 1) * width]);
                }
            });
        };
        // SAFETY: every row is written whole, and none is read.
        Ok([Some(unsafe { written(self.index.len() * width, copy) }), None, None])
    }
}
