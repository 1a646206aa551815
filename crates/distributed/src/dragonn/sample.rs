//! A threshold from a sample.

use crate::scan::magnitude_bits;
use crate::{Error, Result, scan};
use rand::RngCore as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// `count` positions below `len`, with replacement.
pub fn sample_positions(len: usize, count: usize, seed: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // multiply and shift: the bias is below len / 2^32
    (0..count).map(|_| ((u64::from(rng.next_u32()) * len as u64) >> 32) as u32).collect()
}

/// The threshold at these positions: the `⌈S r⌉`-th largest magnitude of the `S` elements there.
///
/// # Errors
///
/// When there is no position, one is not below the length, or an element there is not finite.
pub fn sample_threshold_at(values: &[f32], positions: &[u32], ratio: f64) -> Result<f32> {
    let mut sample = Vec::with_capacity(positions.len());
    for &position in positions {
        let value = values
            .get(position as usize)
            .ok_or_else(|| Error::options("sample", format!("position {position} is not below {}", values.len())))?;
        sample.push(magnitude_bits(*value));
    }
    kth_largest(&mut sample, sample_rank(positions.len(), ratio)).filter(|threshold| threshold.is_finite()).ok_or_else(
        || match values.iter().all(|value| value.is_finite()) {
            true => Error::options("sample", "there are no positions"),
            false => scan::first_not_finite("threshold", values),
        },
    )
}

/// `⌈S r⌉`, at least 1, at most `S`.
pub(crate) fn sample_rank(samples: usize, ratio: f64) -> usize {
    ((samples as f64 * ratio).ceil() as usize).clamp(1, samples.max(1))
}

/// The `rank`-th largest magnitude (1 is the largest) of magnitudes given by their bits.
pub(crate) fn kth_largest(bits: &mut [u32], rank: usize) -> Option<f32> {
    let at = bits.len().checked_sub(rank)?;
    if at >= bits.len() {
        return None;
    }
    Some(f32::from_bits(*bits.select_nth_unstable(at).1))
}

/// The threshold that about `ratio · n` elements reach, from `⌊n · sample_ratio⌋` (at least 1) elements drawn with replacement. With few samples above it (small `n`
/// or `ratio`) it is noisy: the number of candidates varies by about `1 / √⌈S r⌉`.
///
/// # Errors
///
/// When the gradient is empty, or a sampled element is not finite.
pub fn sampled_threshold(values: &[f32], ratio: f64, sample_ratio: f64, seed: u64) -> Result<f32> {
    if values.is_empty() {
        return Ok(0.);
    }
    let count = ((values.len() as f64 * sample_ratio) as usize).max(1);
    sample_threshold_at(values, &sample_positions(values.len(), count, seed), ratio)
}
