//! Cross-correlation where each input channel has kernels of its own: direct loops over planes, padded ones at stride 1.

use super::geometry::Geometry;
use crate::kernel::{Real, for_slices, multiversion};

/// The input plane of an output channel of a depthwise geometry.
fn source(g: &Geometry, output: usize) -> usize {
    output / (g.output[0] / g.groups)
}

/// The size of a plane with all its padding, for stride 1: no tap of any output lies outside.
fn padded_size(g: &Geometry) -> (usize, usize) {
    let size = |axis: usize| g.output[axis + 1] + (g.kernel[axis] - 1) * g.dilation[axis];
    (size(0), size(1))
}

/// A copy of the plane with its padding, for stride 1.
fn pad_plane<T: Real>(g: &Geometry, x: &[T], out: &mut Vec<T>) {
    let ((height, width), [_, rows, columns]) = (padded_size(g), g.input);
    let [top, left] = g.padding;
    // What is already there need not be cleared: every element is overwritten.
    out.resize(height * width, T::ZERO);
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        if row < top || row - top >= rows || left >= width {
            out.fill(T::ZERO);
            continue;
        }
        let count = columns.min(width - left);
        out[..left].fill(T::ZERO);
        out[left..left + count].copy_from_slice(&x[(row - top) * columns..(row - top) * columns + count]);
        out[left + count..].fill(T::ZERO);
    }
}

pub(super) fn forward<T: Real>(g: &Geometry, x: &[T], w: &[T], out: &mut [T]) {
    let taps = g.taps();
    for_slices(out, g.out_plane(), g.out_plane() * taps, &|first, out| {
        let mut padded = Vec::new();
        for (at, out) in out.chunks_exact_mut(g.out_plane()).enumerate() {
            let (image, channel) = ((first + at) / g.output[0], (first + at) % g.output[0]);
            let start = image * g.in_image() + source(g, channel) * g.in_plane();
            let (x, w) = (&x[start..start + g.in_plane()], &w[channel * taps..(channel + 1) * taps]);
            if g.stride == [1, 1] {
                pad_plane(g, x, &mut padded);
                correlate_padded(g, &padded, w, out);
            } else {
                out.fill(T::ZERO);
                correlate_plane(g, x, w, out);
            }
        }
    });
}

pub(super) fn input_gradient<T: Real>(g: &Geometry, w: &[T], grad: &[T], out: &mut [T]) {
    let (taps, multiplier) = (g.taps(), g.output[0] / g.groups);
    // One output for each input at stride 1: a cross-correlation with the kernel turned.
    let transposed = g.transposed().filter(|_| multiplier == 1);
    for_slices(out, g.in_plane(), g.out_plane() * taps * multiplier, &|first, out| {
        let (mut padded, mut turned) = (Vec::new(), Vec::new());
        for (at, out) in out.chunks_exact_mut(g.in_plane()).enumerate() {
            let (image, channel) = ((first + at) / g.input[0], (first + at) % g.input[0]);
            for output in channel * multiplier..(channel + 1) * multiplier {
                let start = image * g.out_image() + output * g.out_plane();
                let grad = &grad[start..start + g.out_plane()];
                let w = &w[output * taps..(output + 1) * taps];
                match &transposed {
                    Some(transposed) => {
                        turned.clear();
                        turned.extend(w.iter().rev());
                        pad_plane(transposed, grad, &mut padded);
                        correlate_padded(transposed, &padded, &turned, out);
                    }
                    None => spread_plane(g, grad, w, out),
                }
            }
        }
    });
}

pub(super) fn add_weight_gradient<T: Real>(g: &Geometry, x: &[T], grad: &[T], sum: &mut [T]) {
    let mut padded = Vec::new();
    for (output, sum) in sum.chunks_exact_mut(g.taps()).enumerate() {
        let x = &x[source(g, output) * g.in_plane()..(source(g, output) + 1) * g.in_plane()];
        let grad = &grad[output * g.out_plane()..(output + 1) * g.out_plane()];
        if g.stride == [1, 1] {
            pad_plane(g, x, &mut padded);
            correlate_padded_taps(g, &padded, grad, sum);
        } else {
            correlate_taps(g, x, grad, sum);
        }
    }
}

multiversion! {
    /// The cross-correlation of a padded plane with a kernel at stride 1, sixteen outputs at a time in registers.
    fn correlate_padded<T>(g: &Geometry, x: &[T], w: &[T], out: &mut [T]) {
        let (columns, width) = (g.output[2], g.output[2] + (g.kernel[1] - 1) * g.dilation[1]);
        for (row, out) in out.chunks_exact_mut(columns).enumerate() {
            for (chunk, out) in out.chunks_mut(16).enumerate() {
                let mut sums = [T::ZERO; 16];
                for (tap, &w) in w.iter().enumerate() {
                    let (ki, kj) = (tap / g.kernel[1], tap % g.kernel[1]);
                    let start = (row + ki * g.dilation[0]) * width + chunk * 16 + kj * g.dilation[1];
                    if out.len() == 16 {
                        for (sum, &x) in sums.iter_mut().zip(&x[start..start + 16]) {
                            *sum = w.mul_add(x, *sum);
                        }
                    } else {
                        for (sum, &x) in sums.iter_mut().zip(&x[start..start + out.len()]) {
                            *sum = w.mul_add(x, *sum);
                        }
                    }
                }
                let count = out.len();
                out.copy_from_slice(&sums[..count]);
            }
        }
    }
}

multiversion! {
    /// The adjoint of [`correlate_padded`] in the kernel: adds to `sum`.
    fn correlate_padded_taps<T>(g: &Geometry, x: &[T], grad: &[T], sum: &mut [T]) {
        let (columns, width) = (g.output[2], g.output[2] + (g.kernel[1] - 1) * g.dilation[1]);
        for (tap, sum) in sum.iter_mut().enumerate() {
            let (ki, kj) = (tap / g.kernel[1], tap % g.kernel[1]);
            let mut lanes = [T::ZERO; 16];
            for (row, grad) in grad.chunks_exact(columns).enumerate() {
                let start = (row + ki * g.dilation[0]) * width + kj * g.dilation[1];
                let x = &x[start..start + columns];
                let (mut xs, mut grads) = (x.chunks_exact(16), grad.chunks_exact(16));
                for (x, grad) in (&mut xs).zip(&mut grads) {
                    for ((lane, &x), &grad) in lanes.iter_mut().zip(x).zip(grad) {
                        *lane = x.mul_add(grad, *lane);
                    }
                }
                for ((lane, &x), &grad) in lanes.iter_mut().zip(xs.remainder()).zip(grads.remainder()) {
                    *lane = x.mul_add(grad, *lane);
                }
            }
            for lane in lanes {
                *sum += lane;
            }
        }
    }
}

multiversion! {
    /// Adds the cross-correlation of a plane with a kernel to `out`.
    fn correlate_plane<T>(g: &Geometry, x: &[T], w: &[T], out: &mut [T]) {
        let (width, columns) = (g.input[2], g.output[2]);
        for (tap, &w) in w.iter().enumerate() {
            let (ki, kj) = (tap / g.kernel[1], tap % g.kernel[1]);
            let valid = g.valid(1, kj);
            if valid.is_empty() {
                continue;
            }
            for row in g.valid(0, ki) {
                let start = g.at(0, ki, row) * width + g.at(1, kj, valid.start);
                let out = &mut out[row * columns + valid.start..row * columns + valid.end];
                if g.stride[1] == 1 {
                    for (out, &x) in out.iter_mut().zip(&x[start..]) {
                        *out = w.mul_add(x, *out);
                    }
                } else {
                    for (out, &x) in out.iter_mut().zip(x[start..].iter().step_by(g.stride[1])) {
                        *out = w.mul_add(x, *out);
                    }
                }
            }
        }
    }
}

multiversion! {
    /// The adjoint of [`correlate_plane`] in the plane: adds to `out`.
    fn spread_plane<T>(g: &Geometry, grad: &[T], w: &[T], out: &mut [T]) {
        let (width, columns) = (g.input[2], g.output[2]);
        for (tap, &w) in w.iter().enumerate() {
            let (ki, kj) = (tap / g.kernel[1], tap % g.kernel[1]);
            let valid = g.valid(1, kj);
            if valid.is_empty() {
                continue;
            }
            for row in g.valid(0, ki) {
                let start = g.at(0, ki, row) * width + g.at(1, kj, valid.start);
                let grad = &grad[row * columns + valid.start..row * columns + valid.end];
                if g.stride[1] == 1 {
                    for (out, &grad) in out[start..].iter_mut().zip(grad) {
                        *out = w.mul_add(grad, *out);
                    }
                } else {
                    for (out, &grad) in out[start..].iter_mut().step_by(g.stride[1]).zip(grad) {
                        *out = w.mul_add(grad, *out);
                    }
                }
            }
        }
    }
}

multiversion! {
    /// The adjoint of [`correlate_plane`] in the kernel: adds to `sum`.
    fn correlate_taps<T>(g: &Geometry, x: &[T], grad: &[T], sum: &mut [T]) {
        let (width, columns) = (g.input[2], g.output[2]);
        for (tap, sum) in sum.iter_mut().enumerate() {
            let (ki, kj) = (tap / g.kernel[1], tap % g.kernel[1]);
            let valid = g.valid(1, kj);
            if valid.is_empty() {
                continue;
            }
            // Sixteen sums, so that the additions overlap and fill a vector.
            let mut lanes = [T::ZERO; 16];
            for row in g.valid(0, ki) {
                let start = g.at(0, ki, row) * width + g.at(1, kj, valid.start);
                let grad = &grad[row * columns + valid.start..row * columns + valid.end];
                let x = &x[start..];
                if g.stride[1] == 1 {
                    let x = &x[..grad.len()];
                    let (mut xs, mut grads) = (x.chunks_exact(16), grad.chunks_exact(16));
                    for (x, grad) in (&mut xs).zip(&mut grads) {
                        for ((lane, &x), &grad) in lanes.iter_mut().zip(x).zip(grad) {
                            *lane = x.mul_add(grad, *lane);
                        }
                    }
                    for ((lane, &x), &grad) in lanes.iter_mut().zip(xs.remainder()).zip(grads.remainder()) {
                        *lane = x.mul_add(grad, *lane);
                    }
                } else {
                    for (at, (&x, &grad)) in x.iter().step_by(g.stride[1]).zip(grad).enumerate() {
                        lanes[at % 16] = x.mul_add(grad, lanes[at % 16]);
                    }
                }
            }
            for lane in lanes {
                *sum += lane;
            }
        }
    }
}
