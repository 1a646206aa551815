//! Convolutions as sums over the columns of their blocks, each of which is the input from some offset on.

use super::finish::{Finish, Run};
use super::window::{Block, Window};
use super::{IMAGES, Planes, Scratch};
use crate::cpu::row_blocks::{PANEL, ROWS, Source, tile_of};
use crate::kernel::Real;

/// Columns that are summed before the next rows take their turn, so that the weights of a tile stay in the first-level cache.
pub(super) const COLUMNS: usize = 1024;
/// Columns that may be summed in one piece, which saves a place for sums.
const AT_ONCE: usize = 1536;
/// Values of the sums that are kept at a time: half of a second-level cache with what is read beside them.
const SUMS: usize = 64 * 1024;

/// Blocks with packed weights.
#[derive(Debug, Clone)]
pub(super) struct PackedBlock<T> {
    pub(super) rows: Vec<u32>,
    pub(super) columns: Vec<u32>,
    /// `[tile of rows][column][ROWS]`, zeros for rows that are not there.
    pub(super) weights: Vec<T>,
}

impl<T: Real> PackedBlock<T> {
    /// The values of a block, where `value(row, column)` is one of them.
    pub(super) fn new(block: &Block, value: impl Fn(usize, usize) -> T) -> Self {
        let (height, width) = (block.rows.len(), block.columns.len());
        let mut weights = vec![T::ZERO; height.next_multiple_of(ROWS) * width];
        for (at, &row) in block.rows.iter().enumerate() {
            let tile = &mut weights[at / ROWS * ROWS * width..];
            for (place, &column) in block.columns.iter().enumerate() {
                tile[place * ROWS + at % ROWS] = value(row, column);
            }
        }
        let narrow = |indices: &[usize]| indices.iter().map(|&index| index as u32).collect();
        Self { rows: narrow(&block.rows), columns: narrow(&block.columns), weights }
    }

    /// Calls `body` with the rows of each tile and its weights for a piece of the columns, `[column][ROWS]`.
    pub(super) fn for_tiles(&self, piece: std::ops::Range<usize>, mut body: impl FnMut(&[u32], &[T])) {
        let width = self.columns.len();
        for (rows, weights) in self.rows.chunks(ROWS).zip(self.weights.chunks_exact((ROWS * width).max(1))) {
            body(rows, &weights[piece.start * ROWS..piece.end * ROWS]);
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Direct<T> {
    /// With offsets into the input in the place of columns.
    blocks: Vec<PackedBlock<T>>,
    /// Where each run reads.
    bases: Vec<usize>,
    runs: Vec<Run>,
    /// How many runs are summed before they are written.
    together: usize,
    step: usize,
    rows: usize,
    /// Rows whose sums are zero.
    without_block: Vec<usize>,
    /// Whether every row is summed in one piece.
    is_written_at_once: bool,
}

/// Rows that no block with columns has.
pub(super) fn without_block(blocks: &[Block], rows: usize) -> Vec<usize> {
    let mut is_empty = vec![true; rows];
    blocks.iter().filter(|block| !block.is_empty()).flat_map(|block| &block.rows).for_each(|&row| {
        is_empty[row] = false;
    });
    (0..rows).filter(|&row| is_empty[row]).collect()
}

impl<T: Real> Direct<T> {
    pub(super) fn new(window: &Window, blocks: &[Block], weight: &[T], rows: usize) -> Self {
        let Window { input, output, kernel: [height, width], stride, dilation, padding } = *window;
        let depth = input.channels * height * width;
        let offset = |column: u32| {
            let column = column as usize;
            let (channel, y, x) = (column / (height * width), column / width % height, column % width);
            // from the first output's first tap, which may lie in the margin
            (channel * input.plane() + y * dilation[0] * input.line() + x * dilation[1] * IMAGES) as u32
        };
        let packed = |block: &Block| {
            let mut packed = PackedBlock::new(block, |row, column| weight[row * depth + column]);
            packed.columns.iter_mut().for_each(|column| *column = offset(*column));
            packed
        };
        let without_block = without_block(blocks, rows);
        let blocks: Vec<PackedBlock<T>> = blocks.iter().filter(|block| !block.is_empty()).map(packed).collect();
        let is_written_at_once = blocks.iter().all(|block| block.columns.len() <= AT_ONCE);
        let first = (input.margin - padding[0]) * input.line() + (input.margin - padding[1]) * IMAGES;
        let (mut bases, mut runs, mut from) = (Vec::new(), Vec::new(), 0);
        let mut most = 1;
        for y in 0..output.height {
            let mut x = 0;
            while x < output.width {
                // four as two and two, which need fewer loads than three and one
                let vectors = match output.width - x {
                    4 => 2,
                    left => left.min(PANEL / IMAGES),
                };
                bases.push(first + y * stride[0] * input.line() + x * stride[1] * IMAGES);
                runs.push(Run { from, y, x, vectors });
                most = most.max(vectors);
                (x, from) = (x + vectors, from + vectors);
            }
        }
        let vectors = (SUMS / (rows.max(1) * IMAGES)).clamp(6, 48);
        Self {
            blocks,
            bases,
            runs,
            together: (vectors / most).max(1),
            step: stride[1] * IMAGES,
            rows,
            without_block,
            is_written_at_once,
        }
    }

    pub(super) fn forward(
        &self,
        (x, residual): (&[T], Option<&[T]>),
        (output, finish): (&Planes, &Finish<T>),
        out: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        if self.is_written_at_once {
            return self.forward_at_once((x, residual), (output, finish), out);
        }
        let mut of_tile = [[T::ZERO; PANEL]; ROWS];
        for (runs, bases) in self.runs.chunks(self.together).zip(self.bases.chunks(self.together)) {
            let first = runs[0].from;
            let vectors = runs.iter().map(|run| run.vectors).sum::<usize>();
            let sums = &mut scratch.sums;
            sums.resize(self.rows * vectors * IMAGES, T::ZERO);
            for &row in &self.without_block {
                sums[row * vectors * IMAGES..][..vectors * IMAGES].fill(T::ZERO);
            }
            for block in &self.blocks {
                for start in (0..block.columns.len()).step_by(COLUMNS) {
                    let piece = start..(start + COLUMNS).min(block.columns.len());
                    let (offsets, is_first) = (&block.columns[piece.clone()], start == 0);
                    block.for_tiles(piece, |rows, weights| {
                        for (run, &base) in runs.iter().zip(bases) {
                            let source = Source { x: &x[base..], offsets, step: self.step };
                            tile_of(source, (rows.len(), run.vectors), weights, &mut of_tile);
                            for (&row, of_tile) in rows.iter().zip(&of_tile) {
                                let at = (row as usize * vectors + run.from - first) * IMAGES;
                                let sums = &mut sums[at..at + run.vectors * IMAGES];
                                match is_first {
                                    true => sums.copy_from_slice(&of_tile[..run.vectors * IMAGES]),
                                    false => sums.iter_mut().zip(of_tile).for_each(|(sum, &value)| *sum += value),
                                }
                            }
                        }
                    });
                }
            }
            let runs: Vec<Run> = runs.iter().map(|run| Run { from: run.from - first, ..*run }).collect();
            for (row, sums) in sums.chunks_exact(vectors * IMAGES).enumerate() {
                finish.write(output, finish.targets[row], (sums, &runs), residual, out);
            }
        }
    }

    /// Writes each tile of sums to its place, where no row has more columns than are summed at a time.
    fn forward_at_once(
        &self,
        (x, residual): (&[T], Option<&[T]>),
        (output, finish): (&Planes, &Finish<T>),
        out: &mut [T],
    ) {
        let mut of_tile = [[T::ZERO; PANEL]; ROWS];
        for (runs, bases) in self.runs.chunks(self.together).zip(self.bases.chunks(self.together)) {
            for block in &self.blocks {
                block.for_tiles(0..block.columns.len(), |rows, weights| {
                    for (&run, &base) in runs.iter().zip(bases) {
                        let source = Source { x: &x[base..], offsets: &block.columns, step: self.step };
                        tile_of(source, (rows.len(), run.vectors), weights, &mut of_tile);
                        finish.write_rows(output, rows, (of_tile.as_flattened(), PANEL, run), residual, out);
                    }
                });
            }
        }
        for &row in &self.without_block {
            finish.write(output, finish.targets[row], (&[], &self.runs), residual, out);
        }
    }
}
