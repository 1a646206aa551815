//! Two-dimensional cross-correlation and its gradients: which form computes what.
//!
//! Images are independent tasks; the sums of the weight gradient are cut by the shape alone, so that no result depends on the number of threads.

mod blocks;
mod direct;
mod geometry;
mod im2col;
mod winograd;

pub(crate) use blocks::BlockConv;
pub(crate) use geometry::Geometry;

use crate::kernel::{Gradients, Kernel, Real, for_slices, multiversion, sum_all, written};
use direct::WeightSums;
use im2col::Scratch;
use winograd::Kernels;

pub(crate) struct Conv {
    pub(crate) geometry: Geometry,
}

impl Kernel for Conv {
    const NAME: &'static str = "conv";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        Ok(forward(&self.geometry, x[0], x[1], x.get(2).copied()))
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let g = &self.geometry;
        let plane = g.output[1] * g.output[2];
        Ok([
            needs[0].then(|| input_gradient(g, x[1], grad)),
            needs[1].then(|| weight_gradient(g, x[0], grad)),
            needs[2].then(|| channel_sums(g.output[0], plane, grad)),
        ])
    }
}

/// The geometry is that of the convolution from the output to the input.
pub(crate) struct ConvTranspose {
    pub(crate) geometry: Geometry,
}

impl Kernel for ConvTranspose {
    const NAME: &'static str = "conv-transpose";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let mut y = input_gradient(&self.geometry, x[1], x[0]);
        if let Some(bias) = x.get(2) {
            add_bias(self.geometry.input[1] * self.geometry.input[2], bias, &mut y);
        }
        Ok(y)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let g = &self.geometry;
        let plane = g.input[1] * g.input[2];
        Ok([
            needs[0].then(|| forward(g, grad, x[1], None)),
            needs[1].then(|| weight_gradient(g, grad, x[0])),
            needs[2].then(|| channel_sums(g.input[0], plane, grad)),
        ])
    }
}

/// `y = w ⋆ x + b`: `x` is `[images, input]`, `w` `[outputs, inputs / groups, kernel]`.
fn forward<T: Real>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>) -> Vec<T> {
    let len = g.images * g.out_image();
    if len == 0 {
        return Vec::new();
    }
    // SAFETY: every form writes each element before it reads it.
    unsafe { written(len, |out| forward_into(g, x, w, bias, out)) }
}

fn forward_into<T: Real>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>, out: &mut [T]) {
    if g.depth() == 0 {
        // no input channels: nothing to sum
        out.fill(T::ZERO);
        if let Some(bias) = bias {
            add_bias(g.out_plane(), bias, out);
        }
        return;
    }
    if direct::is_suited(g) {
        direct::forward(g, x, w, out);
        if let Some(bias) = bias {
            add_bias(g.out_plane(), bias, out);
        }
        return;
    }
    if winograd::is_suited(g) {
        winograd::forward(g, x, &Kernels::new(g, w), false, out);
        if let Some(bias) = bias {
            add_bias(g.out_plane(), bias, out);
        }
        return;
    }
    let together = g.images_per_tile();
    let is_parallel_inside = g.images.div_ceil(together) < rayon::current_num_threads();
    for_slices(out, together * g.out_image(), together * g.work(), &|first, out| {
        let mut scratch = Scratch::default();
        for (at, out) in out.chunks_mut(together * g.out_image()).enumerate() {
            let first = (first + at) * together;
            im2col::forward_images(g, &x[first * g.in_image()..], w, out, &mut scratch, is_parallel_inside);
            if let Some(bias) = bias {
                add_bias(g.out_plane(), bias, out);
            }
        }
    });
}

/// The gradient of the input.
fn input_gradient<T: Real>(g: &Geometry, w: &[T], grad: &[T]) -> Vec<T> {
    if g.images * g.in_image() == 0 || grad.is_empty() {
        return vec![T::ZERO; g.images * g.in_image()];
    }
    if direct::is_suited(g) {
        // SAFETY: each element is written, and none is read.
        return unsafe { written(g.images * g.in_image(), |out| direct::input_gradient(g, w, grad, out)) };
    }
    // Rotating the kernels costs little compared with the products.
    if let Some(transposed) = g.transposed() {
        if winograd::is_suited(&transposed) {
            let kernels = Kernels::new(g, w);
            let len = g.images * g.in_image();
            // SAFETY: each element is written before it is read.
            return unsafe { written(len, |out| winograd::forward(&transposed, grad, &kernels, true, out)) };
        }
        return forward(&transposed, grad, &im2col::turned(g, w), None);
    }
    let mut out = vec![T::ZERO; g.images * g.in_image()];
    let together = g.images_per_tile();
    let is_parallel_inside = g.images.div_ceil(together) < rayon::current_num_threads();
    for_slices(&mut out, together * g.in_image(), together * g.work(), &|first, out| {
        let mut scratch = Scratch::default();
        for (at, out) in out.chunks_mut(together * g.in_image()).enumerate() {
            let first = (first + at) * together;
            im2col::fold_images(g, w, &grad[first * g.out_image()..], out, &mut scratch, is_parallel_inside);
        }
    });
    out
}

/// The gradient of the weights.
fn weight_gradient<T: Real>(g: &Geometry, x: &[T], grad: &[T]) -> Vec<T> {
    let weights = g.weights();
    if weights == 0 || grad.is_empty() {
        return vec![T::ZERO; weights];
    }
    if winograd::is_suited(g) {
        return winograd::weight_gradient(g, x, grad);
    }
    let is_direct = direct::is_suited(g);
    let together = if is_direct { 1 } else { g.images_per_tile() };
    let tiles = g.images.div_ceil(together);
    // Each part has its own sum. Their number depends on the shape alone, and is small where a sum is large.
    let parts = tiles.min(if weights > 256 * 1024 { 4 } else { 16 });
    let tiles_per_part = tiles.div_ceil(parts);
    let parts = tiles.div_ceil(tiles_per_part);
    let is_parallel_inside = parts < rayon::current_num_threads();
    let mut sums = vec![T::ZERO; parts * weights];
    for_slices(&mut sums, weights, tiles_per_part * together * g.work(), &|first, sums| {
        let (mut scratch, mut direct) = (Scratch::default(), WeightSums::default());
        for (at, sum) in sums.chunks_exact_mut(weights).enumerate() {
            let first = (first + at) * tiles_per_part;
            for tile in first..(first + tiles_per_part).min(tiles) {
                let images = tile * together..((tile + 1) * together).min(g.images);
                let x = &x[images.start * g.in_image()..images.end * g.in_image()];
                let grad = &grad[images.start * g.out_image()..images.end * g.out_image()];
                if is_direct {
                    direct.add(g, x, grad);
                } else {
                    im2col::add_weight_gradient(g, x, grad, images.len(), sum, &mut scratch, is_parallel_inside);
                }
            }
            direct.flush(sum);
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

/// The sum over images and positions of each channel of `[images, channels, plane]`.
fn channel_sums<T: Real>(channels: usize, plane: usize, grad: &[T]) -> Vec<T> {
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

multiversion! {
    /// Adds to each plane its channel's bias.
    fn add_bias<T>(plane: usize, bias: &[T], out: &mut [T]) {
        if plane == 0 {
            return;
        }
        for (at, plane) in out.chunks_exact_mut(plane).enumerate() {
            let b = bias[at % bias.len()];
            for v in plane {
                *v += b;
            }
        }
    }
}
