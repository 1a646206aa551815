//! Copies of whole runs of elements.

use crate::kernel::{Gradients, Kernel, Real, collect, for_slices, multiversion, written};
use std::mem::MaybeUninit;

/// Up to three arguments, row by row.
pub(crate) struct Join {
    pub(crate) rows: usize,
    /// Elements of a row of each argument.
    pub(crate) widths: [usize; 3],
}

impl Join {
    fn copy<T: Real>(&self, x: &[&[T]], width: usize, out: &mut [T]) {
        // One long row is cut within.
        if self.rows == 1 {
            let mut rest = out;
            for x in x {
                let (part, others) = rest.split_at_mut(x.len());
                for_slices(part, 1, 1, &|first, part| part.copy_from_slice(&x[first..first + part.len()]));
                rest = others;
            }
            return;
        }
        for_slices(out, width, width, &|first, out| {
            for (row, out) in (first..).zip(out.chunks_mut(width)) {
                let mut at = 0;
                for (x, width) in x.iter().zip(self.widths) {
                    out[at..at + width].copy_from_slice(&x[row * width..][..width]);
                    at += width;
                }
            }
        });
    }
}

impl Kernel for Join {
    const NAME: &'static str = "cat";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let width: usize = self.widths.iter().sum();
        // SAFETY: every element of every row is written, and none is read.
        Ok(unsafe { written(self.rows * width, |out| self.copy(x, width, out)) })
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
                let copy = |out: &mut [T]| {
                    for_slices(out, width, width, &|first, out| {
                        for (row, out) in (first..).zip(out.chunks_mut(width.max(1))) {
                            out.copy_from_slice(&grad[row * whole + at..][..width]);
                        }
                    });
                };
                // SAFETY: every row is written whole, and none is read.
                gradients[which] = Some(unsafe { written(x.len(), copy) });
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
        let copy = |out: &mut [T]| {
            for_slices(out, width, width, &|first, out| {
                for (run, out) in (first..).zip(out.chunks_mut(width)) {
                    let from = run / count * self.size + self.numbers[run % count] as usize;
                    out.copy_from_slice(&x[0][from * width..][..width]);
                }
            });
        };
        // SAFETY: every run is written whole, and none is read.
        Ok(unsafe { written(groups * count * width, copy) })
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

multiversion! {
    /// `a` where the mask is not 0, else `b`; one element stands for many.
    fn choose<T>(mask: &[u8], a: &[T], b: &[T], out: &mut [MaybeUninit<T>]) {
        match (a, b) {
            (&[a], b) if mask.len() > 1 => {
                for ((out, &mask), &b) in out.iter_mut().zip(mask).zip(b) {
                    out.write(if mask != 0 { a } else { b });
                }
            }
            (a, &[b]) if mask.len() > 1 => {
                for ((out, &mask), &a) in out.iter_mut().zip(mask).zip(a) {
                    out.write(if mask != 0 { a } else { b });
                }
            }
            (a, b) => {
                for (((out, &mask), &a), &b) in out.iter_mut().zip(mask).zip(a).zip(b) {
                    out.write(if mask != 0 { a } else { b });
                }
            }
        }
    }
}

impl Choose {
    fn chosen<T: Real>(&self, a: &[T], b: &[T]) -> Vec<T> {
        let part = |x: &'_ [T], at: usize, len: usize| if x.len() == 1 { 0..1 } else { at..at + len };
        // SAFETY: every element is written.
        unsafe {
            collect(self.mask.len(), 1, 1, |first, out| {
                let len = out.len();
                choose(&self.mask[first..first + len], &a[part(a, first, len)], &b[part(b, first, len)], out);
            })
        }
    }
}

impl Kernel for Choose {
    const NAME: &'static str = "where-cond";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        Ok(self.chosen(x[0], x[1]))
    }

    fn backward<T: Real>(
        &self,
        _x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let of_a = needs[0].then(|| self.chosen(grad, &[T::ZERO]));
        let of_b = needs[1].then(|| self.chosen(&[T::ZERO], grad));
        Ok([of_a, of_b, None])
    }
}
