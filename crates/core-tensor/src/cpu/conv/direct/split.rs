//! Copies of planes with their padding, split by the remainder of the position.

use crate::cpu::conv::geometry::Geometry;
use crate::kernel::{LANES, Real};
use std::ops::Range;

/// How padded planes are split by the remainder of the position.
pub(super) struct Split {
    /// Rows and columns of each part, and elements of all parts.
    pub(super) rows: usize,
    pub(super) stride: usize,
    pub(super) plane: usize,
    /// Where each tap reads.
    pub(super) offsets: Vec<usize>,
    /// Which parts are read.
    is_read: Vec<bool>,
}

impl Split {
    pub(super) fn new(g: &Geometry) -> Self {
        let reach = |axis: usize| (g.kernel[axis] - 1) * g.dilation[axis] / g.stride[axis];
        let rows = g.output[1] + reach(0);
        let stride = g.output[2].next_multiple_of(LANES) + reach(1);
        let mut is_read = vec![false; g.stride[0] * g.stride[1]];
        let mut offsets = Vec::with_capacity(g.taps());
        for ki in 0..g.kernel[0] {
            for kj in 0..g.kernel[1] {
                let (i, j) = (ki * g.dilation[0], kj * g.dilation[1]);
                let part = i % g.stride[0] * g.stride[1] + j % g.stride[1];
                is_read[part] = true;
                offsets.push(part * rows * stride + i / g.stride[0] * stride + j / g.stride[1]);
            }
        }
        Self { rows, stride, plane: is_read.len() * rows * stride, offsets, is_read }
    }

    /// The padded planes of some input channels.
    pub(super) fn fill<T: Real>(&self, g: &Geometry, x: &[T], out: &mut Vec<T>) {
        let [_, height, width] = g.input;
        out.resize(x.len() / g.in_plane() * self.plane, T::ZERO);
        for (x, out) in x.chunks_exact(height * width).zip(out.chunks_exact_mut(self.plane)) {
            for (part, out) in
                out.chunks_exact_mut(self.rows * self.stride).enumerate().filter(|(part, _)| self.is_read[*part])
            {
                let (first_row, first_column) = (part / g.stride[1], part % g.stride[1]);
                let columns = inside(g, 1, first_column, self.stride);
                let start = columns.start * g.stride[1] + first_column;
                for (row, out) in out.chunks_exact_mut(self.stride).enumerate() {
                    let row = row * g.stride[0] + first_row;
                    if row < g.padding[0] || row - g.padding[0] >= height || columns.is_empty() {
                        out.fill(T::ZERO);
                        continue;
                    }
                    let x = &x[(row - g.padding[0]) * width + start - g.padding[1]..];
                    out[..columns.start].fill(T::ZERO);
                    out[columns.end..].fill(T::ZERO);
                    let out = &mut out[columns.clone()];
                    if g.stride[1] == 1 {
                        out.copy_from_slice(&x[..out.len()]);
                    } else {
                        out.iter_mut().zip(x.iter().step_by(g.stride[1])).for_each(|(out, &x)| *out = x);
                    }
                }
            }
        }
    }
}

/// Which of `count` places of a part, along an axis, lie inside the input.
pub(super) fn inside(g: &Geometry, axis: usize, part: usize, count: usize) -> Range<usize> {
    let (size, stride, padding) = (g.input[axis + 1], g.stride[axis], g.padding[axis]);
    let first = padding.saturating_sub(part).div_ceil(stride).min(count);
    let end = (size + padding).saturating_sub(part).div_ceil(stride).min(count);
    first..end.max(first)
}

/// A plane with rows of `columns` within zeros: `before` rows and columns precede it, and rows are `stride` apart.
pub(super) fn pad<T: Real>(x: &[T], columns: usize, before: [usize; 2], stride: usize, out: &mut [T]) {
    out[..before[0] * stride].fill(T::ZERO);
    let used = (before[0] * stride + x.len() / columns.max(1) * stride).min(out.len());
    for (x, out) in x.chunks_exact(columns).zip(out[before[0] * stride..used].chunks_exact_mut(stride)) {
        let columns = columns.min(stride - before[1]);
        out[..before[1]].fill(T::ZERO);
        out[before[1]..before[1] + columns].copy_from_slice(&x[..columns]);
        out[before[1] + columns..].fill(T::ZERO);
    }
    out[used..].fill(T::ZERO);
}
