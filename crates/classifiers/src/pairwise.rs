//! Comparisons of rows with many others.

use crate::element::Element;
use pulp::{Arch, Simd, WithSimd, bytemuck};

/// Lists of comparisons are padded to multiples of so many.
pub(crate) const LANES: usize = 32;

/// The length of padded lists.
pub(crate) fn padded(len: usize) -> usize {
    len.next_multiple_of(LANES)
}

/// How two rows compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) enum Comparison {
    SquaredDistance,
    Product,
}

/// Rows of a tile.
const TILE: usize = 16;

/// Rows side by side in tiles `[width, TILE]`, so that comparisons are sums of vectors.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Packed {
    width: usize,
    len: usize,
    tiles: Vec<f64>,
}

impl Packed {
    pub(crate) fn new<'a>(width: usize, rows: impl ExactSizeIterator<Item = &'a [f64]>) -> Self {
        let len = rows.len();
        let mut tiles = vec![0.; padded(len) * width];
        for (at, row) in rows.enumerate() {
            let tile = &mut tiles[at / TILE * TILE * width..];
            row.iter().enumerate().for_each(|(k, &value)| tile[k * TILE + at % TILE] = value);
        }
        Self { width, len, tiles }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Compares up to [`ROWS`] rows `[rows, width]` with all of these, `[rows, padded(len)]`.
    pub(crate) fn compare<T: Element>(&self, comparison: Comparison, rows: &[f64], out: &mut [T]) {
        let stride = padded(self.len);
        match out.len() / stride.max(1) {
            ROWS => Arch::new().dispatch(Tiles::<ROWS, T> { packed: self, comparison, rows, out }),
            _ => {
                for (row, out) in rows.chunks_exact(self.width).zip(out.chunks_exact_mut(stride)) {
                    Arch::new().dispatch(Tiles::<1, T> { packed: self, comparison, rows: row, out });
                }
            }
        }
    }
}

/// Rows that are compared at a time.
pub(crate) const ROWS: usize = 4;

struct Tiles<'a, const R: usize, T> {
    packed: &'a Packed,
    comparison: Comparison,
    rows: &'a [f64],
    out: &'a mut [T],
}

impl<const R: usize, T: Element> Tiles<'_, R, T> {
    /// With V vectors to a tile.
    #[inline(always)]
    fn run<const V: usize, S: Simd>(self, simd: S) {
        let Self { packed, comparison, rows, out } = self;
        let (width, stride) = (packed.width, padded(packed.len));
        let rows: [&[f64]; R] = std::array::from_fn(|at| &rows[at * width..(at + 1) * width]);
        for (tile, columns) in packed.tiles.chunks_exact(TILE * width).enumerate() {
            let columns = S::as_simd_f64s(columns).0.as_chunks::<V>().0;
            let mut sums = [[simd.splat_f64s(0.); V]; R];
            for (k, column) in columns.iter().enumerate() {
                for r in 0..R {
                    let value = simd.splat_f64s(rows[r][k]);
                    for v in 0..V {
                        let other = column[v];
                        sums[r][v] = match comparison {
                            Comparison::Product => simd.mul_add_f64s(value, other, sums[r][v]),
                            Comparison::SquaredDistance => {
                                let difference = simd.sub_f64s(value, other);
                                simd.mul_add_f64s(difference, difference, sums[r][v])
                            }
                        };
                    }
                }
            }
            for (at, sums) in sums.iter().enumerate() {
                let sums: &[f64] = bytemuck::cast_slice(sums);
                let out = &mut out[at * stride + tile * TILE..][..TILE];
                out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = T::of(sum));
            }
        }
    }
}

impl<const R: usize, T: Element> WithSimd for Tiles<'_, R, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F64_LANES {
            8 => self.run::<2, S>(simd),
            4 => self.run::<4, S>(simd),
            2 => self.run::<8, S>(simd),
            _ => self.run::<16, S>(simd),
        }
    }
}
