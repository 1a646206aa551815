//! What all training sets of a cross-validation share: centred rows, and how any two of them compare.

use super::kernel::{Gamma, Kernel};
use crate::Matrix;
use crate::element::Element;
use crate::pairwise::{Comparison, Packed, ROWS, padded};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Where the centre lies and what the unit is. Both kernels' problems are the same after a shift, and a power of two as unit keeps squares within range.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Frame {
    /// Features are multiplied by this power of two, …
    pub(crate) scale: f64,
    /// … then the centre is subtracted.
    pub(crate) centre: Vec<f64>,
}

impl Frame {
    pub(crate) fn of(x: &Matrix) -> Self {
        let largest = x.values().iter().fold(0f64, |largest, value| largest.max(value.abs()));
        // the exponent of the largest number; subnormal numbers count as 0
        let exponent = ((largest.to_bits() >> 52) as i32).clamp(1, 2045) - 1023;
        let scale = f64::from_bits(((1022 - exponent).clamp(1, 2046) as u64) << 52);
        let mut centre = vec![0.; x.width()];
        let share = 1. / x.len() as f64;
        for row in x.values().chunks_exact(x.width()) {
            centre.iter_mut().zip(row).for_each(|(centre, value)| *centre += value * scale * share);
        }
        Self { scale, centre }
    }

    pub(crate) fn apply(&self, x: &Matrix) -> Vec<f64> {
        let row = |row: &[f64]| -> Vec<f64> {
            row.iter().zip(&self.centre).map(|(value, centre)| value * self.scale - centre).collect()
        };
        x.values().chunks_exact(x.width()).flat_map(row).collect()
    }
}

/// e^(-γ d) - 1 in place of squared distances d.
pub(crate) struct Radial<'a, T>(pub(crate) &'a mut [T], pub(crate) T);

impl<T: Element> WithSimd for Radial<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for value in self.0 {
            *value = value.times(self.1).exp_m1_of_minus();
        }
    }
}

/// Rows in their frame, what each adds to the variance of all entries, and all comparisons.
pub(crate) struct Geometry<T> {
    pub(crate) frame: Frame,
    comparison: Comparison,
    width: usize,
    /// In their frame, `[rows, width]`.
    pub(crate) rows: Vec<f64>,
    /// Σ (x - m) and Σ (x - m)² of each row, with the mean m of all entries, in units of the frame.
    moments: Vec<[f64; 2]>,
    /// `[rows, padded(rows)]`
    comparisons: Vec<T>,
}

impl<T: Element> Geometry<T> {
    pub(crate) fn new(x: &Matrix, kernel: Kernel) -> Self {
        let (frame, comparison) = (Frame::of(x), kernel.comparison());
        let (rows, width) = (frame.apply(x), x.width());
        let mean = frame.centre.iter().sum::<f64>() / width as f64;
        let moments = x.values().chunks_exact(width).map(|row| {
            row.iter().fold([0., 0.], |[sum, squares], value| {
                let value = value * frame.scale - mean;
                [sum + value, value.mul_add(value, squares)]
            })
        });
        let moments = moments.collect();
        let packed = Packed::new(width, rows.chunks_exact(width));
        let stride = padded(x.len());
        let mut comparisons = vec![T::default(); x.len() * stride];
        comparisons
            .par_chunks_mut(ROWS * stride)
            .zip(rows.par_chunks(ROWS * width))
            .for_each(|(out, rows)| packed.compare(comparison, rows, out));
        Self { frame, comparison, width, rows, moments, comparisons }
    }

    pub(crate) fn row(&self, at: usize) -> &[f64] {
        &self.rows[at * self.width..(at + 1) * self.width]
    }

    /// What C has to be multiplied by where the kernel is that of the frame; 1 for the radial kernel, whose γ is in units of the frame.
    pub(crate) fn unit(&self, kernel: Kernel) -> f64 {
        match kernel {
            Kernel::Linear => 1. / self.frame.scale / self.frame.scale,
            Kernel::Rbf(_) => 1.,
        }
    }

    /// γ in units of the frame, for a machine that is trained on these rows. 0 for the linear kernel.
    pub(crate) fn gamma(&self, kernel: Kernel, train: &[usize]) -> f64 {
        match kernel {
            Kernel::Linear => 0.,
            Kernel::Rbf(Gamma::Value(gamma)) => (gamma / self.frame.scale / self.frame.scale).min(f64::MAX),
            Kernel::Rbf(Gamma::Scale) => {
                let count = (train.len() * self.width) as f64;
                let (mut sum, mut squares) = (0., 0.);
                for &row in train {
                    sum += self.moments[row][0] / count;
                    squares += self.moments[row][1] / count;
                }
                let variance = sum.mul_add(-sum, squares);
                // what rounding leaves of equal entries is no variance; in this frame the largest entry is about 1
                if variance > 1e-30 {
                    1. / (self.width as f64 * variance)
                } else {
                    1. / self.frame.scale / self.frame.scale
                }
            }
        }
    }

    /// The kernel between `rows` and `columns`, `[rows, padded(columns)]`: products, or e^(-γ d) - 1, which differs from the radial kernel by what cancels out of every machine (Σ y α = 0) and keeps the digits of small distances. It goes into `values`, whose memory is used again.
    pub(crate) fn kernel(&self, rows: &[usize], columns: &[usize], gamma: f64, values: &mut Vec<T>) {
        let (stride, width) = (padded(self.moments.len()), padded(columns.len()));
        let runs = runs(columns);
        values.resize(rows.len() * width, T::default());
        for (to, &row) in values.chunks_exact_mut(width).zip(rows) {
            let from = &self.comparisons[row * stride..(row + 1) * stride];
            let mut at = 0;
            for &(start, len) in &runs {
                to[at..at + len].copy_from_slice(&from[start..start + len]);
                at += len;
            }
            to[at..].fill(T::default());
            if self.comparison == Comparison::SquaredDistance {
                Arch::new().dispatch(Radial(to, T::of(gamma)));
            }
        }
    }
}

/// Ascending neighbours as (start, length).
fn runs(columns: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &column in columns {
        match runs.last_mut() {
            Some((start, len)) if *start + *len == column => *len += 1,
            _ => runs.push((column, 1)),
        }
    }
    runs
}
