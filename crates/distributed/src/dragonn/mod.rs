//! DRAGONN: hashed selection of large gradient elements.
//!
//! Zhuang Wang, Zhaozhuo Xu, Xinyu Wu, Anshumali Shrivastava, T. S. Eugene Ng: "DRAGONN: Distributed Randomized Approximate Gradients of Neural Networks", ICML 2022, PMLR 162.
//!
//! Workers that exchange only the largest elements of a gradient save communication, but finding exactly those elements can cost more than it saves. DRAGONN takes a threshold
//! from a sample of 1 %, lets every element above it write its index into a small table at the place that a hash of the index gives, and sends what stands in the table: no sort, no
//! count, no compaction. Where two elements meet, one of them waits for a later step, in which another seed separates them; error feedback keeps it until then.
//!
//! Notation: `n` elements, ratio `r`, `k = max(1, ⌊n r⌋)`, threshold `τ`, `c` candidates (elements with `|g_i| ≥ τ`), `m = f k` slots, slots factor `f` = 4,
//! `h_σ(i)` MurmurHash3 (x86, 32 bit) of the index with seed `σ`.
//!
//! | step | item |
//! |---|---|
//! | threshold from a sample | [`sampled_threshold`], [`sample_threshold_at`] |
//! | `slots[h_σ(i) mod m] = i` | [`hash_select`], [`murmur3`] |
//! | the fraction that is sent, `m (1 − (1 − 1/m)^c)` | [`expected_sent`] |
//! | all of it as a compressor | [`Dragonn`] |
//! | sparse decoding | [`decode_sparse`](crate::encoded::decode_sparse) |
//! | which tensors are worth it | [`TensorSelection`](crate::selection::TensorSelection) |
//!
//! Where the authors' program errs we do not follow: index 0 is sent like any other (theirs marks an empty slot with it), values of several workers at one index are added
//! (theirs overwrites), the sum is divided by the number of workers, and the seed follows from step and tensor instead of a count of calls, so that a resumed run has the same bits.
//! [`authors`] has their behaviour, for comparison alone.

pub mod authors;
mod hash;
mod sample;
mod select;

pub use hash::murmur3;
pub use sample::{Sampling, sample_positions, sample_threshold_at, sampled_threshold};
pub(crate) use sample::{largest_kth, sample_rank};
pub use select::{expected_sent, hash_select};

use crate::compress::{Compressor, Key, check_ratio, target};
use crate::{Encoded, Error, Result, scan};
use serde::{Deserialize, Serialize};

/// The options of [`Dragonn`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DragonnConfig {
    /// Fraction of the elements to send, above 0, at most 1; 0.001.
    pub ratio: f64,
    /// Slots for each element to send, above 0; 4, with which 88.5 % of as many candidates are sent. 1 gives 63 %, 2 79 %, 8 94 %, 16 97 %.
    pub slots_factor: f64,
    /// Fraction of the elements that the threshold is taken from; 0.01.
    pub sample_ratio: f64,
    /// How the sample is drawn; uniformly.
    pub sampling: Sampling,
    /// Gradients of at most so many elements are sent at `small_ratio` if that is larger; 131072, in the authors' program.
    pub small_len: usize,
    /// 0.01.
    pub small_ratio: f64,
}

impl Default for DragonnConfig {
    fn default() -> Self {
        Self {
            ratio: 0.001,
            slots_factor: 4.,
            sample_ratio: 0.01,
            sampling: Sampling::Uniform,
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
    /// # Errors
    ///
    /// When an option is outside its range.
    pub fn new(config: DragonnConfig) -> Result<Self> {
        check_ratio("ratio", config.ratio)?;
        check_ratio("sample_ratio", config.sample_ratio)?;
        check_ratio("small_ratio", config.small_ratio)?;
        if !(config.slots_factor > 0. && config.slots_factor <= 1024.) {
            let reason = format!("{} is not above 0 and at most 1024", config.slots_factor);
            return Err(Error::options("slots_factor", reason));
        }
        Ok(Self { config, candidates: 0 })
    }

    /// The options.
    pub fn config(&self) -> &DragonnConfig {
        &self.config
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
        let slots = ((k as f64 * config.slots_factor).ceil() as usize).max(1);
        let threshold = sampled_threshold(values, ratio, config.sample_ratio, config.sampling, key.seed_of_rank(0))?;
        let candidates = scan::at_least("dragonn", values, threshold)?;
        self.candidates = candidates.len();
        let indices = hash_select(&candidates, slots, key.seed_of_rank(1) as u32)?;
        let values_sent = indices.iter().map(|&index| values[index as usize]).collect();
        Ok(Encoded::Sparse { len: values.len(), indices, values: values_sent })
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
