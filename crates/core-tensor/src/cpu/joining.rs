//! Copies of whole runs of elements.

use crate::kernel::{Gradients, Kernel, Real, for_slices};

/// Up to three arguments, row by row.
pub(crate) struct Join {
    pub(crate) rows: usize,
    /// Elements of a row of each argument.
    pub(crate) widths: [usize; 3],
}

impl Kernel for Join {
    const NAME: &'static str = "cat";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let width: usize = self.widths.iter().sum();
        let mut out = vec![T::ZERO; self.rows * width];
        // One long row is cut within.
        if self.rows == 1 {
            let mut rest = out.as_mut_slice();
            for x in x {
                let (part, others) = rest.split_at_mut(x.len());
                for_slices(part, 1, 1, &|first, part| part.copy_from_slice(&x[first..first + part.len()]));
                rest = others;
            }
            return Ok(out);
        }
        for_slices(&mut out, width, width, &|first, out| {
            for (row, out) in (first..).zip(out.chunks_mut(width)) {
                let mut at = 0;
                for (x, width) in x.iter().zip(self.widths) {
                    out[at..at + width].copy_from_slice(&x[row * width..][..width]);
                    at += width;
                }
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let whole: usize = self.widths.iter().sum();
        let mut at = 0;
        let mut gradients = [None, None, None];
        for (which, x) in x.iter().enumerate() {
            let width = self.widths[which];
            if needs[which] {
                let mut out = vec![T::ZERO; x.len()];
                for_slices(&mut out, width, width, &|first, out| {
                    for (row, out) in (first..).zip(out.chunks_mut(width.max(1))) {
                        out.copy_from_slice(&grad[row * whole + at..][..width]);
                    }
                });
                gradients[which] = Some(out);
            }
            at += width;
        }
        Ok(gradients)
    }
}

/// Runs of `width` elements with the numbers `numbers`, of each group of `size` runs.
pub(crate) struct Select {
    pub(crate) numbers: Vec<u32>,
    pub(crate) size: usize,
    pub(crate) width: usize,
}

impl Kernel for Select {
    const NAME: &'static str = "index-select";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (count, width) = (self.numbers.len(), self.width);
        let groups = x[0].len().checked_div(self.size * width).unwrap_or(0);
        let mut out = vec![T::ZERO; groups * count * width];
        for_slices(&mut out, width, width, &|first, out| {
            for (run, out) in (first..).zip(out.chunks_mut(width)) {
                let from = run / count * self.size + self.numbers[run % count] as usize;
                out.copy_from_slice(&x[0][from * width..][..width]);
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (count, width) = (self.numbers.len(), self.width);
        let mut out = vec![T::ZERO; x[0].len()];
        let group = self.size * width;
        for_slices(&mut out, group, count * width, &|first, out| {
            for (at, out) in (first..).zip(out.chunks_mut(group.max(1))) {
                for (run, &number) in self.numbers.iter().enumerate() {
                    let grad = &grad[(at * count + run) * width..][..width];
                    let sum = &mut out[number as usize * width..][..width];
                    sum.iter_mut().zip(grad).for_each(|(sum, &g)| *sum += g);
                }
            }
        });
        Ok([Some(out), None, None])
    }
}

/// The first of two arguments where the mask is not 0, else the second.
pub(crate) struct Choose {
    pub(crate) mask: Vec<u8>,
}

impl Choose {
    fn chosen<T: Real>(&self, a: impl Fn(usize) -> T + Sync, b: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let mut out = vec![T::ZERO; self.mask.len()];
        for_slices(&mut out, 1, 1, &|first, out| {
            for (at, out) in (first..).zip(out) {
                *out = if self.mask[at] != 0 { a(at) } else { b(at) };
            }
        });
        out
    }
}

impl Kernel for Choose {
    const NAME: &'static str = "where-cond";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        Ok(self.chosen(|at| x[0][at], |at| x[1][at]))
    }

    fn backward<T: Real>(
        &self,
        _x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let of_a = needs[0].then(|| self.chosen(|at| grad[at], |_| T::ZERO));
        let of_b = needs[1].then(|| self.chosen(|_| T::ZERO, |at| grad[at]));
        Ok([of_a, of_b, None])
    }
}
