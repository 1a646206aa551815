//! Passes over a whole gradient: one read of memory each, compiled for the widest vectors that the machine has.
//!
//! Magnitudes are compared by their bits: without its sign a float's bits are in the order of its magnitude, with infinity and then NaN at the end. So a gradient that is
//! not finite shows itself as a very large candidate and no pass of its own looks for it.

use crate::{Error, Result};
use rayon::prelude::*;

/// Elements looked at together; when none of them reaches the threshold they cost a few vector instructions.
const BLOCK: usize = 64;
/// Elements for one thread; smaller gradients are not handed out.
const CHUNK: usize = 1 << 18;
const INFINITE: u32 = 0x7f80_0000;

/// The bits of `|value|`.
#[inline(always)]
pub(crate) fn magnitude_bits(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

#[inline(always)]
fn reaches(block: &[f32; BLOCK], bits: u32) -> bool {
    let mut found = [0u32; 16];
    for part in block.chunks_exact(16) {
        for (found, &value) in found.iter_mut().zip(part) {
            *found |= u32::from(magnitude_bits(value) >= bits);
        }
    }
    found.iter().fold(0, |all, &lane| all | lane) != 0
}

/// Calls `found` with the index and the value of every element whose magnitude has at least these bits, in ascending order.
#[inline(always)]
fn visit(values: &[f32], bits: u32, mut found: impl FnMut(usize, f32)) {
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    for (at, block) in blocks.iter().enumerate() {
        if reaches(block, bits) {
            for (offset, &value) in block.iter().enumerate() {
                if magnitude_bits(value) >= bits {
                    found(at * BLOCK + offset, value);
                }
            }
        }
    }
    for (offset, &value) in rest.iter().enumerate() {
        if magnitude_bits(value) >= bits {
            found(blocks.len() * BLOCK + offset, value);
        }
    }
}

/// Whether a pass over this many elements is worth several threads.
fn is_spread(len: usize) -> bool {
    len >= 2 * CHUNK && rayon::current_num_threads() > 1
}

/// The indices of all elements with `|value| ≥ threshold`, ascending; with a threshold of zero those that are not zero.
///
/// # Errors
///
/// [`Error::NotFinite`] for the first element that is NaN or infinite.
pub(crate) fn at_least(operation: &'static str, values: &[f32], threshold: f32) -> Result<Vec<u32>> {
    if u32::try_from(values.len()).is_err() {
        return Err(too_long(values.len()));
    }
    let bits = magnitude_bits(threshold).max(1);
    let collect = |values: &[f32], first: usize| {
        pulp::Arch::new().dispatch(|| {
            let mut indices = Vec::new();
            let mut largest = 0;
            visit(values, bits, |index, value| {
                largest = largest.max(magnitude_bits(value));
                indices.push((first + index) as u32);
            });
            (indices, largest)
        })
    };
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
    let count = |values: &[f32]| {
        pulp::Arch::new().dispatch(|| values.iter().map(|&value| u32::from(magnitude_bits(value) >= bits)).sum::<u32>())
    };
    if is_spread(values.len()) {
        values.par_chunks(CHUNK).map(|part| count(part) as usize).sum()
    } else {
        values.chunks(1 << 30).map(|part| count(part) as usize).sum()
    }
}

/// The largest magnitude.
///
/// # Errors
///
/// [`Error::NotFinite`] for the first element that is NaN or infinite.
pub(crate) fn max_magnitude(operation: &'static str, values: &[f32]) -> Result<f32> {
    let largest = |values: &[f32]| {
        pulp::Arch::new().dispatch(|| {
            let mut lanes = [0u32; 16];
            let (parts, rest) = values.as_chunks::<16>();
            for part in parts {
                for (lane, &value) in lanes.iter_mut().zip(part) {
                    *lane = (*lane).max(magnitude_bits(value));
                }
            }
            rest.iter().map(|&value| magnitude_bits(value)).chain(lanes).max().unwrap_or(0)
        })
    };
    let bits = if is_spread(values.len()) {
        values.par_chunks(CHUNK).map(largest).max().unwrap_or(0)
    } else {
        largest(values)
    };
    if bits >= INFINITE { Err(first_not_finite(operation, values)) } else { Ok(f32::from_bits(bits)) }
}

pub(crate) fn too_long(len: usize) -> Error {
    Error::options("the gradient", format!("{len} elements are more than 32-bit indices reach; cut it into pieces"))
}

pub(crate) fn first_not_finite(operation: &'static str, values: &[f32]) -> Error {
    let index = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    Error::NotFinite { operation, index, value: values.get(index).copied().unwrap_or(f32::NAN) }
}

/// `Σ f(|value|)` in f64: partial sums over pieces of fixed length, added in order, so that the number of threads does not show.
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
    fn what_is_not_finite_is_found_by_every_pass() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            let mut values = vec![1f32; 1000];
            values[777] = bad;
            for error in [at_least("test", &values, 2.).err(), max_magnitude("test", &values).err()] {
                assert!(matches!(error, Some(Error::NotFinite { index: 777, .. })), "{error:?}");
            }
        }
    }
}
