//! Cross-correlation of few channels, as of many groups, without products of matrices: sums over taps in registers.
//!
//! Planes are copied with their padding, and for a stride split into one plane for each remainder of the position, so that what a tap reads for neighbouring outputs lies side by side. The gradient
//! of the input is, for each such remainder, a cross-correlation of the padded gradient with the taps that lead there.

mod loops;
mod split;
mod weights;

pub(super) use weights::WeightSums;

use super::geometry::Geometry;
use crate::kernel::{LANES, Real, for_slices};
use loops::{Sums, correlate, packed};
use split::{Split, inside, pad};

/// Whether products of matrices would be too narrow to be fast.
pub(super) fn is_suited(g: &Geometry) -> bool {
    g.is_depthwise() || (g.groups > 1 && g.taps() > 1 && g.group().0 <= 32 && g.output[2] >= LANES / 2)
}

pub(super) fn forward<T: Real>(g: &Geometry, x: &[T], w: &[T], out: &mut [T]) {
    let (inputs, outputs) = g.group();
    let (taps, depth) = (g.taps(), g.depth());
    let split = Split::new(g);
    let weights: Vec<Vec<T>> = (0..g.groups)
        .map(|group| packed(outputs, inputs, taps, |o, i, tap| w[(group * outputs + o) * depth + i * taps + tap]))
        .collect();
    let job = Sums {
        inputs,
        plane: split.plane,
        stride: split.stride,
        offsets: split.offsets.clone(),
        rows: g.output[1],
        columns: g.output[2],
        first: 0,
    };
    let unit = outputs * g.out_plane();
    for_slices(out, unit, unit * depth, &|first, out| {
        let mut padded = Vec::new();
        for (at, out) in (first..).zip(out.chunks_exact_mut(unit)) {
            let (image, group) = (at / g.groups, at % g.groups);
            let start = image * g.in_image() + group * inputs * g.in_plane();
            split.fill(g, &x[start..start + inputs * g.in_plane()], &mut padded);
            correlate(&job, &padded, &weights[group], outputs, out);
        }
    });
}

/// The inputs of one remainder of the position, and the taps that read them.
struct Part<T> {
    job: Sums,
    /// Rows and columns of the input where they begin.
    start: [usize; 2],
    /// For each group.
    weights: Vec<Vec<T>>,
}

pub(super) fn input_gradient<T: Real>(g: &Geometry, w: &[T], grad: &[T], out: &mut [T]) {
    let (inputs, outputs) = g.group();
    let (taps, depth) = (g.taps(), g.depth());
    // What precedes the gradient: as far as the last tap reaches.
    let reach = [0, 1].map(|axis| (g.kernel[axis] - 1) * g.dilation[axis] / g.stride[axis]);
    // As many places as the input has, of each remainder, rounded up.
    let count = [0, 1].map(|axis| (g.input[axis + 1] + g.padding[axis]).div_ceil(g.stride[axis]));
    let stride = count[1].next_multiple_of(LANES) + LANES + reach[1];
    let plane = (count[0] + reach[0]) * stride;
    let mut parts = Vec::new();
    for part in 0..g.stride[0] * g.stride[1] {
        let part = [part / g.stride[1], part % g.stride[1]];
        let rows = inside(g, 0, part[0], count[0]);
        let columns = inside(g, 1, part[1], count[1]);
        if rows.is_empty() || columns.is_empty() {
            continue;
        }
        let mut offsets = Vec::new();
        let mut of_part = Vec::new();
        for tap in 0..taps {
            let at = [tap / g.kernel[1] * g.dilation[0], tap % g.kernel[1] * g.dilation[1]];
            if [at[0] % g.stride[0], at[1] % g.stride[1]] == part {
                offsets.push((reach[0] - at[0] / g.stride[0]) * stride + reach[1] - at[1] / g.stride[1]);
                of_part.push(tap);
            }
        }
        let weights = (0..g.groups).map(|group| {
            packed(inputs, outputs, of_part.len(), |i, o, tap| {
                w[(group * outputs + o) * depth + i * taps + of_part[tap]]
            })
        });
        let start =
            [rows.start * g.stride[0] + part[0] - g.padding[0], columns.start * g.stride[1] + part[1] - g.padding[1]];
        let first = rows.start * stride + columns.start;
        let job = Sums { inputs: outputs, plane, stride, offsets, rows: rows.len(), columns: columns.len(), first };
        parts.push(Part { job, start, weights: weights.collect() });
    }
    let unit = inputs * g.in_plane();
    for_slices(out, unit, outputs * g.out_plane() * depth, &|first, out| {
        let (mut padded, mut result) = (Vec::new(), Vec::new());
        for (at, out) in (first..).zip(out.chunks_exact_mut(unit)) {
            let start = at / g.groups * g.out_image() + at % g.groups * outputs * g.out_plane();
            let grad = &grad[start..start + outputs * g.out_plane()];
            padded.resize(outputs * plane, T::ZERO);
            for (grad, padded) in grad.chunks_exact(g.out_plane()).zip(padded.chunks_exact_mut(plane)) {
                pad(grad, g.output[2], reach, stride, padded);
            }
            for part in &parts {
                let weights = &part.weights[at % g.groups];
                if g.stride == [1, 1] {
                    correlate(&part.job, &padded, weights, inputs, out);
                    continue;
                }
                let size = part.job.rows * part.job.columns;
                result.resize(inputs * size, T::ZERO);
                if part.job.offsets.is_empty() {
                    result.fill(T::ZERO);
                } else {
                    correlate(&part.job, &padded, weights, inputs, &mut result);
                }
                for (result, out) in result.chunks_exact(size).zip(out.chunks_exact_mut(g.in_plane())) {
                    for (row, result) in result.chunks_exact(part.job.columns).enumerate() {
                        let start = (part.start[0] + row * g.stride[0]) * g.input[2] + part.start[1];
                        let out = out[start..].iter_mut().step_by(g.stride[1]);
                        out.zip(result).for_each(|(out, &v)| *out = v);
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain sum over groups, taps and positions: `y`, and the gradients of `x` and `w` for the gradient `grad` of `y`.
    fn plain(g: &Geometry, x: &[f64], w: &[f64], grad: &[f64]) -> [Vec<f64>; 3] {
        let (inputs, outputs) = g.group();
        let mut y = vec![0.; g.images * g.out_image()];
        let (mut of_x, mut of_w) = (vec![0.; x.len()], vec![0.; w.len()]);
        for at in 0..y.len() {
            let (image, channel) = (at / g.out_image(), at / g.out_plane() % g.output[0]);
            let (row, column) = (at / g.output[2] % g.output[1], at % g.output[2]);
            for input in 0..inputs {
                for tap in 0..g.taps() {
                    let i = (row * g.stride[0] + tap / g.kernel[1] * g.dilation[0]).checked_sub(g.padding[0]);
                    let j = (column * g.stride[1] + tap % g.kernel[1] * g.dilation[1]).checked_sub(g.padding[1]);
                    if let (Some(i), Some(j)) = (i, j)
                        && i < g.input[1]
                        && j < g.input[2]
                    {
                        let plane = image * g.input[0] + channel / outputs * inputs + input;
                        let (from, weight) =
                            ((plane * g.input[1] + i) * g.input[2] + j, (channel * inputs + input) * g.taps() + tap);
                        y[at] += x[from] * w[weight];
                        of_x[from] += grad[at] * w[weight];
                        of_w[weight] += grad[at] * x[from];
                    }
                }
            }
        }
        [y, of_x, of_w]
    }

    #[test]
    fn sums_are_those_of_the_plain_loops() {
        let values = |len: usize, seed: usize| -> Vec<f64> {
            (0..len).map(|at| ((at * 2_654_435_761 + seed * 97) % 1009) as f64 / 504.5 - 1.).collect()
        };
        // groups, inputs and outputs of each, input size, kernel, stride, padding, dilation
        let sizes = [
            (4, 3, 5, [7, 19], [3, 3], [1, 1], [1, 1], [1, 1]),
            (5, 1, 1, [9, 33], [3, 3], [1, 1], [1, 1], [1, 1]),
            (3, 1, 2, [9, 17], [5, 3], [2, 2], [2, 1], [1, 1]),
            (2, 4, 4, [11, 37], [3, 4], [2, 3], [1, 2], [2, 1]),
            (2, 2, 9, [6, 20], [2, 2], [3, 3], [0, 0], [1, 2]),
            (7, 1, 1, [1, 50], [1, 7], [1, 1], [0, 6], [1, 2]),
            (3, 1, 1, [8, 8], [1, 1], [2, 2], [0, 0], [1, 1]),
            (2, 3, 3, [5, 18], [3, 3], [1, 1], [4, 5], [1, 1]),
        ];
        for (groups, inputs, outputs, size, kernel, stride, padding, dilation) in sizes {
            let out = [0, 1].map(|axis| {
                (size[axis] + 2 * padding[axis] - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1
            });
            let (input, output) = ([groups * inputs, size[0], size[1]], [groups * outputs, out[0], out[1]]);
            let g = Geometry { images: 3, input, output, kernel, stride, padding, dilation, groups };
            let (x, w) = (values(g.images * g.in_image(), 1), values(g.weights(), 2));
            let grad = values(g.images * g.out_image(), 3);
            let [y, of_x, of_w] = plain(&g, &x, &w, &grad);
            fn check<T: Real>(g: &Geometry, [x, w, grad]: [&[f64]; 3], expected: [&[f64]; 3], tolerance: f64) {
                let [x, w, grad] = [x, w, grad].map(|values| values.iter().map(|&v| T::of(v)).collect::<Vec<T>>());
                let mut y = vec![T::NAN; expected[0].len()];
                forward(g, &x, &w, &mut y);
                let mut of_x = vec![T::NAN; x.len()];
                input_gradient(g, &w, &grad, &mut of_x);
                let (mut of_w, mut sums) = (vec![T::ZERO; w.len()], WeightSums::default());
                for image in 0..g.images {
                    let grad = &grad[image * g.out_image()..(image + 1) * g.out_image()];
                    sums.add(g, &x[image * g.in_image()..(image + 1) * g.in_image()], grad);
                }
                sums.flush(&mut of_w);
                for (found, expected) in [y, of_x, of_w].iter().zip(expected) {
                    let near = |(found, expected): (&T, &f64)| (found.to_f64() - expected).abs() < tolerance;
                    assert!(found.iter().zip(expected).all(near), "{g:?}");
                }
            }
            let expected = [y.as_slice(), &of_x, &of_w];
            check::<f64>(&g, [&x, &w, &grad], expected, 1e-11);
            check::<f32>(&g, [&x, &w, &grad], expected, 2e-4);
        }
    }
}
