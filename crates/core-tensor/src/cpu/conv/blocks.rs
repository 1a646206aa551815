//! Convolutions whose weights are zero but for dense blocks. Nothing is unfolded: in the right layout a column of the unfolded input is the input itself from some offset on.
//!
//! With many images the lanes of a register are sixteen images, `[channel][y][x][16]`, and any stride will do. With few images and stride 1 they are sixteen neighbours of a padded plane, of which those that
//! begin in the padding are thrown away.

use super::{Geometry, channel_sums, input_gradient, weight_gradient};
use crate::cpu::row_blocks::{Blocks, PANEL, ROWS, Source, tile_of};
use crate::kernel::{Extent, Gradients, Kernel, LANES, Real, for_slices, transpose_into};
use candle_core::Result;
use std::sync::Arc;

/// Columns that are summed before the next rows take their turn, so that the weights of a tile stay in the first-level cache.
const COLUMNS: usize = 1024;
/// Values of the sums that are kept at a time: half of a second-level cache with what is read beside them.
const SUMS: usize = 64 * 1024;
/// Fewer images are not worth a register of them.
const MANY_IMAGES: usize = 6;

/// The blocks have a row for each output channel and a column for each weight of one, `(channel · height + y) · width + x`.
pub(crate) struct BlockConv {
    pub(crate) blocks: Arc<Blocks>,
    /// One group.
    pub(crate) geometry: Geometry,
}

/// A tile's place: where it reads, which of the vectors it makes, and how many.
struct Tile {
    base: usize,
    at: usize,
    vectors: usize,
}

/// How an input lies in memory.
struct Layout {
    /// Whether lanes are images; else they are neighbours in a plane.
    is_by_images: bool,
    /// Height and width of a padded plane.
    padded: [usize; 2],
    /// Elements between the channels, and of them all with what the last tile reads beyond.
    channel: usize,
    len: usize,
    /// Elements between neighbouring vectors.
    step: usize,
    tiles: Vec<Tile>,
}

impl Layout {
    fn new(g: &Geometry) -> Self {
        let is_by_images = g.images >= MANY_IMAGES || g.stride != [1, 1];
        let [_, height, width] = g.output;
        let reach =
            |axis: usize| (g.output[axis + 1] - 1) * g.stride[axis] + (g.kernel[axis] - 1) * g.dilation[axis] + 1;
        let padded = [reach(0), reach(1)];
        let lanes = if is_by_images { LANES } else { 1 };
        let channel = padded[0] * padded[1] * lanes;
        let (lines, vectors, line, step) = match (is_by_images, g.is_pointwise()) {
            (true, true) => (1, height * width, 0, LANES),
            (true, false) => (height, width, g.stride[0] * padded[1] * LANES, g.stride[1] * LANES),
            (false, _) => (1, ((height - 1) * padded[1] + width).div_ceil(LANES), 0, LANES),
        };
        let mut tiles = Vec::new();
        for at in 0..lines {
            let mut done = 0;
            while done < vectors {
                // four as two and two, which need fewer loads than three and one
                let take = match vectors - done {
                    4 => 2,
                    left => left.min(PANEL / LANES),
                };
                tiles.push(Tile { base: at * line + done * step, at: at * vectors + done, vectors: take });
                done += take;
            }
        }
        let beyond = if is_by_images { 0 } else { PANEL };
        Self { is_by_images, padded, channel, len: g.input[0] * channel + beyond, step, tiles }
    }

    /// Where each column of a block begins.
    fn offsets(&self, g: &Geometry, columns: &[u32]) -> Vec<u32> {
        let lanes = if self.is_by_images { LANES } else { 1 };
        let [height, width] = g.kernel;
        let of = |&column: &u32| {
            let column = column as usize;
            let (channel, y, x) = (column / (height * width), column / width % height, column % width);
            let place = (y * g.dilation[0] * self.padded[1] + x * g.dilation[1]) * lanes;
            (channel * self.channel + place) as u32
        };
        columns.iter().map(of).collect()
    }

    /// Brings `count` images to the layout. What is padding in `out` stays as it is.
    fn fill<T: Real>(&self, g: &Geometry, images: &[T], count: usize, out: &mut [T]) {
        let [channels, height, width] = g.input;
        let lines = height.min(self.padded[0].saturating_sub(g.padding[0]));
        let columns = width.min(self.padded[1].saturating_sub(g.padding[1]));
        for (channel, out) in out.chunks_exact_mut(self.channel.max(1)).take(channels).enumerate() {
            let plane = &images[channel * height * width..];
            if self.is_by_images && g.is_pointwise() {
                let stride = channels * height * width;
                transpose_into(plane, Extent { rows: count, columns: height * width, stride, out_stride: LANES }, out);
                continue;
            }
            for y in 0..lines {
                let first = (y + g.padding[0]) * self.padded[1] + g.padding[1];
                let line = &plane[y * width..];
                if self.is_by_images {
                    let extent = Extent { rows: count, columns, stride: channels * height * width, out_stride: LANES };
                    transpose_into(line, extent, &mut out[first * LANES..]);
                } else {
                    out[first..first + columns].copy_from_slice(&line[..columns]);
                }
            }
        }
    }

    /// Writes the vectors from `first` on of all channels, `[channel][vectors][16]`, to `count` images.
    fn take<T: Real>(&self, g: &Geometry, sums: &[T], first: usize, vectors: usize, count: usize, out: &mut [T]) {
        let plane = g.out_plane();
        for (channel, sums) in sums.chunks_exact(vectors * LANES).enumerate() {
            if self.is_by_images {
                let extent = Extent { rows: vectors, columns: count, stride: LANES, out_stride: g.out_image() };
                transpose_into(sums, extent, &mut out[channel * plane + first..]);
                continue;
            }
            // runs of neighbours that are in one line
            let (mut position, end) = (first * LANES, (first + vectors) * LANES);
            while position < end {
                let (y, x) = (position / self.padded[1], position % self.padded[1]);
                let next = (y + 1) * self.padded[1];
                if y < g.output[1] && x < g.output[2] {
                    let run = (g.output[2] - x).min(end - position);
                    let at = position - first * LANES;
                    let out = &mut out[channel * plane + y * g.output[2] + x..];
                    out[..run].copy_from_slice(&sums[at..at + run]);
                }
                position = next.min(end);
            }
        }
    }
}

impl BlockConv {
    fn dense<T: Real>(&self, values: &[T]) -> Vec<T> {
        let Blocks { rows, columns, blocks, .. } = &*self.blocks;
        let mut dense = vec![T::ZERO; rows * columns];
        for block in blocks {
            let values = values[block.start..].chunks_exact(block.columns.len().max(1));
            for (&row, values) in block.rows.iter().zip(values) {
                let row = &mut dense[row as usize * columns..];
                block.columns.iter().zip(values).for_each(|(&column, &value)| row[column as usize] = value);
            }
        }
        dense
    }

    fn sparse<T: Real>(&self, dense: &[T]) -> Vec<T> {
        let Blocks { columns, blocks, num_values, .. } = &*self.blocks;
        let mut values = Vec::with_capacity(*num_values);
        for block in blocks {
            for &row in &block.rows {
                let row = &dense[row as usize * columns..];
                values.extend(block.columns.iter().map(|&column| row[column as usize]));
            }
        }
        values
    }
}

impl Kernel for BlockConv {
    const NAME: &'static str = "convolution with row blocks";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let g = &self.geometry;
        let Blocks { rows, blocks, num_values, .. } = &*self.blocks;
        let mut out = vec![T::ZERO; g.images * g.out_image()];
        if out.is_empty() {
            return Ok(out);
        }
        let layout = Layout::new(g);
        let packed = self.blocks.packed(x[1]);
        let offsets: Vec<Vec<u32>> = blocks.iter().map(|block| layout.offsets(g, &block.columns)).collect();
        let together = if layout.is_by_images { LANES } else { 1 };
        // as many tiles in a pass as keep their sums near
        let vectors = (SUMS / (rows * LANES)).clamp(6, 48);
        let mut passes: Vec<&[Tile]> = Vec::new();
        let mut tiles = layout.tiles.as_slice();
        while !tiles.is_empty() {
            let mut sum = 0;
            let count = tiles
                .iter()
                .take_while(|tile| {
                    sum += tile.vectors;
                    sum <= vectors
                })
                .count()
                .max(1);
            let (pass, rest) = tiles.split_at(count);
            passes.push(pass);
            tiles = rest;
        }
        let work = together * num_values * g.out_plane();
        for_slices(&mut out, together * g.out_image(), work, &|first, out| {
            let mut input = vec![T::ZERO; layout.len];
            let mut sums: Vec<T> = Vec::new();
            let mut of_tile = [[T::ZERO; PANEL]; ROWS];
            for (at, out) in out.chunks_mut(together * g.out_image()).enumerate() {
                let count = out.len() / g.out_image();
                let start = (first + at) * together * g.in_image();
                if count < together {
                    input.fill(T::ZERO);
                }
                layout.fill(g, &x[0][start..start + count * g.in_image()], count, &mut input);
                for pass in &passes {
                    let (first, vectors) = (pass[0].at, pass.iter().map(|tile| tile.vectors).sum::<usize>());
                    sums.clear();
                    match x.get(2) {
                        Some(bias) => {
                            bias.iter().for_each(|&bias| sums.extend(std::iter::repeat_n(bias, vectors * LANES)))
                        }
                        None => sums.resize(rows * vectors * LANES, T::ZERO),
                    }
                    for ((block, packed), offsets) in blocks.iter().zip(&packed).zip(&offsets) {
                        for (chunk, offsets) in offsets.chunks(COLUMNS).enumerate() {
                            let tiles_of_rows = packed.chunks_exact(ROWS * block.columns.len());
                            for (rows_of_tile, weights) in block.rows.chunks(ROWS).zip(tiles_of_rows) {
                                let weights = &weights[chunk * COLUMNS * ROWS..][..offsets.len() * ROWS];
                                for tile in *pass {
                                    let source = Source { x: &input[tile.base..], offsets, step: layout.step };
                                    tile_of(source, (rows_of_tile.len(), tile.vectors), weights, &mut of_tile);
                                    for (&row, of_tile) in rows_of_tile.iter().zip(&of_tile) {
                                        let at = (row as usize * vectors + tile.at - first) * LANES;
                                        let sums = &mut sums[at..at + tile.vectors * LANES];
                                        sums.iter_mut().zip(of_tile).for_each(|(sum, &value)| *sum += value);
                                    }
                                }
                            }
                        }
                    }
                    layout.take(g, &sums, first, vectors, count, out);
                }
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let g = &self.geometry;
        Ok([
            needs[0].then(|| input_gradient(g, &self.dense(x[1]), grad)),
            needs[1].then(|| self.sparse(&weight_gradient(g, x[0], grad))),
            needs[2].then(|| channel_sums(g.output[0], g.out_plane(), grad)),
        ])
    }
}
