//! Cross-correlation with 3×3 kernels at stride 1 by Winograd's minimal filtering F(2×2, 3×3) (Lavin and Gray 2016): 16
//! instead of 36 products for 2×2 outputs of a pair of channels.
//!
//! `y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A` for tiles of 4×4 inputs, summed over channels before the outer transform; the two gradients
//! are transposes of the same bilinear form. All transforms run over channels that lie side by side, so planes are transposed
//! to `[position, channel]` block by block; a block fills the second-level cache. With halves and signs only,
//! the rounding errors are those of a direct sum, to within a small factor.

mod transforms;

use super::geometry::Geometry;
use crate::kernel::{Extent, Matrix, Real, for_slices, gemm_strided, transpose_into};
use std::ops::Range;
use transforms::{
    LANES, transform_gradient_tile, transform_input_tile, transform_kernel_gradient, transform_kernels,
    transform_output_tile,
};

/// Whether this form is possible and worth it.
pub(super) fn is_suited(g: &Geometry) -> bool {
    g.kernel == [3, 3]
        && g.stride == [1, 1]
        && g.dilation == [1, 1]
        && g.groups == 1
        && g.padding[0] <= 2
        && g.padding[1] <= 2
        && g.input[0].is_multiple_of(LANES)
        && g.output[0].is_multiple_of(LANES)
        && g.input[0] > 0
        && g.output[0] > 0
        && g.output[1] >= 2
        && g.output[2] >= 2
}

/// The kernels in the transformed space: for each output channel 16 rows of input channels, and a gap so that the rows of one of the
/// 16 matrices do not all fall into the same cache sets.
pub(super) struct Kernels<T> {
    values: Vec<T>,
    inputs: usize,
    outputs: usize,
}

fn stride_of(inputs: usize) -> usize {
    16 * inputs + LANES
}

impl<T: Real> Kernels<T> {
    pub(super) fn new(g: &Geometry, w: &[T]) -> Self {
        let (inputs, outputs) = (g.input[0], g.output[0]);
        let stride = stride_of(inputs);
        let mut values = vec![T::ZERO; outputs * stride];
        for_slices(&mut values, stride, 64 * inputs, &|first, values| {
            for (at, values) in values.chunks_exact_mut(stride).enumerate() {
                transform_kernels(&w[(first + at) * inputs * 9..(first + at + 1) * inputs * 9], inputs, values);
            }
        });
        Self { values, inputs, outputs }
    }

    /// The matrix `[outputs, inputs]` number `frequency`.
    fn matrix(&self, frequency: usize) -> Matrix<'_, T> {
        Matrix::strided(&self.values[frequency * self.inputs..], self.outputs, self.inputs, stride_of(self.inputs))
    }
}

/// Where an element of `G w Gᵀ` moves when `w` is rotated by 180°: the first and the last row and column are swapped.
fn turned(frequency: usize) -> usize {
    const ROW: [usize; 4] = [3, 1, 2, 0];
    4 * ROW[frequency / 4] + ROW[frequency % 4]
}

/// `y = w ⋆ x`. With `is_adjoint`, `x` is the gradient of the output of the cross-correlation of which `g` is the transpose, and the
/// kernels are used rotated by 180° and with input and output channels swapped.
pub(super) fn forward<T: Real>(g: &Geometry, x: &[T], kernels: &Kernels<T>, is_adjoint: bool, out: &mut [T]) {
    let blocks = Blocks::new(g);
    let out_image = g.output[0] * g.output[1] * g.output[2];
    let unit = blocks.images * out_image;
    let work = unit * g.input[0] * 4;
    let is_parallel_inside = g.images.div_ceil(blocks.images) < rayon::current_num_threads();
    for_slices(out, unit, work, &|first, out| {
        let mut scratch = Scratch::default();
        for (at, out) in out.chunks_mut(unit).enumerate() {
            let first = (first + at) * blocks.images;
            for block in blocks.of(first, out.len() / out_image) {
                scratch.transform_input(g, x, &block);
                scratch.multiply(g, kernels, is_adjoint, &block, is_parallel_inside);
                scratch.transform_output(g, &block, first, out);
            }
        }
    });
}

/// The gradient of the weights, `[outputs, inputs, 3, 3]`.
pub(super) fn weight_gradient<T: Real>(g: &Geometry, x: &[T], grad: &[T]) -> Vec<T> {
    let (inputs, outputs) = (g.input[0], g.output[0]);
    let blocks = Blocks::new(g);
    let groups = g.images.div_ceil(blocks.images);
    let stride = stride_of(inputs);
    let sums = outputs * stride;
    // As in the plain form: the number of sums depends on the shape alone.
    let parts = groups.min(if sums > 512 * 1024 { 4 } else { 16 });
    let groups_per_part = groups.div_ceil(parts);
    let parts = groups.div_ceil(groups_per_part);
    let is_parallel_inside = parts < rayon::current_num_threads();
    let mut partial = vec![T::ZERO; parts * sums];
    let work = groups_per_part * blocks.images * g.output[0] * g.output[1] * g.output[2] * inputs * 4;
    for_slices(&mut partial, sums, work, &|first, partial| {
        let mut scratch = Scratch::default();
        for (at, sum) in partial.chunks_exact_mut(sums).enumerate() {
            let first = (first + at) * groups_per_part;
            for group in first..(first + groups_per_part).min(groups) {
                let image = group * blocks.images;
                for block in blocks.of(image, blocks.images.min(g.images - image)) {
                    scratch.transform_input(g, x, &block);
                    scratch.transform_gradient(g, grad, &block);
                    let tiles = block.tiles(g);
                    for frequency in 0..16 {
                        let left = Matrix::new(&scratch.products[frequency * tiles * outputs..], tiles, outputs);
                        let right = Matrix::new(&scratch.inputs[frequency * tiles * inputs..], tiles, inputs);
                        let out = &mut sum[frequency * inputs..];
                        gemm_strided(left.t(), right, out, stride, true, is_parallel_inside);
                    }
                }
            }
        }
    });
    let mut out = vec![T::ZERO; outputs * inputs * 9];
    for_slices(&mut out, inputs * 9, inputs * 64 * parts, &|first, out| {
        let mut total = vec![T::ZERO; 16 * inputs];
        for (at, out) in out.chunks_exact_mut(inputs * 9).enumerate() {
            total.fill(T::ZERO);
            for partial in partial.chunks_exact(sums) {
                let partial = &partial[(first + at) * stride..(first + at) * stride + 16 * inputs];
                total.iter_mut().zip(partial).for_each(|(t, &p)| *t += p);
            }
            transform_kernel_gradient(&total, inputs, out);
        }
    });
    out
}

/// How images are cut into blocks: several whole images, or some rows of tiles of one.
struct Blocks {
    images: usize,
    tile_rows: usize,
    tile_rows_per_image: usize,
}

struct Block {
    images: Range<usize>,
    tile_rows: Range<usize>,
}

/// Elements of both transformed sides of a block.
const BLOCK_ELEMENTS: usize = 192 * 1024;

impl Blocks {
    fn new(g: &Geometry) -> Self {
        let (rows, columns) = (g.output[1].div_ceil(2), g.output[2].div_ceil(2));
        // Each block reads all kernels again, so with many channels blocks should have many tiles.
        let least = if g.input[0] * g.output[0] >= 32 * 1024 { 128 } else { 32 };
        let tiles = (BLOCK_ELEMENTS / (16 * (g.input[0] + g.output[0]))).max(least);
        let images = (tiles / (rows * columns)).clamp(1, g.images.max(1));
        let tile_rows = if images > 1 { rows } else { (tiles / columns).clamp(1, rows) };
        Self { images, tile_rows, tile_rows_per_image: rows }
    }

    /// The blocks of `count` images, at most as many as belong together.
    fn of(&self, first: usize, count: usize) -> impl Iterator<Item = Block> {
        let (step, rows) = (self.tile_rows, self.tile_rows_per_image);
        (0..rows)
            .step_by(step)
            .map(move |row| Block { images: first..first + count, tile_rows: row..(row + step).min(rows) })
    }
}

impl Block {
    fn tiles(&self, g: &Geometry) -> usize {
        self.images.len() * self.tile_rows.len() * g.output[2].div_ceil(2)
    }

    /// The output rows of the block, the last tile's second row only if it exists.
    fn rows(&self, g: &Geometry) -> Range<usize> {
        2 * self.tile_rows.start..(2 * self.tile_rows.end).min(g.output[1])
    }
}

#[derive(Default)]
struct Scratch<T> {
    /// Some rows of an image, `[position, channel]`.
    turned: Vec<T>,
    /// `[16, tiles, input channels]`.
    inputs: Vec<T>,
    /// `[16, tiles, output channels]`.
    products: Vec<T>,
}

impl<T: Real> Scratch<T> {
    fn transform_input(&mut self, g: &Geometry, x: &[T], block: &Block) {
        let [channels, height, width] = g.input;
        let (tiles, columns) = (block.tiles(g), g.output[2].div_ceil(2));
        self.inputs.resize(16 * tiles * channels, T::ZERO);
        // Rows 2t − padding to 2t + 3 − padding for each row t of tiles.
        let first = (2 * block.tile_rows.start).saturating_sub(g.padding[0]).min(height);
        let end = (2 * block.tile_rows.end + 2).saturating_sub(g.padding[0]).min(height).max(first);
        let positions = (end - first) * width;
        self.turned.resize((positions + 1) * channels, T::ZERO);
        self.turned[positions * channels..].fill(T::ZERO);
        for (at, image) in block.images.clone().enumerate() {
            let x = &x[(image * channels * height + first) * width..];
            let e = Extent { rows: channels, columns: positions, stride: height * width, out_stride: channels };
            transpose_into(x, e, &mut self.turned);
            let mut tile = at * block.tile_rows.len() * columns;
            for row in block.tile_rows.clone() {
                for column in 0..columns {
                    let mut sources = [positions; 16];
                    for (source, at) in sources.iter_mut().zip(0..) {
                        let (i, j) = (2 * row + at / 4, 2 * column + at % 4);
                        let inside = i >= g.padding[0]
                            && j >= g.padding[1]
                            && i - g.padding[0] < height
                            && j - g.padding[1] < width;
                        if inside {
                            *source = (i - g.padding[0] - first) * width + j - g.padding[1];
                        }
                    }
                    transform_input_tile(&self.turned, &sources, channels, tile, tiles, &mut self.inputs);
                    tile += 1;
                }
            }
        }
    }

    fn multiply(&mut self, g: &Geometry, kernels: &Kernels<T>, is_adjoint: bool, block: &Block, is_parallel: bool) {
        let (inputs, outputs, tiles) = (g.input[0], g.output[0], block.tiles(g));
        self.products.resize(16 * tiles * outputs, T::ZERO);
        for frequency in 0..16 {
            let left = Matrix::new(&self.inputs[frequency * tiles * inputs..], tiles, inputs);
            let right = if is_adjoint { kernels.matrix(turned(frequency)) } else { kernels.matrix(frequency).t() };
            let out = &mut self.products[frequency * tiles * outputs..(frequency + 1) * tiles * outputs];
            gemm_strided(left, right, out, outputs, false, is_parallel);
        }
    }

    /// `first_image` is the image with which `out` begins.
    fn transform_output(&mut self, g: &Geometry, block: &Block, first_image: usize, out: &mut [T]) {
        let [channels, height, width] = g.output;
        let (tiles, columns, rows) = (block.tiles(g), width.div_ceil(2), block.rows(g));
        // One more row and column, which odd sizes need and which are not read.
        let padded = 2 * columns;
        self.turned.resize(2 * block.tile_rows.len() * padded * channels, T::ZERO);
        for (at, image) in block.images.clone().enumerate() {
            let mut tile = at * block.tile_rows.len() * columns;
            for row in 0..block.tile_rows.len() {
                for column in 0..columns {
                    let position = 2 * row * padded + 2 * column;
                    let targets = [position, position + 1, position + padded, position + padded + 1];
                    transform_output_tile(&self.products, tile, tiles, channels, &targets, &mut self.turned);
                    tile += 1;
                }
            }
            let image = (image - first_image) * channels * height * width;
            let out = &mut out[image + rows.start * width..];
            if padded == width {
                let positions = rows.len() * width;
                let e = Extent { rows: positions, columns: channels, stride: channels, out_stride: height * width };
                transpose_into(&self.turned, e, out);
            } else {
                for row in 0..rows.len() {
                    let turned = &self.turned[row * padded * channels..];
                    let e = Extent { rows: width, columns: channels, stride: channels, out_stride: height * width };
                    transpose_into(turned, e, &mut out[row * width..]);
                }
            }
        }
    }

    /// `A g Aᵀ` of each tile, into the place of the products.
    fn transform_gradient(&mut self, g: &Geometry, grad: &[T], block: &Block) {
        let [channels, height, width] = g.output;
        let (tiles, columns, rows) = (block.tiles(g), width.div_ceil(2), block.rows(g));
        self.products.resize(16 * tiles * channels, T::ZERO);
        let positions = rows.len() * width;
        self.turned.resize((positions + 1) * channels, T::ZERO);
        self.turned[positions * channels..].fill(T::ZERO);
        for (at, image) in block.images.clone().enumerate() {
            let grad = &grad[(image * channels * height + rows.start) * width..];
            let e = Extent { rows: channels, columns: positions, stride: height * width, out_stride: channels };
            transpose_into(grad, e, &mut self.turned);
            let mut tile = at * block.tile_rows.len() * columns;
            for row in 0..block.tile_rows.len() {
                for column in 0..columns {
                    let mut sources = [positions; 4];
                    for (source, at) in sources.iter_mut().zip(0..) {
                        let (i, j) = (2 * row + at / 2, 2 * column + at % 2);
                        if i < rows.len() && j < width {
                            *source = i * width + j;
                        }
                    }
                    transform_gradient_tile(&self.turned, &sources, channels, tile, tiles, &mut self.products);
                    tile += 1;
                }
            }
        }
    }
}
