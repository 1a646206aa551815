//! The compressor of the paper.

use super::sample::{SampleLayout, sampled_threshold};
use super::select::hash_select;
use crate::compressor::Compressor;
use crate::key::Key;
use crate::ratio::{ceil_to_count, check_ratio, target};
use crate::{Encoded, Error, Result, scan};
use serde::{Deserialize, Serialize};

/// The settings of [`Dragonn`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DragonnConfig {
    /// Fraction of the elements to send, above 0, at most 1; 0.001.
    pub ratio: f64,
    /// Slots for each element to send, above 0, at most 1024; 4. With 4, 88.5 % of `k` candidates are sent; with 1, 2, 8 and 16 it is 63, 79, 94 and 97 %.
    pub slots_factor: f64,
    /// Fraction of the elements that is sampled for the threshold; 0.01.
    pub sample_ratio: f64,
    /// Where the sample is taken; uniformly.
    pub sampling: SampleLayout,
    /// Up to this length the ratio is at least `small_ratio`; 131072, as in the authors' program.
    pub small_len: usize,
    /// The smallest ratio of small gradients; 0.01.
    pub small_ratio: f64,
}

impl Default for DragonnConfig {
    fn default() -> Self {
        Self {
            ratio: 0.001,
            slots_factor: 4.,
            sample_ratio: 0.01,
            sampling: SampleLayout::Uniform,
            small_len: 131_072,
            small_ratio: 0.01,
        }
    }
}

impl DragonnConfig {
    /// The defaults at this ratio.
    pub fn with_ratio(ratio: f64) -> Self {
        Self { ratio, ..Self::default() }
    }
}

/// The compressor of the paper: a sampled threshold, then hashed selection. One pass over the gradient.
#[derive(Debug, Clone)]
pub struct Dragonn {
    config: DragonnConfig,
    candidates: usize,
}

impl Dragonn {
    /// The compressor with these settings.
    ///
    /// # Errors
    ///
    /// When a setting is outside its range.
    pub fn new(config: DragonnConfig) -> Result<Self> {
        check_ratio("ratio", config.ratio)?;
        check_ratio("sample_ratio", config.sample_ratio)?;
        check_ratio("small_ratio", config.small_ratio)?;
        if !(config.slots_factor > 0. && config.slots_factor <= 1024.) {
            let reason = format!("{} is not above 0 and at most 1024", config.slots_factor);
            return Err(Error::config("slots_factor", reason));
        }
        Ok(Self { config, candidates: 0 })
    }
}

impl Compressor for Dragonn {
    fn name(&self) -> &'static str {
        "dragonn"
    }

    fn compress(&mut self, values: &[f32], key: &Key) -> Result<Encoded> {
        let config = &self.config;
        let ratio = if values.len() <= config.small_len { config.ratio.max(config.small_ratio) } else { config.ratio };
        let k = target(values.len(), ratio);
        let slots = ceil_to_count(k as f64 * config.slots_factor).max(1);
        let threshold =
            sampled_threshold(values, ratio, config.sample_ratio, config.sampling, key.rank_seed("dragonn sample"))?;
        let candidates = scan::at_least("dragonn", values, threshold)?;
        self.candidates = candidates.len();
        let indices = hash_select(&candidates, slots, key.rank_seed("dragonn hash") as u32)?;
        Ok(Encoded::gather(values, indices))
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
