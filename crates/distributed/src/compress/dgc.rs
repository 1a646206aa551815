//! The selection of deep gradient compression.

use super::top_k::{TopKMethod, largest, top_k};
use crate::compressor::Compressor;
use crate::dragonn::{largest_kth, sample_rank};
use crate::key::Key;
use crate::ratio::{check_ratio, floor_to_count, target};
use crate::scan::magnitude_bits;
use crate::{Encoded, Error, Result, scan};
use serde::{Deserialize, Serialize};

/// Which elements are sent when more reach the threshold than may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truncate {
    /// The first ones by index, so that the end of the tensor always loses; what the authors of DRAGONN compare with.
    #[default]
    LowestIndex,
    /// The largest ones.
    LargestMagnitude,
}

/// The settings of [`Dgc`]; the defaults are those of the variant that DRAGONN's authors compare with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DgcConfig {
    /// Fraction of the elements to send; 0.001.
    pub ratio: f64,
    /// Fraction that is sampled, with a stride of `⌊1 / sample_ratio⌋` (in floating point: 99 for 0.01); 0.01.
    pub sample_ratio: f64,
    /// The largest number of corrections of the threshold; 10.
    pub max_corrections: usize,
    /// The threshold rises while more than `upper` times the target reach it; at least 1, 1.3.
    pub upper: f64,
    /// The threshold falls by this factor and rises by its inverse; 0.9.
    pub factor: f64,
    /// Up to this length the ratio is at least `small_ratio`; 131072.
    pub small_len: usize,
    /// The smallest ratio of small gradients; 0.01.
    pub small_ratio: f64,
    /// Up to this length the largest elements are found exactly; 16384.
    pub exact_len: usize,
    /// Which elements are sent when still too many reach the threshold; the first ones by index.
    pub truncate: Truncate,
}

impl Default for DgcConfig {
    fn default() -> Self {
        Self {
            ratio: 0.001,
            sample_ratio: 0.01,
            max_corrections: 10,
            upper: 1.3,
            factor: 0.9,
            small_len: 131_072,
            small_ratio: 0.01,
            exact_len: 16_384,
            truncate: Truncate::LowestIndex,
        }
    }
}

impl DgcConfig {
    /// The defaults at this ratio.
    pub fn with_ratio(ratio: f64) -> Self {
        Self { ratio, ..Self::default() }
    }
}

/// Deep gradient compression (Lin et al., ICLR 2018): a threshold from a strided sample, corrected until about `⌊n r⌋` elements reach it; at most that many are sent.
/// When none reaches it, the largest are sent. Each correction is a pass over the gradient. The momentum correction of the same paper is [`Memory::dgc`](crate::memory::Memory::dgc).
#[derive(Debug, Clone)]
pub struct Dgc {
    config: DgcConfig,
    candidates: usize,
    history: Vec<(f32, usize)>,
}

impl Dgc {
    /// The compressor with these settings.
    ///
    /// # Errors
    ///
    /// When a setting is outside its range.
    pub fn new(config: DgcConfig) -> Result<Self> {
        check_ratio("ratio", config.ratio)?;
        check_ratio("sample_ratio", config.sample_ratio)?;
        check_ratio("small_ratio", config.small_ratio)?;
        check_ratio("factor", config.factor)?;
        if config.upper < 1. || config.upper.is_nan() {
            return Err(Error::config("upper", format!("{} is below 1", config.upper)));
        }
        Ok(Self { config, candidates: 0, history: Vec::new() })
    }

    /// The thresholds of the last call and how many elements reached each, for tests.
    #[doc(hidden)]
    pub fn history(&self) -> &[(f32, usize)] {
        &self.history
    }

    /// [`Compressor::compress`] with a sample that starts at this index, for tests.
    #[doc(hidden)]
    pub fn compress_from(&mut self, values: &[f32], start: usize) -> Result<Encoded> {
        let config = self.config;
        let ratio = if values.len() <= config.small_len { config.ratio.max(config.small_ratio) } else { config.ratio };
        let k = target(values.len(), ratio);
        self.history.clear();
        if values.len() <= config.exact_len {
            self.candidates = k;
            return Ok(Encoded::gather(values, top_k(values, k, TopKMethod::Filtered)?));
        }
        let sample = values.iter().skip(start).step_by(stride(config.sample_ratio)).map(|&value| magnitude_bits(value));
        let count = floor_to_count(values.len() as f64 * config.sample_ratio);
        let mut threshold = largest_kth(sample, sample_rank(count, ratio)).unwrap_or(0.);
        if !threshold.is_finite() {
            return Err(scan::first_not_finite("dgc", values));
        }
        let mut reached = scan::count_at_least(values, threshold);
        self.history.push((threshold, reached));
        for _ in 0..config.max_corrections {
            threshold = if reached as f64 > config.upper * k as f64 {
                threshold / config.factor as f32
            } else if reached < k {
                threshold * config.factor as f32
            } else {
                break;
            };
            reached = scan::count_at_least(values, threshold);
            self.history.push((threshold, reached));
        }
        let mut indices = scan::at_least("dgc", values, threshold)?;
        if indices.is_empty() {
            // equal magnitudes: the corrections step over all of them
            indices = largest(values, k)?;
        }
        self.candidates = indices.len();
        match config.truncate {
            Truncate::LowestIndex => indices.truncate(k),
            Truncate::LargestMagnitude if indices.len() > k => {
                let above: Vec<f32> = indices.iter().map(|&index| values[index as usize]).collect();
                let kept = top_k(&above, k, TopKMethod::Quickselect)?;
                indices = kept.into_iter().map(|at| indices[at as usize]).collect();
            }
            Truncate::LargestMagnitude => {}
        }
        Ok(Encoded::gather(values, indices))
    }
}

/// `⌊1 / ratio⌋` as Python's `1 // ratio` computes it: 99 for 0.01, since the exact quotient of the two doubles is below 100.
fn stride(ratio: f64) -> usize {
    let remainder = 1f64 % ratio;
    (((1. - remainder) / ratio).round() as usize).max(1)
}

impl Compressor for Dgc {
    fn name(&self) -> &'static str {
        "dgc"
    }

    fn compress(&mut self, values: &[f32], key: &Key) -> Result<Encoded> {
        let most = stride(self.config.sample_ratio).min(values.len().saturating_sub(1));
        let start = key.rank_seed("dgc sample") % (most as u64 + 1);
        self.compress_from(values, start as usize)
    }

    fn candidates(&self) -> Option<usize> {
        Some(self.candidates)
    }

    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        check_ratio("ratio", ratio)?;
        self.config.ratio = ratio;
        Ok(())
    }
}
