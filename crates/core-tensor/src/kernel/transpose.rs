//! Copies of transposed matrices, in blocks that stay in registers or the first-level cache.

use super::{Real, for_slices, multiversion};

const BLOCK: usize = 16;
/// Elements of a row that are asked for before they are needed: four cache lines of f32.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 64;

/// Where a matrix lies: `[rows, columns]` with rows `stride` apart, to be written with rows `out_stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) stride: usize,
    pub(crate) out_stride: usize,
}

multiversion! {
    fn portable_blocks<T>(x: &[T], e: Extent, out: &mut [T]) {
        for j in (0..e.columns).step_by(BLOCK) {
            for i in (0..e.rows).step_by(BLOCK) {
                copy_block(x, e, i, j, BLOCK.min(e.rows - i), BLOCK.min(e.columns - j), out);
            }
        }
    }
}

#[inline(always)]
fn copy_block<T: Real>(x: &[T], e: Extent, i: usize, j: usize, height: usize, width: usize, out: &mut [T]) {
    let mut block = [[T::ZERO; BLOCK]; BLOCK];
    for (at, block) in block.iter_mut().take(height).enumerate() {
        let start = (i + at) * e.stride + j;
        block[..width].copy_from_slice(&x[start..start + width]);
    }
    for at in 0..width {
        let start = (j + at) * e.out_stride + i;
        for (out, row) in out[start..start + height].iter_mut().zip(&block) {
            *out = row[at];
        }
    }
}

/// Blocks of 8×8 in registers. The edges are left to the portable loop.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn avx_blocks(x: &[f32], e: Extent, out: &mut [f32]) {
    use std::arch::x86_64::*;
    let (rows, columns) = (e.rows / 8 * 8, e.columns / 8 * 8);
    for j in (0..columns).step_by(8) {
        for i in (0..rows).step_by(8) {
            let load = |at: usize| {
                let row = &x[(i + at) * e.stride + j..][..8];
                // As many rows as there are have no hardware that looks ahead for them.
                _mm_prefetch::<_MM_HINT_T0>(row.as_ptr().wrapping_add(AHEAD).cast());
                // SAFETY: the slice has eight elements; the load needs no alignment.
                unsafe { _mm256_loadu_ps(row.as_ptr()) }
            };
            let r: [__m256; 8] = [load(0), load(1), load(2), load(3), load(4), load(5), load(6), load(7)];
            let pairs = [
                _mm256_unpacklo_ps(r[0], r[1]),
                _mm256_unpackhi_ps(r[0], r[1]),
                _mm256_unpacklo_ps(r[2], r[3]),
                _mm256_unpackhi_ps(r[2], r[3]),
                _mm256_unpacklo_ps(r[4], r[5]),
                _mm256_unpackhi_ps(r[4], r[5]),
                _mm256_unpacklo_ps(r[6], r[7]),
                _mm256_unpackhi_ps(r[6], r[7]),
            ];
            let fours = [
                _mm256_shuffle_ps::<0x44>(pairs[0], pairs[2]),
                _mm256_shuffle_ps::<0xEE>(pairs[0], pairs[2]),
                _mm256_shuffle_ps::<0x44>(pairs[1], pairs[3]),
                _mm256_shuffle_ps::<0xEE>(pairs[1], pairs[3]),
                _mm256_shuffle_ps::<0x44>(pairs[4], pairs[6]),
                _mm256_shuffle_ps::<0xEE>(pairs[4], pairs[6]),
                _mm256_shuffle_ps::<0x44>(pairs[5], pairs[7]),
                _mm256_shuffle_ps::<0xEE>(pairs[5], pairs[7]),
            ];
            for at in 0..8 {
                let (low, high) = (fours[at % 4], fours[at % 4 + 4]);
                let column = if at < 4 {
                    _mm256_permute2f128_ps::<0x20>(low, high)
                } else {
                    _mm256_permute2f128_ps::<0x31>(low, high)
                };
                let target = &mut out[(j + at) * e.out_stride + i..][..8];
                // SAFETY: the slice has eight elements; the store needs no alignment.
                unsafe { _mm256_storeu_ps(target.as_mut_ptr(), column) };
            }
        }
    }
    for j in (0..e.columns).step_by(BLOCK) {
        for i in (rows..e.rows).step_by(BLOCK) {
            copy_block(x, e, i, j, BLOCK.min(e.rows - i), BLOCK.min(e.columns - j), out);
        }
    }
    for j in (columns..e.columns).step_by(BLOCK) {
        for i in (0..rows).step_by(BLOCK) {
            copy_block(x, e, i, j, BLOCK.min(rows - i), BLOCK.min(e.columns - j), out);
        }
    }
}

/// Writes the transpose of a matrix, `[columns, rows]`, on this thread.
pub(crate) fn transpose_into<T: Real>(x: &[T], e: Extent, out: &mut [T]) {
    if e.rows == 0 || e.columns == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx")
        && let (Some(x), Some(out)) = (T::as_f32(x), T::as_f32_mut(out))
    {
        // SAFETY: the instruction set was found on this machine.
        return unsafe { avx_blocks(x, e, out) };
    }
    portable_blocks(x, e, out);
}

/// Writes the transpose of `x` `[rows, columns]`, whose rows lie `stride` elements apart, to `out` `[columns, rows]`, over threads if `is_parallel`. The number of columns follows from the
/// length of `out`.
///
/// # Panics
///
/// When `x` is shorter than that.
pub fn transpose<T: Real>(x: &[T], rows: usize, stride: usize, out: &mut [T], is_parallel: bool) {
    if rows == 0 || out.is_empty() {
        return;
    }
    let piece = |first: usize, out: &mut [T]| {
        let e = Extent { rows, columns: out.len() / rows, stride, out_stride: rows };
        transpose_into(&x[first * BLOCK..], e, out);
    };
    if is_parallel {
        // Whole blocks of columns are a unit, so that no block is cut.
        for_slices(out, BLOCK * rows, BLOCK * rows, &piece);
    } else {
        piece(0, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Real>() {
        for (rows, columns, stride) in
            [(1, 1, 1), (16, 16, 16), (17, 33, 40), (5, 100, 100), (300, 7, 9), (200, 300, 300)]
        {
            let x: Vec<T> = (0..rows * stride).map(|v| T::of(v as f64)).collect();
            for is_parallel in [false, true] {
                let mut out = vec![T::of(-1.); rows * columns];
                transpose(&x, rows, stride, &mut out, is_parallel);
                for i in 0..rows {
                    for j in 0..columns {
                        assert!(out[j * rows + i] == x[i * stride + j]);
                    }
                }
            }
        }
    }

    #[test]
    fn every_element_goes_to_its_place() {
        check::<f32>();
        check::<f64>();
    }
}
