//! Winograd's F(2×2, 3×3) over sixteen images: sixteen products for four outputs of nine taps.

use super::direct::PackedBlock;
use super::finish::{Finish, Run};
use super::window::{Block, Window};
use super::{IMAGES, Planes, Scratch};
use crate::cpu::row_blocks::{PANEL, ROWS, Source, tile_of};
use crate::kernel::{Real, multiversion};

/// Elements of a transformed tile.
const PLACES: usize = 16;
/// Numbers of transformed inputs and products that are kept at a time.
const KEPT: usize = 192 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Winograd<T> {
    /// For each place the blocks, whose columns index `channels`.
    places: Vec<Vec<PackedBlock<T>>>,
    /// Input channels that some block uses.
    channels: Vec<usize>,
    /// The first output row and column of each tile.
    tiles: Vec<[usize; 2]>,
    /// Tiles of a pass.
    together: usize,
    input: Planes,
    padding: [usize; 2],
    rows: usize,
    /// Rows whose sums are zero.
    without_block: Vec<usize>,
}

/// `G g Gᵀ` of nine taps.
fn transformed<T: Real>(g: &[T]) -> [T; PLACES] {
    let half = T::of(0.5);
    let along = |[a, b, c]: [T; 3]| [a, (a + b + c) * half, (a - b + c) * half, c];
    let columns: Vec<[T; 4]> = (0..3).map(|x| along([g[x], g[3 + x], g[6 + x]])).collect();
    let mut out = [T::ZERO; PLACES];
    for (y, out) in out.chunks_exact_mut(4).enumerate() {
        out.copy_from_slice(&along([columns[0][y], columns[1][y], columns[2][y]]));
    }
    out
}

impl<T: Real> Winograd<T> {
    /// `blocks` have input channels as their columns.
    pub(super) fn new(window: &Window, blocks: &[Block], weight: &[T], rows: usize) -> Self {
        let Window { input, output, padding, .. } = *window;
        let mut position = vec![None; input.channels];
        blocks.iter().filter(|block| !block.is_empty()).flat_map(|block| &block.columns).for_each(|&channel| {
            position[channel] = Some(0);
        });
        let mut channels = Vec::new();
        for (channel, position) in position.iter_mut().enumerate() {
            if position.is_some() {
                *position = Some(channels.len() as u32);
                channels.push(channel);
            }
        }
        let without_block = super::direct::without_block(blocks, rows);
        let mut places = vec![Vec::new(); PLACES];
        for block in blocks.iter().filter(|block| !block.is_empty()) {
            let values: Vec<Vec<[T; PLACES]>> = block
                .rows
                .iter()
                .map(|&row| {
                    let of = |&channel: &usize| transformed(&weight[(row * input.channels + channel) * 9..][..9]);
                    block.columns.iter().map(of).collect()
                })
                .collect();
            // places of rows and columns in the block, in the order of the packed weights
            let own = Block { rows: (0..block.rows.len()).collect(), columns: (0..block.columns.len()).collect() };
            for (place, of_place) in places.iter_mut().enumerate() {
                let mut packed = PackedBlock::new(&own, |row, column| values[row][column][place]);
                packed.rows = block.rows.iter().map(|&row| row as u32).collect();
                packed.columns = block.columns.iter().filter_map(|&channel| position[channel]).collect();
                of_place.push(packed);
            }
        }
        let starts = |len: usize| (0..len).step_by(2);
        let tiles: Vec<[usize; 2]> =
            starts(output.height).flat_map(|y| starts(output.width).map(move |x| [y, x])).collect();
        let together = (KEPT / (PLACES * IMAGES * (channels.len() + rows).max(1))).clamp(6, 48);
        let passes = tiles.len().div_ceil(together).max(1);
        // passes of about equal length, of whole panels where there are several
        let together = match passes {
            1 => tiles.len().max(1),
            passes => tiles.len().div_ceil(passes).next_multiple_of(PANEL / IMAGES),
        };
        Self { places, channels, tiles, together, input, padding, rows, without_block }
    }

    pub(super) fn forward(
        &self,
        (x, residual): (&[T], Option<&[T]>),
        (output, finish): (&Planes, &Finish<T>),
        out: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let Scratch { sums, inputs, products } = scratch;
        let mut of_tile = [[T::ZERO; PANEL]; ROWS];
        for tiles in self.tiles.chunks(self.together) {
            let width = tiles.len() * IMAGES;
            let (inner, outer) = (self.channels.len() * width, self.rows * width);
            inputs.resize(PLACES * inner, T::ZERO);
            for (at, &channel) in self.channels.iter().enumerate() {
                let x = &x[channel * self.input.plane()..][..self.input.plane()];
                before(x, &self.input, self.padding, tiles, (at * width, inner), inputs);
            }
            products.resize(PLACES * outer, T::ZERO);
            for &row in &self.without_block {
                (0..PLACES).for_each(|place| products[place * outer + row * width..][..width].fill(T::ZERO));
            }
            for ((blocks, inputs), products) in
                self.places.iter().zip(inputs.chunks_exact(inner.max(1))).zip(products.chunks_exact_mut(outer.max(1)))
            {
                for block in blocks {
                    let offsets: Vec<u32> = block.columns.iter().map(|&column| column * width as u32).collect();
                    for start in (0..offsets.len()).step_by(super::direct::COLUMNS) {
                        let piece = start..(start + super::direct::COLUMNS).min(offsets.len());
                        let offsets = &offsets[piece.clone()];
                        block.for_tiles(piece, |rows, weights| {
                            let mut done = 0;
                            while done < tiles.len() {
                                let vectors = match tiles.len() - done {
                                    4 => 2,
                                    left => left.min(PANEL / IMAGES),
                                };
                                let source = Source { x: &inputs[done * IMAGES..], offsets, step: IMAGES };
                                tile_of(source, (rows.len(), vectors), weights, &mut of_tile);
                                for (&row, of_tile) in rows.iter().zip(&of_tile) {
                                    let at = row as usize * width + done * IMAGES;
                                    let sums = &mut products[at..at + vectors * IMAGES];
                                    match start {
                                        0 => sums.copy_from_slice(&of_tile[..vectors * IMAGES]),
                                        _ => sums.iter_mut().zip(of_tile).for_each(|(sum, &value)| *sum += value),
                                    }
                                }
                                done += vectors;
                            }
                        });
                    }
                }
            }
            let mut runs = Vec::with_capacity(2 * tiles.len());
            for (at, &[y, x]) in tiles.iter().enumerate() {
                let vectors = (output.width - x).min(2);
                let lines = (output.height - y).min(2);
                runs.extend((0..lines).map(|line| Run { from: 4 * at + 2 * line, y: y + line, x, vectors }));
            }
            sums.resize(4 * width, T::ZERO);
            for row in 0..self.rows {
                after(products, (row * width, outer), sums);
                finish.write(output, finish.targets[row], (sums, &runs), residual, out);
            }
        }
    }
}

type Vector<T> = [T; IMAGES];

#[inline(always)]
fn zip<T: Real>(a: Vector<T>, b: Vector<T>, of: impl Fn(T, T) -> T) -> Vector<T> {
    let mut out = a;
    for (out, b) in out.iter_mut().zip(b) {
        *out = of(*out, b);
    }
    out
}

#[inline(always)]
fn add<T: Real>(a: Vector<T>, b: Vector<T>) -> Vector<T> {
    zip(a, b, |a, b| a + b)
}

#[inline(always)]
fn sub<T: Real>(a: Vector<T>, b: Vector<T>) -> Vector<T> {
    zip(a, b, |a, b| a - b)
}

#[inline(always)]
fn load<T: Real>(x: &[T], at: usize) -> Vector<T> {
    let mut out = [T::ZERO; IMAGES];
    out.copy_from_slice(&x[at..at + IMAGES]);
    out
}

/// `Bᵀ` on four values.
#[inline(always)]
fn inner<T: Real>([a, b, c, d]: [Vector<T>; 4]) -> [Vector<T>; 4] {
    [sub(a, c), add(b, c), sub(c, b), sub(b, d)]
}

/// `Aᵀ` on four values.
#[inline(always)]
fn outer<T: Real>([a, b, c, d]: [Vector<T>; 4]) -> [Vector<T>; 2] {
    [add(add(a, b), c), sub(sub(b, c), d)]
}

multiversion! {
    /// The tiles of a channel, `Bᵀ x B`, to `out[place · stride + start …]`. What lies outside of the margins is zero.
    fn before<T>(x: &[T], input: &Planes, padding: [usize; 2], tiles: &[[usize; 2]], place: (usize, usize), out: &mut [T]) {
        let (start, stride) = place;
        let padded = [input.height + 2 * input.margin, input.width + 2 * input.margin];
        let first = [input.margin - padding[0], input.margin - padding[1]];
        for (at, tile) in tiles.iter().enumerate() {
            let [y, x0] = [tile[0] + first[0], tile[1] + first[1]];
            let is_inside = y + 4 <= padded[0] && x0 + 4 <= padded[1];
            let mut columns = [[[T::ZERO; IMAGES]; 4]; 4];
            if is_inside {
                for (j, column) in columns.iter_mut().enumerate() {
                    let of = |i: usize| load(x, ((y + i) * padded[1] + x0 + j) * IMAGES);
                    *column = inner([of(0), of(1), of(2), of(3)]);
                }
            } else {
                for (j, column) in columns.iter_mut().enumerate() {
                    let mut values = [[T::ZERO; IMAGES]; 4];
                    for (i, value) in values.iter_mut().enumerate() {
                        if y + i < padded[0] && x0 + j < padded[1] {
                            *value = load(x, ((y + i) * padded[1] + x0 + j) * IMAGES);
                        }
                    }
                    *column = inner(values);
                }
            }
            #[allow(clippy::needless_range_loop)] // the same index in every column
            for i in 0..4 {
                let row = inner([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for (j, values) in row.into_iter().enumerate() {
                    let to = (4 * i + j) * stride + start + at * IMAGES;
                    out[to..to + IMAGES].copy_from_slice(&values);
                }
            }
        }
    }
}

multiversion! {
    /// `Aᵀ m A` of the tiles of a row, two by two outputs each.
    fn after<T>(products: &[T], place: (usize, usize), out: &mut [T]) {
        let (start, stride) = place;
        for (at, out) in out.chunks_exact_mut(4 * IMAGES).enumerate() {
            let of = |i: usize, j: usize| load(products, (4 * i + j) * stride + start + at * IMAGES);
            let mut columns = [[[T::ZERO; IMAGES]; 2]; 4];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = outer([of(0, j), of(1, j), of(2, j), of(3, j)]);
            }
            #[allow(clippy::needless_range_loop)] // the same index in every column
            for line in 0..2 {
                let row = outer([columns[0][line], columns[1][line], columns[2][line], columns[3][line]]);
                for (j, values) in row.into_iter().enumerate() {
                    let to = (2 * line + j) * IMAGES;
                    out[to..to + IMAGES].copy_from_slice(&values);
                }
            }
        }
    }
}
