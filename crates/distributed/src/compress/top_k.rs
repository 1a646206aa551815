//! Exactly the largest elements.

use crate::compressor::Compressor;
use crate::dragonn::{SampleLayout, sample_positions, sample_rank};
use crate::key::Key;
use crate::ratio::{ceil_to_count, check_ratio};
use crate::scan::magnitude_bits;
use crate::{Encoded, Result, scan};
use serde::{Deserialize, Serialize};

/// How [`top_k`] finds the largest elements. The result is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopKMethod {
    /// A threshold from a sample, low enough that almost surely more than `k` elements reach it, then a quickselect among those: little more than one pass. While fewer than `k` reach it, the
    /// threshold is lowered.
    #[default]
    Filtered,
    /// A quickselect over all magnitudes.
    Quickselect,
}

/// The indices of the `k` elements of largest magnitude, ascending. Of equal magnitudes the lower index is taken.
///
/// # Errors
///
/// When an element is not finite.
pub fn top_k(values: &[f32], k: usize, method: TopKMethod) -> Result<Vec<u32>> {
    let k = k.min(values.len());
    if k == 0 {
        scan::max_magnitude("top_k", values)?;
        return Ok(Vec::new());
    }
    let threshold = match method {
        TopKMethod::Quickselect => Some(kth(values.iter().copied(), values.len(), k)),
        TopKMethod::Filtered => None,
    };
    let candidates = match threshold {
        // with a threshold of 0, zeros are among the k
        Some(threshold) if threshold > 0. || threshold.is_nan() => scan::at_least("top_k", values, threshold)?,
        Some(_) => all(values)?,
        None => filtered(values, k)?,
    };
    Ok(exactly(values, candidates, k))
}

/// The indices of the `k` largest elements that are not zero: what is sent when a threshold lies above all elements, since what is never sent stays in the residual for ever.
pub(super) fn largest(values: &[f32], k: usize) -> Result<Vec<u32>> {
    let mut indices = top_k(values, k, TopKMethod::Filtered)?;
    indices.retain(|&index| values[index as usize] != 0.);
    Ok(indices)
}

fn all(values: &[f32]) -> Result<Vec<u32>> {
    scan::max_magnitude("top_k", values)?;
    let len = u32::try_from(values.len()).map_err(|_| scan::too_long("top_k", values.len()))?;
    Ok((0..len).collect())
}

/// The `k`-th largest magnitude.
fn kth(values: impl Iterator<Item = f32>, len: usize, k: usize) -> f32 {
    let mut bits: Vec<u32> = values.map(magnitude_bits).collect();
    f32::from_bits(*bits.select_nth_unstable(len - k).1)
}

/// The indices of at least `k` elements, ascending, among which are the `k` largest.
fn filtered(values: &[f32], k: usize) -> Result<Vec<u32>> {
    let ratio = k as f64 / values.len() as f64;
    // small gradients and large ratios gain nothing from a sample
    if values.len() < 4096 || ratio > 0.25 {
        return all(values);
    }
    let samples = (values.len() / 128).max(1024);
    let mut sample: Vec<u32> = sample_positions(values.len(), samples, SampleLayout::Stratified, 0)
        .into_iter()
        .map(|position| magnitude_bits(values[position as usize]))
        .collect();
    // the rank of the threshold in the sample, with a margin of four standard deviations
    let rank = sample_rank(samples, ratio) as f64;
    let mut rank = (rank + 4. * rank.sqrt() + 2.) as usize;
    while rank < samples {
        let bits = *sample.select_nth_unstable(samples - rank).1;
        let threshold = f32::from_bits(bits);
        if threshold > 0. || threshold.is_nan() {
            let candidates = scan::at_least("top_k", values, threshold)?;
            if candidates.len() >= k {
                return Ok(candidates);
            }
        }
        rank *= 4;
    }
    all(values)
}

/// The `k` largest of these candidates (ascending), ties to the lower index.
fn exactly(values: &[f32], mut candidates: Vec<u32>, k: usize) -> Vec<u32> {
    if candidates.len() > k {
        let last = kth(candidates.iter().map(|&index| values[index as usize]), candidates.len(), k);
        let last = magnitude_bits(last);
        let bits = |index: u32| magnitude_bits(values[index as usize]);
        let mut ties = k - candidates.iter().filter(|&&index| bits(index) > last).count();
        candidates.retain(|&index| match bits(index).cmp(&last) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => {
                let is_taken = ties > 0;
                ties -= usize::from(is_taken);
                is_taken
            }
        });
    }
    candidates
}

/// The `⌈n r⌉` elements of largest magnitude.
#[derive(Debug, Clone, Copy)]
pub struct TopK {
    ratio: f64,
    method: TopKMethod,
}

impl TopK {
    /// At this ratio, by [`TopKMethod::Filtered`].
    ///
    /// # Errors
    ///
    /// When the ratio is not above 0 and at most 1.
    pub fn new(ratio: f64) -> Result<Self> {
        Self::with_method(ratio, TopKMethod::Filtered)
    }

    /// At this ratio, by this method.
    ///
    /// # Errors
    ///
    /// As [`TopK::new`].
    pub fn with_method(ratio: f64, method: TopKMethod) -> Result<Self> {
        check_ratio("ratio", ratio)?;
        Ok(Self { ratio, method })
    }
}

impl Compressor for TopK {
    fn name(&self) -> &'static str {
        "top-k"
    }

    fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
        let k = ceil_to_count(values.len() as f64 * self.ratio);
        Ok(Encoded::gather(values, top_k(values, k, self.method)?))
    }

    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        check_ratio("ratio", ratio)?;
        self.ratio = ratio;
        Ok(())
    }
}
