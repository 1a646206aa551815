//! A threshold from a sample of the gradient.

use crate::key::mix;
use crate::ratio::{ceil_to_count, target};
use crate::scan::magnitude_bits;
use crate::{Error, Result, scan};
use serde::{Deserialize, Serialize};

/// How the positions of a sample are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SampleLayout {
    /// Uniformly, with replacement, as in the authors' program.
    #[default]
    Uniform,
    /// One position in each of `count` equal parts. Memory is read in order, which is faster, and the sample is spread more evenly.
    Stratified,
}

/// `count` positions below `len`, equal for equal seeds.
pub fn sample_positions(len: usize, count: usize, layout: SampleLayout, seed: u64) -> Vec<u32> {
    // multiply and shift: the bias is at most range / 2^32
    let below = |at: usize, range: u64| ((mix(seed.wrapping_add(mix(at as u64))) >> 32) * range) >> 32;
    match layout {
        SampleLayout::Uniform => (0..count).map(|at| below(at, len as u64) as u32).collect(),
        SampleLayout::Stratified => {
            // fixed-point number with 32 fractional bits
            let part = ((len as u64) << 32) / count.max(1) as u64;
            let position = |at: usize| {
                let start = ((at as u128 * u128::from(part)) >> 32) as u64;
                (start + below(at, part.div_ceil(1 << 32))).min((len as u64).saturating_sub(1)) as u32
            };
            (0..count).map(position).collect()
        }
    }
}

/// The threshold from the elements at `S` given positions: the `⌈S r⌉`-th largest magnitude.
///
/// # Errors
///
/// When there are no positions, one is not below the length, or an element there is not finite.
pub fn sample_threshold_at(values: &[f32], positions: &[u32], ratio: f64) -> Result<f32> {
    if let Some(position) = positions.iter().find(|position| **position as usize >= values.len()) {
        let (index, bound) = (*position as usize, values.len());
        return Err(Error::OutOfRange { operation: "sample_threshold_at", what: "a position", index, bound });
    }
    let sample = positions.iter().map(|&position| magnitude_bits(values[position as usize]));
    match largest_kth(sample, sample_rank(positions.len(), ratio)) {
        Some(threshold) if threshold.is_finite() => Ok(threshold),
        Some(_) => Err(scan::first_not_finite("sample_threshold_at", values)),
        None => Err(Error::config("positions", "there are none")),
    }
}

/// The `rank`-th largest of a stream of magnitudes given by their bits. Most are below those found so far and cost one comparison.
pub(crate) fn largest_kth(bits: impl Iterator<Item = u32>, rank: usize) -> Option<f32> {
    let room = 2 * rank + 64;
    let mut kept = Vec::with_capacity(room);
    let mut floor = 0;
    for bits in bits {
        if bits >= floor {
            kept.push(bits);
            if kept.len() == room {
                let at = room - rank;
                floor = *kept.select_nth_unstable(at).1;
                kept.drain(..at);
            }
        }
    }
    kth_largest(&mut kept, rank)
}

/// `⌈S r⌉`, at least 1, at most `S`.
pub(crate) fn sample_rank(samples: usize, ratio: f64) -> usize {
    ceil_to_count(samples as f64 * ratio).clamp(1, samples.max(1))
}

/// The `rank`-th largest magnitude (1 is the largest) of magnitudes given by their bits.
pub(crate) fn kth_largest(bits: &mut [u32], rank: usize) -> Option<f32> {
    let at = bits.len().checked_sub(rank)?;
    if at >= bits.len() {
        return None;
    }
    Some(f32::from_bits(*bits.select_nth_unstable(at).1))
}

/// A threshold that about `ratio · n` elements reach, from a sample of `S = ⌊n · sample_ratio⌋` (at least 1) elements; 0 for an empty gradient. With few samples above it (small `n` or
/// `ratio`) it is noisy: the number of candidates has a relative deviation of about `1 / √⌈S r⌉`.
///
/// # Errors
///
/// When a sampled element is not finite.
pub fn sampled_threshold(
    values: &[f32],
    ratio: f64,
    sample_ratio: f64,
    layout: SampleLayout,
    seed: u64,
) -> Result<f32> {
    if values.is_empty() {
        return Ok(0.);
    }
    let count = target(values.len(), sample_ratio);
    sample_threshold_at(values, &sample_positions(values.len(), count, layout, seed), ratio)
}
