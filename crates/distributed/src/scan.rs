//! Passes over a whole gradient. Each reads memory once and uses the widest vectors that the machine has.
//!
//! Magnitudes are compared by their bits: without the sign bit, the bits of floats are ordered like their magnitudes, with infinity and then NaN at the end. An element that is not finite is
//! thus a very large candidate, and no separate pass has to look for it.

use crate::{Error, Result};
use rayon::prelude::*;

/// Elements compared together: as many as a word has bits.
const BLOCK: usize = 64;
/// Elements for one task; smaller gradients stay on the calling thread.
const CHUNK: usize = 1 << 18;
const INFINITE: u32 = 0x7f80_0000;

/// The bits of `|value|`.
#[inline(always)]
pub(crate) fn magnitude_bits(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

/// Calls `found` with the index and the value of every element whose magnitude has at least these bits, in ascending order.
///
/// The comparisons of a block become the bits of one word, which takes AVX-512 one instruction for each vector. Without AVX-512, `COUNTS_FIRST` makes blocks without a hit cheaper.
#[inline(always)]
fn visit<const COUNTS_FIRST: bool>(values: &[f32], bits: u32, mut found: impl FnMut(usize, f32)) {
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    for (at, block) in blocks.iter().enumerate() {
        if COUNTS_FIRST && block.iter().map(|&value| u32::from(magnitude_bits(value) >= bits)).sum::<u32>() == 0 {
            continue;
        }
        let mut marks = 0u64;
        for (offset, &value) in block.iter().enumerate() {
            marks |= u64::from(magnitude_bits(value) >= bits) << offset;
        }
        while marks != 0 {
            let offset = marks.trailing_zeros() as usize;
            found(at * BLOCK + offset, block[offset]);
            marks &= marks - 1;
        }
    }
    for (offset, &value) in rest.iter().enumerate() {
        if magnitude_bits(value) >= bits {
            found(blocks.len() * BLOCK + offset, value);
        }
    }
}

/// [`visit`] as a type: a closure might be compiled without the instruction set it is dispatched to.
struct Collect<'a> {
    values: &'a [f32],
    first: usize,
    bits: u32,
}

impl pulp::WithSimd for Collect<'_> {
    type Output = (Vec<u32>, u32);

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Self::Output {
        let (mut indices, mut largest) = (Vec::new(), 0);
        let found = |index, value| {
            largest = largest.max(magnitude_bits(value));
            indices.push((self.first + index) as u32);
        };
        if has_mask_registers() {
            visit::<false>(self.values, self.bits, found);
        } else {
            visit::<true>(self.values, self.bits, found);
        }
        (indices, largest)
    }
}

struct Count<'a> {
    values: &'a [f32],
    bits: u32,
}

impl pulp::WithSimd for Count<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
        let count = |values: &[f32]| {
            values.iter().map(|&value| u32::from(magnitude_bits(value) >= self.bits)).sum::<u32>() as usize
        };
        // in pieces whose counts fit into 32 bits
        self.values.chunks(CHUNK).map(count).sum()
    }
}

/// The bits of the largest magnitude.
struct Largest<'a>(&'a [f32]);

impl pulp::WithSimd for Largest<'_> {
    type Output = u32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> u32 {
        let mut lanes = [0u32; 64];
        let (parts, rest) = self.0.as_chunks::<64>();
        for part in parts {
            for (lane, &value) in lanes.iter_mut().zip(part) {
                *lane = (*lane).max(magnitude_bits(value));
            }
        }
        rest.iter().map(|&value| magnitude_bits(value)).chain(lanes).max().unwrap_or(0)
    }
}

#[cfg(target_arch = "x86_64")]
fn has_mask_registers() -> bool {
    pulp::x86::V4::is_available()
}

#[cfg(not(target_arch = "x86_64"))]
fn has_mask_registers() -> bool {
    false
}

/// Whether a pass over this many elements is worth several threads.
fn is_spread(len: usize) -> bool {
    len >= 2 * CHUNK && rayon::current_num_threads() > 1
}

/// The indices of all elements with `|value| ≥ threshold`, ascending; with a threshold of zero, of all that are not zero.
///
/// # Errors
///
/// [`Error::NotFinite`] for the first element that is NaN or infinite.
pub(crate) fn at_least(operation: &'static str, values: &[f32], threshold: f32) -> Result<Vec<u32>> {
    if u32::try_from(values.len()).is_err() {
        return Err(too_long(operation, values.len()));
    }
    let bits = magnitude_bits(threshold).max(1);
    let collect = |values, first| pulp::Arch::new().dispatch(Collect { values, first, bits });
    let (indices, largest) = if is_spread(values.len()) {
        let parts: Vec<(Vec<u32>, u32)> =
            values.par_chunks(CHUNK).enumerate().map(|(at, part)| collect(part, at * CHUNK)).collect();
        let largest = parts.iter().map(|part| part.1).max().unwrap_or(0);
        (parts.into_iter().flat_map(|part| part.0).collect(), largest)
    } else {
        collect(values, 0)
    };
    if largest >= INFINITE { Err(first_not_finite(operation, values)) } else { Ok(indices) }
}

/// How many elements have `|value| ≥ threshold`. NaN and infinities count.
pub(crate) fn count_at_least(values: &[f32], threshold: f32) -> usize {
    let bits = magnitude_bits(threshold).max(1);
    let count = |values| pulp::Arch::new().dispatch(Count { values, bits });
    if is_spread(values.len()) { values.par_chunks(CHUNK).map(count).sum() } else { count(values) }
}

/// The largest magnitude.
///
/// # Errors
///
/// [`Error::NotFinite`] for the first element that is NaN or infinite.
pub(crate) fn max_magnitude(operation: &'static str, values: &[f32]) -> Result<f32> {
    let largest = |values| pulp::Arch::new().dispatch(Largest(values));
    let bits = if is_spread(values.len()) {
        values.par_chunks(CHUNK).map(largest).max().unwrap_or(0)
    } else {
        largest(values)
    };
    if bits >= INFINITE { Err(first_not_finite(operation, values)) } else { Ok(f32::from_bits(bits)) }
}

/// Writes zeros.
pub(crate) fn clear(values: &mut [f32]) {
    if is_spread(values.len()) {
        values.par_chunks_mut(CHUNK).for_each(|part| part.fill(0.));
    } else {
        values.fill(0.);
    }
}

pub(crate) fn too_long(operation: &'static str, len: usize) -> Error {
    Error::TooLarge { operation, what: "the length of the gradient", got: len, limit: u32::MAX as usize }
}

pub(crate) fn first_not_finite(operation: &'static str, values: &[f32]) -> Error {
    let position = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    Error::NotFinite { operation, position, got: values.get(position).copied().unwrap_or(f32::NAN) }
}

/// `Σ f(|value|)` in f64. Pieces of fixed length are summed and then added in order, so that the result does not depend on the number of threads.
pub(crate) fn sum(values: &[f32], f: impl Fn(f64) -> f64 + Sync) -> f64 {
    let part = |values: &[f32]| {
        let mut lanes = [0f64; 8];
        let (parts, rest) = values.as_chunks::<8>();
        for part in parts {
            for (lane, &value) in lanes.iter_mut().zip(part) {
                *lane += f(f64::from(value.abs()));
            }
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|&value| f(f64::from(value.abs()))).sum::<f64>()
    };
    if is_spread(values.len()) {
        let parts: Vec<f64> = values.par_chunks(CHUNK).map(part).collect();
        parts.into_iter().sum()
    } else {
        values.chunks(CHUNK).map(part).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_agree_with_plain_loops_at_any_length() {
        for len in [0usize, 1, 15, 63, 64, 65, 1000, 3 * CHUNK + 7] {
            let values: Vec<f32> = (0..len).map(|i| ((i * 7919 % 1013) as f32 - 500.) / 37.).collect();
            for threshold in [0f32, 3.3, 13.5, 100.] {
                let plain: Vec<u32> = (0..len as u32)
                    .filter(|&i| values[i as usize] != 0. && values[i as usize].abs() >= threshold)
                    .collect();
                assert_eq!(at_least("test", &values, threshold).expect("finite"), plain);
                assert_eq!(count_at_least(&values, threshold), plain.len());
            }
            let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            assert_eq!(max_magnitude("test", &values).expect("finite"), largest);
        }
    }

    #[test]
    fn both_forms_of_the_pass_find_the_same() {
        let values: Vec<f32> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
        let find = |counts_first: bool, bits: u32| {
            let mut all = Vec::new();
            let found = |index: usize, value: f32| all.push((index, value));
            if counts_first {
                visit::<true>(&values, bits, found)
            } else {
                visit::<false>(&values, bits, found)
            }
            all
        };
        for threshold in [1e3f32, 1e7, 1.6e7, 1e9] {
            assert_eq!(find(true, threshold.to_bits()), find(false, threshold.to_bits()));
        }
    }

    #[test]
    fn what_is_not_finite_is_found_by_every_pass() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            let mut values = vec![1f32; 1000];
            values[777] = bad;
            for error in [at_least("test", &values, 2.).err(), max_magnitude("test", &values).err()] {
                assert!(matches!(error, Some(Error::NotFinite { position: 777, .. })), "{error:?}");
            }
        }
    }
}
