//! Pooling over windows of planes.

use crate::kernel::{Gradients, Kernel, Real, collect, for_slices, for_slices2, multiversion, sum_all};
use std::ops::Range;
use std::sync::OnceLock;

/// Ranges of input rows and columns for each output row and column.
pub(crate) struct Windows {
    pub(crate) input: [usize; 2],
    pub(crate) rows: Vec<Range<usize>>,
    pub(crate) columns: Vec<Range<usize>>,
    /// The divisor of a mean; the window's own size if `None`.
    pub(crate) area: Option<usize>,
}

impl Windows {
    fn in_plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    pub(crate) fn out_plane(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    pub(crate) fn area(&self, rows: &Range<usize>, columns: &Range<usize>) -> f64 {
        self.area.unwrap_or(rows.len() * columns.len()) as f64
    }
}

pub(crate) struct MaxPool {
    pub(crate) windows: Windows,
    /// For each output, the position of its maximum in the input plane.
    pub(crate) chosen: OnceLock<Vec<u32>>,
}

multiversion! {
    fn max_plane<T>(windows: &Windows, x: &[T], out: &mut [T], chosen: &mut [u32]) {
        let width = windows.input[1];
        let columns_out = windows.columns.len();
        for (row, rows) in windows.rows.iter().enumerate() {
            let out = &mut out[row * columns_out..(row + 1) * columns_out];
            let chosen = &mut chosen[row * columns_out..(row + 1) * columns_out];
            for ((out, chosen), columns) in out.iter_mut().zip(chosen).zip(&windows.columns) {
                let mut at = rows.start * width + columns.start;
                let mut best = x[at];
                for i in rows.clone() {
                    for j in columns.clone() {
                        let value = x[i * width + j];
                        // A NaN wins against numbers.
                        let wins = value > best || (Real::is_nan(value) && !Real::is_nan(best));
                        best = if wins { value } else { best };
                        at = if wins { i * width + j } else { at };
                    }
                }
                *out = best;
                *chosen = at as u32;
            }
        }
    }
}

impl Kernel for MaxPool {
    const NAME: &'static str = "max-pool";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (inputs, outputs) = (self.windows.in_plane(), self.windows.out_plane());
        if inputs > u32::MAX as usize {
            candle_core::bail!("{}: planes of {inputs} elements", Self::NAME);
        }
        let planes = x[0].len() / inputs;
        let (mut out, mut chosen) = (vec![T::ZERO; planes * outputs], vec![0; planes * outputs]);
        for_slices2((&mut out, outputs), (&mut chosen, outputs), 2 * inputs, &|first, out, chosen| {
            let planes = x[0][first * inputs..].chunks_exact(inputs);
            for ((x, out), chosen) in planes.zip(out.chunks_exact_mut(outputs)).zip(chosen.chunks_exact_mut(outputs)) {
                max_plane(&self.windows, x, out, chosen);
            }
        });
        let _ = self.chosen.set(chosen);
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let Some(chosen) = self.chosen.get() else {
            return Err(candle_core::Error::BackwardNotSupported { op: Self::NAME });
        };
        let (inputs, outputs) = (self.windows.in_plane(), self.windows.out_plane());
        let mut out = vec![T::ZERO; x[0].len()];
        for_slices(&mut out, inputs, inputs, &|first, out| {
            for (at, out) in out.chunks_exact_mut(inputs).enumerate() {
                let range = (first + at) * outputs..(first + at + 1) * outputs;
                for (&at, &g) in chosen[range.clone()].iter().zip(&grad[range]) {
                    out[at as usize] += g;
                }
            }
        });
        Ok([Some(out), None, None])
    }
}

pub(crate) struct AvgPool {
    pub(crate) windows: Windows,
}

impl Kernel for AvgPool {
    const NAME: &'static str = "avg-pool";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let windows = &self.windows;
        let (inputs, outputs) = (windows.in_plane(), windows.out_plane());
        // SAFETY: every output of every plane is written.
        Ok(unsafe {
            collect(x[0].len() / inputs, outputs, 2 * inputs, |first, out| {
                for (x, out) in x[0][first * inputs..].chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)) {
                    for (row, rows) in windows.rows.iter().enumerate() {
                        for (column, columns) in windows.columns.iter().enumerate() {
                            let mut sum = T::ZERO;
                            for i in rows.clone() {
                                let row = &x[i * windows.input[1]..(i + 1) * windows.input[1]];
                                row[columns.clone()].iter().for_each(|&v| sum += v);
                            }
                            out[row * windows.columns.len() + column]
                                .write(sum * T::of(1. / windows.area(rows, columns)));
                        }
                    }
                }
            })
        })
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let windows = &self.windows;
        let (inputs, outputs) = (windows.in_plane(), windows.out_plane());
        let mut out = vec![T::ZERO; x[0].len()];
        for_slices(&mut out, inputs, 2 * inputs, &|first, out| {
            for (out, grad) in out.chunks_exact_mut(inputs).zip(grad[first * outputs..].chunks_exact(outputs)) {
                for (row, rows) in windows.rows.iter().enumerate() {
                    for (column, columns) in windows.columns.iter().enumerate() {
                        let g = grad[row * windows.columns.len() + column] * T::of(1. / windows.area(rows, columns));
                        for i in rows.clone() {
                            let row = &mut out[i * windows.input[1]..(i + 1) * windows.input[1]];
                            row[columns.clone()].iter_mut().for_each(|v| *v += g);
                        }
                    }
                }
            }
        });
        Ok([Some(out), None, None])
    }
}

pub(crate) struct RowMean {
    pub(crate) width: usize,
}

impl Kernel for RowMean {
    const NAME: &'static str = "row-mean";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let scale = T::of(1. / self.width as f64);
        let mut out = vec![T::ZERO; x[0].len() / self.width];
        for_slices(&mut out, 1, self.width, &|first, out| {
            for (out, x) in out.iter_mut().zip(x[0][first * self.width..].chunks_exact(self.width)) {
                let mut sum = [T::ZERO];
                sum_all(x, &mut sum);
                *out = sum[0] * scale;
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
        let scale = T::of(1. / self.width as f64);
        // SAFETY: every row is written whole.
        let out = unsafe {
            collect(x[0].len() / self.width, self.width, self.width, |first, out| {
                for (out, &g) in out.chunks_exact_mut(self.width).zip(&grad[first..]) {
                    out.iter_mut().for_each(|out| _ = out.write(g * scale));
                }
            })
        };
        Ok([Some(out), None, None])
    }
}
