//! Products with a matrix that is zero but for dense blocks.

#[cfg(target_arch = "x86_64")]
use crate::kernel::{Avx2, Avx512, Instructions, instructions};
use crate::kernel::{Extent, Gradients, Kernel, LANES, Lanes, Matrix, Real, for_slices, product, transpose_into};
use candle_core::Result;
use std::sync::Arc;

/// Rows and columns of a block, and where its values begin.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) rows: Vec<u32>,
    pub(crate) columns: Vec<u32>,
    pub(crate) start: usize,
}

#[derive(Debug)]
pub(crate) struct Blocks {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) blocks: Vec<Block>,
    pub(crate) num_values: usize,
}

/// Rows that are computed together, for registers of any size; weights are packed so many at a time.
pub(crate) const ROWS: usize = 8;
/// Samples that are computed together: three vectors of the widest registers.
pub(crate) const PANEL: usize = 3 * LANES;

/// `y = x Wᵀ` for `x` `[n, columns]`, W given by the values of its blocks.
pub(crate) struct RowBlocksProduct {
    pub(crate) blocks: Arc<Blocks>,
}

/// What a tile reads: for column i the values at `offsets[i]`, one vector each `step` elements.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) offsets: &'a [u32],
    pub(crate) step: usize,
}

/// The sums of a tile; of each row the first vectors count.
pub(crate) type Sums<T> = [[T; PANEL]; ROWS];

/// Sums of `R` rows from `row` on for `V` vectors from `vector` on.
#[inline(always)]
fn tile<T: Real, L: Lanes<T>, const R: usize, const V: usize>(
    source: Source<'_, T>,
    weights: &[T],
    row: usize,
    vector: usize,
) -> [[L; V]; R] {
    let mut sums = [[L::splat(T::ZERO); V]; R];
    let Source { x, offsets, step } = source;
    let reach = (vector + V - 1) * step + LANES;
    for (&offset, weights) in offsets.iter().zip(weights.chunks_exact(ROWS)) {
        let x = &x[offset as usize..offset as usize + reach];
        if L::IS_WIDE {
            // what the neighbouring tile reads of this column
            for at in 0..V {
                L::prefetch(x.as_ptr().wrapping_add((V + at) * step));
            }
        }
        let mut lanes = [L::splat(T::ZERO); V];
        for (at, lanes) in lanes.iter_mut().enumerate() {
            *lanes = L::load(&x[(vector + at) * step..]);
        }
        for (sums, &weight) in sums.iter_mut().zip(&weights[row..row + R]) {
            let weight = L::splat(weight);
            for (sum, x) in sums.iter_mut().zip(lanes) {
                *sum = x.mul_add(weight, *sum);
            }
        }
    }
    sums
}

#[inline(always)]
fn keep<T: Real, L: Lanes<T>, const R: usize, const V: usize>(
    sums: [[L; V]; R],
    vector: usize,
    out: &mut [[T; PANEL]],
) {
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sum) in out.as_chunks_mut::<LANES>().0[vector..].iter_mut().zip(sums) {
            sum.store(out);
        }
    }
}

#[inline(always)]
fn tile_with<T: Real, L: Lanes<T>>(
    source: Source<'_, T>,
    (rows, vectors): (usize, usize),
    weights: &[T],
    out: &mut Sums<T>,
) {
    const HALF: usize = ROWS / 2;
    if L::IS_WIDE && rows > HALF {
        return match vectors {
            1 => keep(tile::<T, L, ROWS, 1>(source, weights, 0, 0), 0, out),
            2 => keep(tile::<T, L, ROWS, 2>(source, weights, 0, 0), 0, out),
            _ => keep(tile::<T, L, ROWS, 3>(source, weights, 0, 0), 0, out),
        };
    }
    if L::IS_WIDE {
        return match vectors {
            1 => keep(tile::<T, L, HALF, 1>(source, weights, 0, 0), 0, out),
            2 => keep(tile::<T, L, HALF, 2>(source, weights, 0, 0), 0, out),
            _ => keep(tile::<T, L, HALF, 3>(source, weights, 0, 0), 0, out),
        };
    }
    // fewer registers: four rows and one vector at a time
    for row in (0..rows).step_by(HALF) {
        for vector in 0..vectors {
            keep(tile::<T, L, HALF, 1>(source, weights, row, vector), vector, &mut out[row..]);
        }
    }
}

/// The sums of a tile of at most eight rows whose weights are packed `[column][8]`, for one to three vectors. Rows beyond those get any numbers.
pub(crate) fn tile_of<T: Real>(source: Source<'_, T>, size: (usize, usize), weights: &[T], out: &mut Sums<T>) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,fma")]
        fn avx512(source: Source<'_, f32>, size: (usize, usize), weights: &[f32], out: &mut Sums<f32>) {
            tile_with::<f32, Avx512>(source, size, weights, out);
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(source: Source<'_, f32>, size: (usize, usize), weights: &[f32], out: &mut Sums<f32>) {
            tile_with::<f32, Avx2>(source, size, weights, out);
        }
        let found = instructions();
        if found != Instructions::Baseline
            && let (Some(x), Some(weights)) = (T::as_f32(source.x), T::as_f32(weights))
            && let Some(out) = T::as_f32_mut(out.as_flattened_mut())
            && let ([out], []) = out.as_chunks_mut::<PANEL>().0.as_chunks_mut::<ROWS>()
        {
            let source = Source { x, offsets: source.offsets, step: source.step };
            // SAFETY: the instruction sets were found on this machine.
            return unsafe {
                match found {
                    Instructions::Avx512 => avx512(source, size, weights, out),
                    _ => avx2(source, size, weights, out),
                }
            };
        }
    }
    tile_with::<T, [T; LANES]>(source, size, weights, out);
}

impl Blocks {
    /// The values of each block as tiles of rows, `[tile][column][ROWS]`, with zeros for rows that are not there.
    pub(crate) fn packed<T: Real>(&self, values: &[T]) -> Vec<Vec<T>> {
        let of_block = |block: &Block| {
            let width = block.columns.len();
            let values = &values[block.start..block.start + block.rows.len() * width];
            let mut packed = vec![T::ZERO; block.rows.len().next_multiple_of(ROWS) * width];
            let tiles = packed.chunks_exact_mut((ROWS * width).max(1));
            for (tile, values) in tiles.zip(values.chunks((ROWS * width).max(1))) {
                let rows = values.len() / width;
                transpose_into(values, Extent { rows, columns: width, stride: width, out_stride: ROWS }, tile);
            }
            packed
        };
        self.blocks.iter().map(of_block).collect()
    }

    /// Some columns of rows of `stride` elements, `[n, columns]`.
    fn picked<T: Real>(x: &[T], stride: usize, columns: &[u32]) -> Vec<T> {
        let mut picked = Vec::with_capacity(x.len() / stride.max(1) * columns.len());
        for row in x.chunks_exact(stride.max(1)) {
            picked.extend(columns.iter().map(|&column| row[column as usize]));
        }
        picked
    }
}

impl Kernel for RowBlocksProduct {
    const NAME: &'static str = "product with row blocks";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let Blocks { rows, columns, blocks, num_values } = &*self.blocks;
        let n = x[0].len() / columns.max(&1);
        let packed = self.blocks.packed(x[1]);
        let offsets: Vec<Vec<u32>> =
            blocks.iter().map(|block| block.columns.iter().map(|&column| column * PANEL as u32).collect()).collect();
        let mut out = vec![T::ZERO; n * rows];
        if *rows == 0 {
            return Ok(out);
        }
        for_slices(&mut out, PANEL * rows, PANEL * num_values, &|first, out| {
            let mut panel = vec![T::ZERO; columns * PANEL];
            // rows of no block stay zero
            let mut of_panel = vec![[T::ZERO; PANEL]; *rows];
            for (at, out) in out.chunks_mut(PANEL * rows).enumerate() {
                let count = out.len() / rows;
                let start = (first + at) * PANEL;
                let samples = &x[0][start * columns..(start + count) * columns];
                if count < PANEL {
                    panel.fill(T::ZERO);
                }
                let extent = Extent { rows: count, columns: *columns, stride: *columns, out_stride: PANEL };
                transpose_into(samples, extent, &mut panel);
                let mut sums = [[T::ZERO; PANEL]; ROWS];
                for ((block, packed), offsets) in blocks.iter().zip(&packed).zip(&offsets) {
                    let source = Source { x: &panel, offsets, step: LANES };
                    let tiles = packed.chunks_exact((ROWS * block.columns.len()).max(1));
                    for (rows_of_tile, weights) in block.rows.chunks(ROWS).zip(tiles) {
                        tile_of(source, (rows_of_tile.len(), PANEL / LANES), weights, &mut sums);
                        for (&row, sums) in rows_of_tile.iter().zip(&sums) {
                            of_panel[row as usize] = *sums;
                        }
                    }
                }
                let extent = Extent { rows: *rows, columns: count, stride: PANEL, out_stride: *rows };
                transpose_into(of_panel.as_flattened(), extent, out);
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let Blocks { rows, columns, blocks, num_values } = &*self.blocks;
        let n = x[0].len() / columns.max(&1);
        let mut of_x = vec![T::ZERO; if needs[0] { x[0].len() } else { 0 }];
        let mut of_values = Vec::with_capacity(if needs[1] { *num_values } else { 0 });
        for block in blocks {
            let (height, width) = (block.rows.len(), block.columns.len());
            let of_rows = Blocks::picked(grad, *rows, &block.rows);
            if needs[0] {
                let values = &x[1][block.start..block.start + height * width];
                let of_block = product(Matrix::new(&of_rows, n, height), Matrix::new(values, height, width));
                for (of_x, of_block) in
                    of_x.chunks_exact_mut((*columns).max(1)).zip(of_block.chunks_exact(width.max(1)))
                {
                    for (&column, &gradient) in block.columns.iter().zip(of_block) {
                        of_x[column as usize] += gradient;
                    }
                }
            }
            if needs[1] {
                let samples = Blocks::picked(x[0], *columns, &block.columns);
                of_values.extend(product(Matrix::new(&of_rows, n, height).t(), Matrix::new(&samples, n, width)));
            }
        }
        Ok([needs[0].then_some(of_x), needs[1].then_some(of_values), None])
    }
}
