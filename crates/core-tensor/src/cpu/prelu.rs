//! The leaky ReLU whose slopes are learned.

use crate::kernel::{Gradients, Kernel, Real, for_slices, multiversion};
use candle_core::Result;

/// `x` where positive, else `slope · x`: `[outer, channels, plane]` with one slope for each channel, or one channel.
pub(crate) struct Prelu {
    pub(crate) channels: usize,
    pub(crate) plane: usize,
}

/// Rows whose products with the gradient are summed by one task; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 64;

multiversion! {
    fn scale<T>(source: &[T], x: &[T], slopes: &[T], plane: usize, out: &mut [T]) {
        if slopes.len() == 1 {
            for ((out, &source), &x) in out.iter_mut().zip(source).zip(x) {
                *out = if x > T::ZERO { source } else { slopes[0] * source };
            }
        } else if plane == 1 {
            let rows = out.chunks_exact_mut(slopes.len()).zip(source.chunks_exact(slopes.len()));
            for ((out, source), x) in rows.zip(x.chunks_exact(slopes.len())) {
                for (((out, &source), &x), &slope) in out.iter_mut().zip(source).zip(x).zip(slopes) {
                    *out = if x > T::ZERO { source } else { slope * source };
                }
            }
        } else {
            let planes = out.chunks_exact_mut(plane).zip(source.chunks_exact(plane)).zip(x.chunks_exact(plane));
            for (((out, source), x), &slope) in planes.zip(slopes.iter().cycle()) {
                for ((out, &source), &x) in out.iter_mut().zip(source).zip(x) {
                    *out = if x > T::ZERO { source } else { slope * source };
                }
            }
        }
    }
}

multiversion! {
    /// Adds `Σ grad · min(x, 0)` of each channel to `sums`.
    fn slope_sums<T>(x: &[T], grad: &[T], plane: usize, sums: &mut [T]) {
        if sums.len() == 1 {
            let mut lanes = [T::ZERO; 16];
            let (x_blocks, x_rest) = x.as_chunks::<16>();
            let (grad_blocks, grad_rest) = grad.as_chunks::<16>();
            for (x, grad) in x_blocks.iter().zip(grad_blocks) {
                for ((lane, &x), &g) in lanes.iter_mut().zip(x).zip(grad) {
                    *lane += if x > T::ZERO { T::ZERO } else { g * x };
                }
            }
            let mut sum = T::ZERO;
            for lane in lanes {
                sum += lane;
            }
            for (&x, &g) in x_rest.iter().zip(grad_rest) {
                sum += if x > T::ZERO { T::ZERO } else { g * x };
            }
            sums[0] += sum;
        } else if plane == 1 {
            for (x, grad) in x.chunks_exact(sums.len()).zip(grad.chunks_exact(sums.len())) {
                for ((sum, &x), &g) in sums.iter_mut().zip(x).zip(grad) {
                    *sum += if x > T::ZERO { T::ZERO } else { g * x };
                }
            }
        } else {
            let channels = sums.len();
            for (at, (x, grad)) in x.chunks_exact(plane).zip(grad.chunks_exact(plane)).enumerate() {
                let mut sum = T::ZERO;
                for (&x, &g) in x.iter().zip(grad) {
                    sum += if x > T::ZERO { T::ZERO } else { g * x };
                }
                sums[at % channels] += sum;
            }
        }
    }
}

impl Prelu {
    fn scaled<T: Real>(&self, source: &[T], x: &[T], slopes: &[T]) -> Vec<T> {
        let mut out = vec![T::ZERO; x.len()];
        let unit = self.channels * self.plane;
        for_slices(&mut out, unit, unit, &|first, out| {
            let part = first * unit..first * unit + out.len();
            scale(&source[part.clone()], &x[part], slopes, self.plane, out);
        });
        out
    }

    fn slope_gradient<T: Real>(&self, x: &[T], grad: &[T], slopes: usize) -> Vec<T> {
        let unit = self.channels * self.plane;
        let block = unit * ROWS;
        let mut parts = vec![T::ZERO; x.len().div_ceil(block.max(1)) * slopes];
        for_slices(&mut parts, slopes, block, &|first, parts| {
            for (at, sums) in parts.chunks_exact_mut(slopes).enumerate() {
                let start = (first + at) * block;
                let end = (start + block).min(x.len());
                slope_sums(&x[start..end], &grad[start..end], self.plane, sums);
            }
        });
        let mut sums = vec![0f64; slopes];
        for part in parts.chunks_exact(slopes) {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part.to_f64());
        }
        sums.into_iter().map(T::of).collect()
    }
}

impl Kernel for Prelu {
    const NAME: &'static str = "prelu";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        Ok(self.scaled(x[0], x[0], x[1]))
    }

    fn backward<T: Real>(&self, x: &[&[T]], _: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let of_x = needs[0].then(|| self.scaled(grad, x[0], x[1]));
        let of_slopes = needs[1].then(|| self.slope_gradient(x[0], grad, x[1].len()));
        Ok([of_x, of_slopes, None])
    }
}
