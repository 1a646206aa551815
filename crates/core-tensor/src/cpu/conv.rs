//! Two-dimensional cross-correlation by matrix products of unfolded tiles, and directly where each channel has its own
//! kernels.
//!
//! Tiles are as many output positions as keep the unfolded input in the second-level cache. Images are independent tasks;
//! the sums of the weight gradient are cut by the shape alone, so that no result depends on the number of threads.

use super::winograd::{self, Kernels};
use crate::kernel::{Matrix, Real, for_slices, gemm_strided, multiversion, sum_all};
use std::ops::Range;

/// The sizes of a cross-correlation. Padding is what precedes the first element; what follows the last is implied by the
/// output's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) images: usize,
    /// Input channels, height, width.
    pub(crate) input: [usize; 3],
    /// Output channels, height, width.
    pub(crate) output: [usize; 3],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
}

impl Geometry {
    fn in_plane(&self) -> usize {
        self.input[1] * self.input[2]
    }

    fn out_plane(&self) -> usize {
        self.output[1] * self.output[2]
    }

    fn in_image(&self) -> usize {
        self.input[0] * self.in_plane()
    }

    fn out_image(&self) -> usize {
        self.output[0] * self.out_plane()
    }

    /// Elements of a kernel of one input channel.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Input and output channels of a group.
    fn group(&self) -> (usize, usize) {
        (self.input[0] / self.groups, self.output[0] / self.groups)
    }

    /// Rows of the unfolded input of a group.
    fn depth(&self) -> usize {
        self.input[0] / self.groups * self.taps()
    }

    pub(crate) fn weights(&self) -> usize {
        self.output[0] * self.depth()
    }

    fn is_depthwise(&self) -> bool {
        self.input[0] == self.groups
    }

    /// Whether the input is its own unfolding.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0] && self.input[1..] == self.output[1..]
    }

    /// Steps for an image.
    fn work(&self) -> usize {
        self.out_image() * self.depth()
    }

    /// How many output positions are unfolded at a time.
    fn tile(&self) -> usize {
        let (depth, outputs) = (self.depth().max(1), self.group().1);
        // The weights are read anew for each tile, so large ones want large tiles.
        let wanted = if outputs * depth > 128 * 1024 { 512 } else { 64 };
        (TILE_ELEMENTS / depth).clamp(wanted, 4096)
    }

    /// How many images are unfolded together because each is smaller than a tile.
    fn images_per_tile(&self) -> usize {
        (self.tile() / self.out_plane().max(1)).clamp(1, self.images.max(1))
    }

    /// The input range of an output range along axis `axis` (0 height, 1 width) for the tap `tap`: the outputs whose input
    /// lies inside.
    fn valid(&self, axis: usize, tap: usize) -> Range<usize> {
        let (size, outputs) = (self.input[axis + 1], self.output[axis + 1]);
        let (stride, offset) = (self.stride[axis], tap * self.dilation[axis]);
        let padding = self.padding[axis];
        let first = padding.saturating_sub(offset).div_ceil(stride);
        // The largest output with output · stride + offset − padding < size.
        let end = if size + padding > offset { (size + padding - offset).div_ceil(stride) } else { 0 };
        let end = end.min(outputs);
        first.min(end)..end
    }

    /// The input coordinate of an output coordinate that is valid for this tap.
    fn at(&self, axis: usize, tap: usize, output: usize) -> usize {
        output * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis]
    }

    /// The cross-correlation that gives the gradient of the input from that of the output, when the stride is 1: kernels are
    /// turned by half a circle and channels change roles.
    fn transposed(&self) -> Option<Self> {
        if self.stride != [1, 1] {
            return None;
        }
        let mut padding = [0; 2];
        for (axis, padding) in padding.iter_mut().enumerate() {
            *padding = (self.dilation[axis] * (self.kernel[axis] - 1)).checked_sub(self.padding[axis])?;
        }
        Some(Self { input: self.output, output: self.input, padding, ..*self })
    }
}

/// Elements of an unfolded tile.
const TILE_ELEMENTS: usize = 96 * 1024;

/// `y = w ⋆ x + b`: `x` is `[images, input]`, `w` `[outputs, inputs / groups, kernel]`.
pub(crate) fn forward<T: Real>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>) -> Vec<T> {
    let mut out = vec![T::ZERO; g.images * g.out_image()];
    if out.is_empty() {
        return out;
    }
    if g.is_depthwise() {
        depthwise_forward(g, x, w, &mut out);
        if let Some(bias) = bias {
            add_bias(g.out_plane(), bias, &mut out);
        }
        return out;
    }
    if winograd::is_suited(g) {
        winograd::forward(g, x, &Kernels::new(g, w), false, &mut out);
        if let Some(bias) = bias {
            add_bias(g.out_plane(), bias, &mut out);
        }
        return out;
    }
    let together = g.images_per_tile();
    let is_parallel_inside = g.images.div_ceil(together) < rayon::current_num_threads();
    for_slices(&mut out, together * g.out_image(), together * g.work(), &|first, out| {
        let mut scratch = Scratch::default();
        for (at, out) in out.chunks_mut(together * g.out_image()).enumerate() {
            let first = (first + at) * together;
            forward_images(g, &x[first * g.in_image()..], w, out, &mut scratch, is_parallel_inside);
            if let Some(bias) = bias {
                add_bias(g.out_plane(), bias, out);
            }
        }
    });
    out
}

#[derive(Default)]
struct Scratch<T> {
    unfolded: Vec<T>,
    result: Vec<T>,
}

/// As many images as `out` holds.
fn forward_images<T: Real>(g: &Geometry, x: &[T], w: &[T], out: &mut [T], scratch: &mut Scratch<T>, is_parallel: bool) {
    let images = out.len() / g.out_image();
    let (plane, depth) = (g.out_plane(), g.depth());
    let (group_inputs, group_outputs) = g.group();
    for group in 0..g.groups {
        let w = Matrix::new(&w[group * group_outputs * depth..], group_outputs, depth);
        let (inputs, outputs) = (group * group_inputs, group * group_outputs);
        if images == 1 {
            let x = &x[inputs * g.in_plane()..];
            let out = &mut out[outputs * plane..(outputs + group_outputs) * plane];
            if g.is_pointwise() {
                gemm_strided(w, Matrix::new(x, depth, plane), out, plane, false, is_parallel);
                continue;
            }
            let width = g.output[2];
            let rows_per_tile = (g.tile() / width).max(1);
            let mut row = 0;
            while row < g.output[1] {
                let rows = row..(row + rows_per_tile).min(g.output[1]);
                let columns = rows.len() * width;
                resize(&mut scratch.unfolded, depth * columns);
                unfold(g, x, rows, &mut scratch.unfolded, columns);
                let unfolded = Matrix::new(&scratch.unfolded, depth, columns);
                gemm_strided(w, unfolded, &mut out[row * width..], plane, false, is_parallel);
                row += rows_per_tile;
            }
            continue;
        }
        let columns = images * plane;
        unfold_images(g, x, inputs, images, &mut scratch.unfolded);
        resize(&mut scratch.result, group_outputs * columns);
        let unfolded = Matrix::new(&scratch.unfolded, depth, columns);
        gemm_strided(w, unfolded, &mut scratch.result, columns, false, is_parallel);
        for (image, out) in out.chunks_exact_mut(g.out_image()).enumerate() {
            let out = &mut out[outputs * plane..(outputs + group_outputs) * plane];
            for (out, row) in out.chunks_exact_mut(plane).zip(scratch.result.chunks_exact(columns)) {
                out.copy_from_slice(&row[image * plane..(image + 1) * plane]);
            }
        }
    }
}

/// The gradient of the input.
pub(crate) fn input_gradient<T: Real>(g: &Geometry, w: &[T], grad: &[T]) -> Vec<T> {
    if g.images * g.in_image() == 0 || grad.is_empty() {
        return vec![T::ZERO; g.images * g.in_image()];
    }
    // Turning the kernels costs little beside the products; the depthwise loops have a form of their own.
    if let Some(transposed) = g.transposed().filter(|_| !g.is_depthwise()) {
        if winograd::is_suited(&transposed) {
            let mut out = vec![T::ZERO; g.images * g.in_image()];
            winograd::forward(&transposed, grad, &Kernels::new(g, w), true, &mut out);
            return out;
        }
        return forward(&transposed, grad, &turned(g, w), None);
    }
    let mut out = vec![T::ZERO; g.images * g.in_image()];
    if g.is_depthwise() {
        depthwise_input_gradient(g, w, grad, &mut out);
        return out;
    }
    let together = g.images_per_tile();
    let is_parallel_inside = g.images.div_ceil(together) < rayon::current_num_threads();
    for_slices(&mut out, together * g.in_image(), together * g.work(), &|first, out| {
        let mut scratch = Scratch::default();
        for (at, out) in out.chunks_mut(together * g.in_image()).enumerate() {
            let first = (first + at) * together;
            fold_images(g, w, &grad[first * g.out_image()..], out, &mut scratch, is_parallel_inside);
        }
    });
    out
}

/// `[outputs, inputs / groups, taps]` to `[inputs, outputs / groups, taps in reverse]`.
fn turned<T: Real>(g: &Geometry, w: &[T]) -> Vec<T> {
    let (inputs, outputs) = g.group();
    let taps = g.taps();
    let mut out = vec![T::ZERO; w.len()];
    for group in 0..g.groups {
        let start = group * inputs * outputs * taps;
        for o in 0..outputs {
            for i in 0..inputs {
                let from = start + (o * inputs + i) * taps;
                let to = start + (i * outputs + o) * taps;
                for (out, &w) in out[to..to + taps].iter_mut().zip(w[from..from + taps].iter().rev()) {
                    *out = w;
                }
            }
        }
    }
    out
}

/// Adds the input gradient of as many images as `out` holds.
fn fold_images<T: Real>(g: &Geometry, w: &[T], grad: &[T], out: &mut [T], scratch: &mut Scratch<T>, is_parallel: bool) {
    let images = out.len() / g.in_image();
    let (plane, depth) = (g.out_plane(), g.depth());
    let (group_inputs, group_outputs) = g.group();
    for group in 0..g.groups {
        let w = Matrix::new(&w[group * group_outputs * depth..], group_outputs, depth).t();
        let (inputs, outputs) = (group * group_inputs, group * group_outputs);
        if images > 1 {
            let columns = images * plane;
            gather_planes(g, grad, outputs, images, &mut scratch.result);
            resize(&mut scratch.unfolded, depth * columns);
            let grad = Matrix::new(&scratch.result, group_outputs, columns);
            gemm_strided(w, grad, &mut scratch.unfolded, columns, false, is_parallel);
            for (image, out) in out.chunks_exact_mut(g.in_image()).enumerate() {
                let unfolded = &scratch.unfolded[image * plane..];
                fold(g, unfolded, columns, 0..g.output[1], &mut out[inputs * g.in_plane()..]);
            }
            continue;
        }
        let width = g.output[2];
        let rows_per_tile = (g.tile() / width).max(1);
        let mut row = 0;
        while row < g.output[1] {
            let rows = row..(row + rows_per_tile).min(g.output[1]);
            let columns = rows.len() * width;
            resize(&mut scratch.unfolded, depth * columns);
            let grad = Matrix::strided(&grad[outputs * plane + row * width..], group_outputs, columns, plane);
            gemm_strided(w, grad, &mut scratch.unfolded, columns, false, is_parallel);
            fold(g, &scratch.unfolded, columns, rows, &mut out[inputs * g.in_plane()..]);
            row += rows_per_tile;
        }
    }
}

/// The gradient of the weights.
pub(crate) fn weight_gradient<T: Real>(g: &Geometry, x: &[T], grad: &[T]) -> Vec<T> {
    let weights = g.weights();
    if weights == 0 || grad.is_empty() {
        return vec![T::ZERO; weights];
    }
    if winograd::is_suited(g) {
        return winograd::weight_gradient(g, x, grad);
    }
    let together = if g.is_depthwise() { 1 } else { g.images_per_tile() };
    let tiles = g.images.div_ceil(together);
    // Each part has its own sum. The number depends on the shape alone; large sums are dear to keep.
    let parts = tiles.min(if weights > 256 * 1024 { 4 } else { 16 });
    let tiles_per_part = tiles.div_ceil(parts);
    let parts = tiles.div_ceil(tiles_per_part);
    let is_parallel_inside = parts < rayon::current_num_threads();
    let mut sums = vec![T::ZERO; parts * weights];
    for_slices(&mut sums, weights, tiles_per_part * together * g.work(), &|first, sums| {
        let mut scratch = Scratch::default();
        for (at, sum) in sums.chunks_exact_mut(weights).enumerate() {
            let first = (first + at) * tiles_per_part;
            for tile in first..(first + tiles_per_part).min(tiles) {
                let images = tile * together..((tile + 1) * together).min(g.images);
                let x = &x[images.start * g.in_image()..images.end * g.in_image()];
                let grad = &grad[images.start * g.out_image()..images.end * g.out_image()];
                if g.is_depthwise() {
                    depthwise_weight_gradient(g, x, grad, sum);
                } else {
                    add_weight_gradient(g, x, grad, images.len(), sum, &mut scratch, is_parallel_inside);
                }
            }
        }
    });
    if parts == 1 {
        return sums;
    }
    let (total, others) = sums.split_at_mut(weights);
    for_slices(total, 1, parts, &|first, total| {
        for other in others.chunks_exact(weights) {
            total.iter_mut().zip(&other[first..]).for_each(|(t, &o)| *t += o);
        }
    });
    sums.truncate(weights);
    sums
}

fn add_weight_gradient<T: Real>(
    g: &Geometry,
    x: &[T],
    grad: &[T],
    images: usize,
    sum: &mut [T],
    scratch: &mut Scratch<T>,
    is_parallel: bool,
) {
    let (plane, depth) = (g.out_plane(), g.depth());
    let (group_inputs, group_outputs) = g.group();
    for (group, sum) in sum.chunks_exact_mut(group_outputs * depth).enumerate() {
        let (inputs, outputs) = (group * group_inputs, group * group_outputs);
        if images > 1 {
            let columns = images * plane;
            gather_planes(g, grad, outputs, images, &mut scratch.result);
            unfold_images(g, x, inputs, images, &mut scratch.unfolded);
            let grad = Matrix::new(&scratch.result, group_outputs, columns);
            let unfolded = Matrix::new(&scratch.unfolded, depth, columns);
            gemm_strided(grad, unfolded.t(), sum, depth, true, is_parallel);
            continue;
        }
        let x = &x[inputs * g.in_plane()..];
        if g.is_pointwise() {
            let grad = Matrix::new(&grad[outputs * plane..], group_outputs, plane);
            gemm_strided(grad, Matrix::new(x, depth, plane).t(), sum, depth, true, is_parallel);
            continue;
        }
        let width = g.output[2];
        let rows_per_tile = (g.tile() / width).max(1);
        let mut row = 0;
        while row < g.output[1] {
            let rows = row..(row + rows_per_tile).min(g.output[1]);
            let columns = rows.len() * width;
            resize(&mut scratch.unfolded, depth * columns);
            unfold(g, x, rows, &mut scratch.unfolded, columns);
            let grad = Matrix::strided(&grad[outputs * plane + row * width..], group_outputs, columns, plane);
            let unfolded = Matrix::new(&scratch.unfolded, depth, columns);
            gemm_strided(grad, unfolded.t(), sum, depth, true, is_parallel);
            row += rows_per_tile;
        }
    }
}

/// The sum over images and positions of each channel of `[images, channels, plane]`.
pub(crate) fn channel_sums<T: Real>(channels: usize, plane: usize, grad: &[T]) -> Vec<T> {
    let mut out = vec![T::ZERO; channels];
    if grad.is_empty() {
        return out;
    }
    let image = channels * plane;
    for_slices(&mut out, 1, grad.len() / channels, &|first, out| {
        for (at, out) in out.iter_mut().enumerate() {
            for image in grad.chunks_exact(image) {
                let mut sum = [T::ZERO; 1];
                sum_all(&image[(first + at) * plane..(first + at + 1) * plane], &mut sum);
                *out += sum[0];
            }
        }
    });
    out
}

/// Adds to each plane its channel's bias.
pub(crate) fn add_bias<T: Real>(plane: usize, bias: &[T], out: &mut [T]) {
    if plane == 0 {
        return;
    }
    for (at, plane) in out.chunks_exact_mut(plane).enumerate() {
        let b = bias[at % bias.len()];
        plane.iter_mut().for_each(|v| *v += b);
    }
}

fn resize<T: Real>(buffer: &mut Vec<T>, len: usize) {
    // What is already there need not be cleared: every element is overwritten.
    buffer.resize(len, T::ZERO);
}

/// Several whole images side by side: `[depth, images · plane]`.
fn unfold_images<T: Real>(g: &Geometry, x: &[T], first_channel: usize, images: usize, out: &mut Vec<T>) {
    let (plane, depth) = (g.out_plane(), g.depth());
    let columns = images * plane;
    resize(out, depth * columns);
    for image in 0..images {
        let x = &x[image * g.in_image() + first_channel * g.in_plane()..];
        unfold(g, x, 0..g.output[1], &mut out[image * plane..], columns);
    }
}

/// The planes of a group's output channels, images side by side: `[group outputs, images · plane]`.
fn gather_planes<T: Real>(g: &Geometry, grad: &[T], first_channel: usize, images: usize, out: &mut Vec<T>) {
    let plane = g.out_plane();
    out.clear();
    for channel in first_channel..first_channel + g.group().1 {
        for image in 0..images {
            let start = image * g.out_image() + channel * plane;
            out.extend_from_slice(&grad[start..start + plane]);
        }
    }
}

/// Writes the unfolded input of some output rows: row `(channel, ki, kj)` of `out` starts at that number times `stride`.
fn unfold<T: Real>(g: &Geometry, x: &[T], rows: Range<usize>, out: &mut [T], stride: usize) {
    let [_, height, width] = g.input;
    let columns = g.output[2];
    let mut at = 0;
    for channel in 0..g.group().0 {
        let x = &x[channel * height * width..(channel + 1) * height * width];
        for ki in 0..g.kernel[0] {
            let valid_rows = g.valid(0, ki);
            for kj in 0..g.kernel[1] {
                let valid = g.valid(1, kj);
                let out = &mut out[at * stride..at * stride + rows.len() * columns];
                at += 1;
                for (row, out) in rows.clone().zip(out.chunks_exact_mut(columns)) {
                    if !valid_rows.contains(&row) || valid.is_empty() {
                        out.fill(T::ZERO);
                        continue;
                    }
                    let start = g.at(0, ki, row) * width + g.at(1, kj, valid.start);
                    out[..valid.start].fill(T::ZERO);
                    out[valid.end..].fill(T::ZERO);
                    let out = &mut out[valid.clone()];
                    if g.stride[1] == 1 {
                        out.copy_from_slice(&x[start..start + out.len()]);
                    } else {
                        out.iter_mut().zip(x[start..].iter().step_by(g.stride[1])).for_each(|(out, &x)| *out = x);
                    }
                }
            }
        }
    }
}

/// The adjoint of [`unfold`]: adds to `out`.
fn fold<T: Real>(g: &Geometry, unfolded: &[T], stride: usize, rows: Range<usize>, out: &mut [T]) {
    let [_, height, width] = g.input;
    let columns = g.output[2];
    let mut at = 0;
    for channel in 0..g.group().0 {
        let out = &mut out[channel * height * width..(channel + 1) * height * width];
        for ki in 0..g.kernel[0] {
            let valid_rows = g.valid(0, ki);
            for kj in 0..g.kernel[1] {
                let valid = g.valid(1, kj);
                let unfolded = &unfolded[at * stride..at * stride + rows.len() * columns];
                at += 1;
                if valid.is_empty() {
                    continue;
                }
                for (row, unfolded) in rows.clone().zip(unfolded.chunks_exact(columns)) {
                    if !valid_rows.contains(&row) {
                        continue;
                    }
                    let start = g.at(0, ki, row) * width + g.at(1, kj, valid.start);
                    let values = &unfolded[valid.clone()];
                    if g.stride[1] == 1 {
                        out[start..start + values.len()].iter_mut().zip(values).for_each(|(out, &v)| *out += v);
                    } else {
                        out[start..].iter_mut().step_by(g.stride[1]).zip(values).for_each(|(out, &v)| *out += v);
                    }
                }
            }
        }
    }
}

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
    resize(out, height * width);
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

fn depthwise_forward<T: Real>(g: &Geometry, x: &[T], w: &[T], out: &mut [T]) {
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
                correlate_plane(g, x, w, out);
            }
        }
    });
}

fn depthwise_input_gradient<T: Real>(g: &Geometry, w: &[T], grad: &[T], out: &mut [T]) {
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

fn depthwise_weight_gradient<T: Real>(g: &Geometry, x: &[T], grad: &[T], sum: &mut [T]) {
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
                            *sum += w * x;
                        }
                    } else {
                        for (sum, &x) in sums.iter_mut().zip(&x[start..start + out.len()]) {
                            *sum += w * x;
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
                        *lane += x * grad;
                    }
                }
                for ((lane, &x), &grad) in lanes.iter_mut().zip(xs.remainder()).zip(grads.remainder()) {
                    *lane += x * grad;
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
                        *out += w * x;
                    }
                } else {
                    for (out, &x) in out.iter_mut().zip(x[start..].iter().step_by(g.stride[1])) {
                        *out += w * x;
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
                        *out += w * grad;
                    }
                } else {
                    for (out, &grad) in out[start..].iter_mut().step_by(g.stride[1]).zip(grad) {
                        *out += w * grad;
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
                            *lane += x * grad;
                        }
                    }
                    for ((lane, &x), &grad) in lanes.iter_mut().zip(xs.remainder()).zip(grads.remainder()) {
                        *lane += x * grad;
                    }
                } else {
                    for (at, (&x, &grad)) in x.iter().step_by(g.stride[1]).zip(grad).enumerate() {
                        lanes[at % 16] += x * grad;
                    }
                }
            }
            for lane in lanes {
                *sum += lane;
            }
        }
    }
}
