//! Cross-correlation of few channels, as of many groups, without products of matrices: sums over taps in registers.
//!
//! Planes are copied with their padding, and for a stride split into one plane for each remainder of the position, so that what a tap reads for neighbouring outputs lies side by side. The gradient
//! of the input is, for each such remainder, a cross-correlation of the padded gradient with the taps that lead there.

use super::geometry::Geometry;
#[cfg(target_arch = "x86_64")]
use crate::kernel::{Avx2, Avx512, Instructions, instructions};
use crate::kernel::{LANES, Lanes, Real, for_slices, multiversion};
use std::ops::Range;

/// Output channels that are computed together.
const CHANNELS: usize = 4;

/// Whether products of matrices would be too narrow to be fast.
pub(super) fn is_suited(g: &Geometry) -> bool {
    g.is_depthwise() || (g.groups > 1 && g.taps() > 1 && g.group().0 <= 32 && g.output[2] >= LANES / 2)
}

/// A cross-correlation at stride 1 of some padded planes.
struct Sums {
    /// Planes that are read, and elements of each.
    inputs: usize,
    plane: usize,
    /// How far apart rows of a plane are.
    stride: usize,
    /// For each tap how far it reads from the place of the output.
    offsets: Vec<usize>,
    /// Rows and columns of a result, and the place of the first.
    rows: usize,
    columns: usize,
    first: usize,
}

/// Sums over inputs and taps for `O` output channels and `V` vectors of places. `w` is `[inputs, taps, O]`.
#[inline(always)]
fn sums_of<T: Real, L: Lanes<T>, const O: usize, const V: usize>(
    job: &Sums,
    x: &[T],
    w: &[T],
    places: [usize; V],
) -> [[L; V]; O] {
    let mut sums = [[L::splat(T::ZERO); V]; O];
    for (x, w) in x.chunks_exact(job.plane).zip(w.chunks_exact(job.offsets.len() * O)) {
        for (&offset, w) in job.offsets.iter().zip(w.chunks_exact(O)) {
            let mut lanes = [L::splat(T::ZERO); V];
            for (lanes, place) in lanes.iter_mut().zip(places) {
                *lanes = L::load(&x[place + offset..]);
            }
            for (sums, &w) in sums.iter_mut().zip(w) {
                let w = L::splat(w);
                for (sum, x) in sums.iter_mut().zip(lanes) {
                    *sum = x.mul_add(w, *sum);
                }
            }
        }
    }
    sums
}

impl Sums {
    fn vectors(&self) -> usize {
        self.rows * self.columns.div_ceil(LANES)
    }

    /// The row and the first column of a vector.
    #[inline(always)]
    fn at(&self, vector: usize) -> (usize, usize) {
        let in_row = self.columns.div_ceil(LANES);
        (vector / in_row, vector % in_row * LANES)
    }

    #[inline(always)]
    fn place(&self, vector: usize) -> usize {
        let (row, column) = self.at(vector.min(self.vectors() - 1));
        self.first + row * self.stride + column
    }
}

#[inline(always)]
fn store<T: Real, L: Lanes<T>, const O: usize, const V: usize>(
    job: &Sums,
    vector: usize,
    sums: [[L; V]; O],
    out: &mut [T],
) {
    let size = job.rows * job.columns;
    for (out, sums) in out.chunks_exact_mut(size).zip(sums) {
        for (vector, sums) in (vector..job.vectors()).zip(sums) {
            let (row, column) = job.at(vector);
            let out = &mut out[row * job.columns + column..(row + 1) * job.columns];
            if let Some(out) = out.first_chunk_mut::<LANES>() {
                sums.store(out);
            } else {
                let mut lanes = [T::ZERO; LANES];
                sums.store(&mut lanes);
                out.copy_from_slice(&lanes[..out.len()]);
            }
        }
    }
}

/// All results of some output channels, `O` at a time.
#[inline(always)]
fn channels<T: Real, L: Lanes<T>, const O: usize, const V: usize>(job: &Sums, x: &[T], w: &[T], out: &mut [T]) {
    let (size, block) = (job.rows * job.columns, job.inputs * job.offsets.len() * O);
    for (w, out) in w.chunks_exact(block).zip(out.chunks_mut(O * size)) {
        for vector in (0..job.vectors()).step_by(V) {
            let mut places = [0; V];
            for (at, place) in places.iter_mut().enumerate() {
                *place = job.place(vector + at);
            }
            let sums = sums_of::<T, L, O, V>(job, x, w, places);
            store(job, vector, sums, out);
        }
    }
}

#[inline(always)]
fn correlate_with<T: Real, L: Lanes<T>>(job: &Sums, x: &[T], w: &[T], outputs: usize, out: &mut [T]) {
    match (outputs, L::IS_WIDE) {
        (1, true) => channels::<T, L, 1, 8>(job, x, w, out),
        (1, false) => channels::<T, L, 1, 4>(job, x, w, out),
        (_, true) => channels::<T, L, CHANNELS, 4>(job, x, w, out),
        (_, false) => channels::<T, L, CHANNELS, 1>(job, x, w, out),
    }
}

/// Defines a function that calls `$with` with the lanes of the instruction set that was found.
macro_rules! with_lanes {
    ($(#[$meta:meta])* fn $name:ident = $with:ident($job:ident: $Job:ty, $($in:ident),*; $($size:ident),*; $out:ident)) => {
        $(#[$meta])*
        fn $name<T: Real>($job: $Job, $($in: &[T],)* $($size: usize,)* $out: &mut [T]) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,fma")]
                fn avx512($job: $Job, $($in: &[f32],)* $($size: usize,)* $out: &mut [f32]) {
                    $with::<f32, Avx512>($job, $($in,)* $($size,)* $out);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($job: $Job, $($in: &[f32],)* $($size: usize,)* $out: &mut [f32]) {
                    $with::<f32, Avx2>($job, $($in,)* $($size,)* $out);
                }
                let found = instructions();
                if found != Instructions::Baseline
                    && let ($(Some($in),)* Some($out)) = ($(T::as_f32($in),)* T::as_f32_mut($out))
                {
                    // SAFETY: the instruction sets were found on this machine.
                    return unsafe {
                        match found {
                            Instructions::Avx512 => avx512($job, $($in,)* $($size,)* $out),
                            _ => avx2($job, $($in,)* $($size,)* $out),
                        }
                    };
                }
            }
            multiversion! {
                fn portable<T>($job: $Job, $($in: &[T],)* $($size: usize,)* $out: &mut [T]) {
                    $with::<T, [T; LANES]>($job, $($in,)* $($size,)* $out);
                }
            }
            portable($job, $($in,)* $($size,)* $out);
        }
    };
}

with_lanes! {
    /// Writes the results `[outputs, rows, columns]`. `w` is as [`packed`] gives it.
    fn correlate = correlate_with(job: &Sums, x, w; outputs; out)
}

/// Channels that [`correlate`] takes together.
fn together(outputs: usize) -> usize {
    if outputs == 1 { 1 } else { CHANNELS }
}

/// Weights `[outputs, inputs, taps]`, given by `weight`, as `[blocks, inputs, taps, channels of a block]`, zero for channels that do not exist.
fn packed<T: Real>(outputs: usize, inputs: usize, taps: usize, weight: impl Fn(usize, usize, usize) -> T) -> Vec<T> {
    let width = together(outputs);
    let mut out = Vec::with_capacity(outputs.next_multiple_of(width) * inputs * taps);
    for block in (0..outputs).step_by(width) {
        for input in 0..inputs {
            for tap in 0..taps {
                let of = |output: usize| if output < outputs { weight(output, input, tap) } else { T::ZERO };
                out.extend((block..block + width).map(of));
            }
        }
    }
    out
}

/// How padded planes are split by the remainder of the position.
struct Split {
    /// Rows and columns of each part, and elements of all parts.
    rows: usize,
    stride: usize,
    plane: usize,
    /// Where each tap reads.
    offsets: Vec<usize>,
    /// Which parts are read.
    is_read: Vec<bool>,
}

impl Split {
    fn new(g: &Geometry) -> Self {
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
    fn fill<T: Real>(&self, g: &Geometry, x: &[T], out: &mut Vec<T>) {
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
fn inside(g: &Geometry, axis: usize, part: usize, count: usize) -> Range<usize> {
    let (size, stride, padding) = (g.input[axis + 1], g.stride[axis], g.padding[axis]);
    let first = padding.saturating_sub(part).div_ceil(stride).min(count);
    let end = (size + padding).saturating_sub(part).div_ceil(stride).min(count);
    first..end.max(first)
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

/// A plane with rows of `columns` within zeros: `before` rows and columns precede it, and rows are `stride` apart.
fn pad<T: Real>(x: &[T], columns: usize, before: [usize; 2], stride: usize, out: &mut [T]) {
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

/// Sixteen interleaved sums for each weight, to which images are added.
#[derive(Default)]
pub(super) struct WeightSums<T> {
    padded: Vec<T>,
    grad: Vec<T>,
    sums: Vec<T>,
}

impl<T: Real> WeightSums<T> {
    /// Adds the products of one image.
    pub(super) fn add(&mut self, g: &Geometry, x: &[T], grad: &[T]) {
        let (inputs, outputs) = g.group();
        let split = Split::new(g);
        let columns = g.output[2].next_multiple_of(LANES);
        self.sums.resize(g.weights() * LANES, T::ZERO);
        let (rows, depth) = (g.output[1], g.depth());
        let parts = x.chunks_exact(inputs * g.in_plane()).zip(grad.chunks_exact(outputs * g.out_plane()));
        for ((x, grad), sums) in parts.zip(self.sums.chunks_exact_mut(outputs * depth * LANES)) {
            split.fill(g, x, &mut self.padded);
            self.grad.resize(outputs * rows * columns, T::ZERO);
            for (grad, padded) in grad.chunks_exact(g.out_plane()).zip(self.grad.chunks_exact_mut(rows * columns)) {
                pad(grad, g.output[2], [0, 0], columns, padded);
            }
            for (input, x) in self.padded.chunks_exact(split.plane).enumerate() {
                let job = Taps { split: &split, outputs, columns, rows, input, depth };
                add_taps(&job, x, &self.grad, sums);
            }
        }
    }

    /// Adds the sums to `out`, and starts anew.
    pub(super) fn flush(&mut self, out: &mut [T]) {
        for (out, sums) in out.iter_mut().zip(self.sums.chunks_exact(LANES)) {
            *out += sums.iter().fold(T::ZERO, |total, &sum| total + sum);
        }
        self.sums.clear();
    }
}

struct Taps<'a> {
    split: &'a Split,
    outputs: usize,
    /// Columns of the gradient with its padding.
    columns: usize,
    rows: usize,
    /// The number of the input channel within its group.
    input: usize,
    depth: usize,
}

#[inline(always)]
fn add_block<T: Real, L: Lanes<T>, const O: usize, const N: usize>(
    job: &Taps<'_>,
    x: &[T],
    grad: &[T],
    output: usize,
    tap: usize,
    sums: &mut [T],
) {
    let taps = job.split.offsets.len();
    // What does not exist is computed again and thrown away.
    let outputs: [usize; O] = std::array::from_fn(|at| (output + at).min(job.outputs - 1));
    let offsets: [usize; N] = std::array::from_fn(|at| job.split.offsets[(tap + at).min(taps - 1)]);
    let mut total = [[L::splat(T::ZERO); N]; O];
    let size = job.rows * job.columns;
    for row in 0..job.rows {
        for column in (0..job.columns).step_by(LANES) {
            let (at, from) = (row * job.columns + column, row * job.split.stride + column);
            let mut lanes = [L::splat(T::ZERO); N];
            for (lanes, offset) in lanes.iter_mut().zip(offsets) {
                *lanes = L::load(&x[from + offset..]);
            }
            for (total, output) in total.iter_mut().zip(outputs) {
                let grads = L::load(&grad[output * size + at..]);
                for (total, x) in total.iter_mut().zip(lanes) {
                    *total = x.mul_add(grads, *total);
                }
            }
        }
    }
    for (o, total) in total.into_iter().enumerate().take(job.outputs - output) {
        for (n, total) in total.into_iter().enumerate().take(taps - tap) {
            let place = ((output + o) * job.depth + job.input * taps + tap + n) * LANES;
            if let Some(sum) = sums[place..].first_chunk_mut::<LANES>() {
                total.mul_add(L::splat(T::ONE), L::load(sum)).store(sum);
            }
        }
    }
}

#[inline(always)]
fn add_taps_with<T: Real, L: Lanes<T>>(job: &Taps<'_>, x: &[T], grad: &[T], sums: &mut [T]) {
    for output in (0..job.outputs).step_by(together(job.outputs)) {
        match (job.outputs, L::IS_WIDE) {
            (1, true) => all_taps::<T, L, 1, 9>(job, x, grad, output, sums),
            (1, false) => all_taps::<T, L, 1, 3>(job, x, grad, output, sums),
            (_, true) => all_taps::<T, L, CHANNELS, 3>(job, x, grad, output, sums),
            (_, false) => all_taps::<T, L, CHANNELS, 1>(job, x, grad, output, sums),
        }
    }
}

#[inline(always)]
fn all_taps<T: Real, L: Lanes<T>, const O: usize, const N: usize>(
    job: &Taps<'_>,
    x: &[T],
    grad: &[T],
    output: usize,
    sums: &mut [T],
) {
    for tap in (0..job.split.offsets.len()).step_by(N) {
        add_block::<T, L, O, N>(job, x, grad, output, tap, sums);
    }
}

with_lanes! {
    /// Adds the products of a padded input plane with all gradients of its group.
    fn add_taps = add_taps_with(job: &Taps<'_>, x, grad; ; sums)
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
