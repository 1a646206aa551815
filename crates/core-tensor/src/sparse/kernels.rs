//! The loops over compressed rows.

use crate::kernel::{Real, multiversion};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows of matrices larger than this many bytes are prefetched: hardware cannot predict which rows an
/// index names.
const CACHE: usize = 1 << 20;
/// How many entries ahead.
const AHEAD: usize = 8;

/// Hints that `x[start..start + len]` will be read soon.
#[inline(always)]
fn prefetch<T>(x: &[T], start: usize, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(row) = x.get(start..start + len) {
        for line in row.chunks((64 / size_of::<T>()).max(1)) {
            // SAFETY: a prefetch has no effect but on caches, and the address is that of a live element.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (x, start, len);
}

/// `Σ_slot coefficient(slot) · x[neighbours[slot], first..first + len]` for at most `N` features, kept in registers.
#[inline(always)]
fn accumulate<T: Real, const N: usize>(
    slots: Range<usize>,
    neighbours: &[u32],
    coefficient: impl Fn(usize) -> T,
    x: &[T],
    (stride, first, len): (usize, usize, usize),
) -> [T; N] {
    let mut sum = [T::ZERO; N];
    let is_far = size_of_val(x) > CACHE;
    for slot in slots {
        if is_far && let Some(&ahead) = neighbours.get(slot + AHEAD) {
            prefetch(x, ahead as usize * stride + first, len);
        }
        let start = neighbours[slot] as usize * stride + first;
        let weight = coefficient(slot);
        if len == N {
            for (s, &v) in sum.iter_mut().zip(&x[start..start + N]) {
                *s = weight.mul_add(v, *s);
            }
        } else {
            for (s, &v) in sum.iter_mut().zip(&x[start..start + len]) {
                *s = weight.mul_add(v, *s);
            }
        }
    }
    sum
}

/// One output row of `out.len()` features that begin at feature `first` of rows of `stride` features.
#[inline(always)]
fn weighted_row<T: Real>(
    slots: Range<usize>,
    neighbours: &[u32],
    coefficient: impl Fn(usize) -> T + Copy,
    x: &[T],
    (stride, first): (usize, usize),
    scale: T,
    out: &mut [MaybeUninit<T>],
) {
    #[inline(always)]
    fn write<T: Real, const N: usize>(out: &mut [MaybeUninit<T>], sum: [T; N], scale: T) {
        for (o, s) in out.iter_mut().zip(sum) {
            o.write(s * scale);
        }
    }
    let width = out.len();
    let mut at = 0;
    while width - at >= 64 {
        let sum: [T; 64] = accumulate(slots.clone(), neighbours, coefficient, x, (stride, first + at, 64));
        write(&mut out[at..at + 64], sum, scale);
        at += 64;
    }
    while width - at >= 16 {
        let sum: [T; 16] = accumulate(slots.clone(), neighbours, coefficient, x, (stride, first + at, 16));
        write(&mut out[at..at + 16], sum, scale);
        at += 16;
    }
    if at < width {
        let sum: [T; 16] = accumulate(slots, neighbours, coefficient, x, (stride, first + at, width - at));
        write(&mut out[at..], sum, scale);
    }
}

multiversion! {
    /// `out[r] = Σ_slot x[neighbours[slot]]`, divided by the number of slots if `is_mean`. Writes all of `out`.
    pub(super) fn sum_rows<T>(offsets: &[u32], neighbours: &[u32], rows: Range<usize>, x: &[T], width: usize, is_mean: bool, out: &mut [MaybeUninit<T>]) {
        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
            let slots = offsets[row] as usize..offsets[row + 1] as usize;
            let scale = if is_mean && !slots.is_empty() { T::ONE / T::of(slots.len() as f64) } else { T::ONE };
            weighted_row(slots, neighbours, |_| T::ONE, x, (width, 0), scale, out);
        }
    }
}

multiversion! {
    /// `out[r, h] = Σ_slot values[entries[slot], h] · x[neighbours[slot], h]` for `heads` heads of `width` features.
    pub(super) fn weighted_rows<T>(offsets: &[u32], neighbours: &[u32], entries: &[u32], rows: Range<usize>, values: &[T], x: &[T], heads: usize, width: usize, out: &mut [MaybeUninit<T>]) {
        let stride = heads * width;
        for (row, out) in rows.zip(out.chunks_exact_mut(stride)) {
            let slots = offsets[row] as usize..offsets[row + 1] as usize;
            for (head, out) in out.chunks_exact_mut(width).enumerate() {
                let coefficient = |slot: usize| values[entries[slot] as usize * heads + head];
                weighted_row(slots.clone(), neighbours, coefficient, x, (stride, head * width), T::ONE, out);
            }
        }
    }
}

/// `⟨a, b⟩` in sixteen lanes, which are then added in pairs: in a fixed order, and without a long chain of additions.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    const LANES: usize = 16;
    let mut lanes = [T::ZERO; LANES];
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    for (p, q) in whole_a.iter().zip(whole_b) {
        for lane in 0..LANES {
            lanes[lane] = p[lane].mul_add(q[lane], lanes[lane]);
        }
    }
    for ((lane, &p), &q) in lanes.iter_mut().zip(rest_a).zip(rest_b) {
        *lane = p.mul_add(q, *lane);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

multiversion! {
    /// `out[slot, h] = ⟨left[row, h], right[neighbours[slot], h]⟩` for all slots of the rows.
    pub(super) fn sampled_dots<T>(offsets: &[u32], neighbours: &[u32], rows: Range<usize>, left: &[T], right: &[T], heads: usize, width: usize, out: &mut [MaybeUninit<T>]) {
        let stride = heads * width;
        let begin = offsets[rows.start] as usize;
        let is_far = size_of_val(right) > CACHE;
        for row in rows {
            let left = &left[row * stride..(row + 1) * stride];
            for slot in offsets[row] as usize..offsets[row + 1] as usize {
                if is_far && let Some(&ahead) = neighbours.get(slot + AHEAD) {
                    prefetch(right, ahead as usize * stride, stride);
                }
                let col = neighbours[slot] as usize * stride;
                let right = &right[col..col + stride];
                let out = &mut out[(slot - begin) * heads..(slot - begin + 1) * heads];
                for (head, out) in out.iter_mut().enumerate() {
                    let features = head * width..(head + 1) * width;
                    out.write(dot(&left[features.clone()], &right[features]));
                }
            }
        }
    }
}

multiversion! {
    /// Per row the largest (smallest) value of its neighbours and the id of the first entry that has it. A NaN wins.
    /// Rows without entries get zero and `u32::MAX`. `best` and `chosen` are overwritten.
    pub(super) fn extreme_rows<T>(offsets: &[u32], neighbours: &[u32], entries: &[u32], first_row: usize, x: &[T], width: usize, is_min: bool, best: &mut [T], chosen: &mut [u32]) {
        let sign = if is_min { -T::ONE } else { T::ONE };
        for (row, (best, chosen)) in best.chunks_exact_mut(width).zip(chosen.chunks_exact_mut(width)).enumerate() {
            let slots = offsets[first_row + row] as usize..offsets[first_row + row + 1] as usize;
            chosen.fill(u32::MAX);
            best.fill(T::ZERO);
            for (position, slot) in slots.enumerate() {
                let entry = entries[slot];
                let start = neighbours[slot] as usize * width;
                let values = &x[start..start + width];
                if position == 0 {
                    best.copy_from_slice(values);
                    chosen.fill(entry);
                    continue;
                }
                for ((best, chosen), &value) in best.iter_mut().zip(chosen.iter_mut()).zip(values) {
                    // A NaN replaces numbers and is never replaced.
                    let wins = ((sign * value > sign * *best) | value.is_nan()) & !best.is_nan();
                    *best = if wins { value } else { *best };
                    *chosen = if wins { entry } else { *chosen };
                }
            }
        }
    }
}

multiversion! {
    /// The gradient of [`extreme_rows`]: `out[c] = Σ_slot grad[neighbours[slot]]` where the slot's entry was chosen, over the
    /// compressed columns.
    pub(super) fn chosen_sums<T>(offsets: &[u32], neighbours: &[u32], entries: &[u32], cols: Range<usize>, grad: &[T], chosen: &[u32], width: usize, out: &mut [T]) {
        for (col, out) in cols.zip(out.chunks_exact_mut(width)) {
            out.fill(T::ZERO);
            for slot in offsets[col] as usize..offsets[col + 1] as usize {
                let entry = entries[slot];
                let start = neighbours[slot] as usize * width;
                let sources = grad[start..start + width].iter().zip(&chosen[start..start + width]);
                for (o, (&g, &c)) in out.iter_mut().zip(sources) {
                    *o += if c == entry { g } else { T::ZERO };
                }
            }
        }
    }
}

/// Copies one row.
#[inline(always)]
pub(super) fn copy_row<T: Copy>(from: &[T], to: &mut [MaybeUninit<T>]) {
    for (to, &from) in to.iter_mut().zip(from) {
        to.write(from);
    }
}
