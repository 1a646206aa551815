//! Compressors: from a gradient to what is sent of it.
//!
//! | compressor | sends | from |
//! |---|---|---|
//! | [`Dragonn`] | most elements above a sampled threshold | the paper |
//! | [`TopK`] | exactly the `⌈n r⌉` largest | |
//! | [`RandomK`] | `⌊n r⌋` at random positions, the same on all ranks | GRACE |
//! | [`Threshold`] | all of a given magnitude | |
//! | [`Dgc`] | the first `⌊n r⌋` above a sampled and then corrected threshold | Lin et al. 2018 |
//! | [`SidCo`] | those above the quantile of a fitted distribution, in stages | Abdelmoniem et al. 2021 |
//! | [`GaussianK`], [`RedSync`] | those above a threshold from mean and deviation, or mean and maximum | Shi et al. 2019; Fang et al. 2019 |
//! | [`Qsgd`] | all, in a few levels, unbiased | Alistarh et al. 2017 |
//! | [`SignScale`] | all signs and the mean magnitude | Karimireddy et al. 2019 |
//! | [`HalfPrecision`], [`NoCompression`] | all | |
//!
//! PowerSGD needs two sums over ranks inside one step and is a [hook](crate::hook::PowerSgd) for that reason.
//!
//! A compressor sees one tensor; error feedback ([`memory`](crate::memory)) and communication are parts of their own. Every one of them answers a gradient that is not finite with an error.

mod dgc;
mod quantize;
mod random_k;
mod sidco;
mod special;
mod threshold;
mod top_k;

pub use dgc::{Dgc, DgcConfig, Truncate};
pub use quantize::{HalfPrecision, NoCompression, Qsgd, SignScale};
pub use random_k::{RandomK, shared_positions};
pub use sidco::{Distribution, SidCo, SidCoConfig, StageThresholds, stage_thresholds};
pub use threshold::{GaussianK, RedSync, Threshold};
pub use top_k::{Selection, TopK, top_k};

use crate::dragonn::{Dragonn, DragonnConfig};
use crate::{Encoded, Error, Result, scan};
use serde::{Deserialize, Serialize};

/// Which compression this is: what is random in it follows from this alone, so that a resumed run has the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Key {
    /// The seed of the run.
    pub seed: u64,
    /// The optimiser's step.
    pub step: u64,
    /// Which tensor; see [`Key::tensor_id`].
    pub tensor: u64,
    /// The sending rank.
    pub rank: u64,
}

impl Key {
    /// A number for a tensor's name, the same on every rank (FNV-1a).
    pub fn tensor_id(name: &str) -> u64 {
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// A seed that all ranks share; `purpose` separates several of one compressor.
    pub fn shared_seed(&self, purpose: u64) -> u64 {
        [self.step, self.tensor, purpose].into_iter().fold(mix(self.seed), |state, part| mix(state ^ mix(part)))
    }

    /// A seed of this rank alone.
    pub fn seed_of_rank(&self, purpose: u64) -> u64 {
        mix(self.shared_seed(purpose) ^ mix(!self.rank))
    }
}

/// A step of SplitMix64.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Makes the short form of one tensor's gradients.
pub trait Compressor: Send {
    /// A short name for reports.
    fn name(&self) -> &'static str;

    /// The short form of `values`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] for a gradient with a NaN or an infinity; [`Error::Options`] for one of more than 2³² - 1 elements.
    fn compress(&mut self, values: &[f32], key: &Key) -> Result<Encoded>;

    /// How many elements the last call found worth sending, where that is more than it sent.
    fn candidates(&self) -> Option<usize> {
        None
    }

    /// Sends this fraction from now on; nothing happens where there is no such fraction.
    ///
    /// # Errors
    ///
    /// When it is not above 0 and at most 1.
    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        check_ratio("ratio", ratio)
    }

    /// What adapts from call to call and belongs into a checkpoint.
    fn state(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Takes up a state of [`Compressor::state`].
    ///
    /// # Errors
    ///
    /// When it is the state of another compressor.
    fn load_state(&mut self, state: &[f64]) -> Result<()> {
        if state.is_empty() { Ok(()) } else { Err(Error::State(format!("{} has no state", self.name()))) }
    }
}

/// A compressor by its options; serialisable, for configurations and reports.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// [`NoCompression`].
    None,
    /// [`Dragonn`].
    Dragonn(DragonnConfig),
    /// [`TopK`] at this ratio.
    TopK(f64),
    /// [`RandomK`] at this ratio.
    RandomK(f64),
    /// [`Threshold`].
    Threshold(f32),
    /// [`Dgc`].
    Dgc(DgcConfig),
    /// [`SidCo`].
    SidCo(SidCoConfig),
    /// [`GaussianK`] at this ratio.
    GaussianK(f64),
    /// [`RedSync`] at this ratio.
    RedSync(f64),
    /// [`Qsgd`] with this many levels.
    Qsgd(u8),
    /// [`SignScale`].
    SignScale,
    /// [`HalfPrecision`].
    HalfPrecision,
}

impl Compression {
    /// The compressor; one for each tensor, since some adapt to theirs.
    ///
    /// # Errors
    ///
    /// When an option is outside its range.
    pub fn build(&self) -> Result<Box<dyn Compressor>> {
        Ok(match *self {
            Self::None => Box::new(NoCompression),
            Self::Dragonn(config) => Box::new(Dragonn::new(config)?),
            Self::TopK(ratio) => Box::new(TopK::new(ratio)?),
            Self::RandomK(ratio) => Box::new(RandomK::new(ratio)?),
            Self::Threshold(threshold) => Box::new(Threshold::new(threshold)?),
            Self::Dgc(config) => Box::new(Dgc::new(config)?),
            Self::SidCo(config) => Box::new(SidCo::new(config)?),
            Self::GaussianK(ratio) => Box::new(GaussianK::new(ratio)?),
            Self::RedSync(ratio) => Box::new(RedSync::new(ratio)?),
            Self::Qsgd(levels) => Box::new(Qsgd::new(levels)?),
            Self::SignScale => Box::new(SignScale),
            Self::HalfPrecision => Box::new(HalfPrecision),
        })
    }
}

pub(crate) fn check_ratio(what: &'static str, ratio: f64) -> Result<()> {
    if ratio > 0. && ratio <= 1. {
        Ok(())
    } else {
        Err(Error::options(what, format!("{ratio} is not above 0 and at most 1")))
    }
}

/// `max(1, ⌊n r⌋)`, at most `n`.
pub(crate) fn target(len: usize, ratio: f64) -> usize {
    ((len as f64 * ratio) as usize).max(1).min(len)
}

/// The elements at these positions.
pub(crate) fn sparse(values: &[f32], indices: Vec<u32>) -> Encoded {
    let sent = indices.iter().map(|&index| values[index as usize]).collect();
    Encoded::Sparse { len: values.len(), indices, values: sent }
}

/// All elements that reach a threshold.
pub(crate) fn sparse_at_least(operation: &'static str, values: &[f32], threshold: f32) -> Result<Encoded> {
    Ok(sparse(values, scan::at_least(operation, values, threshold)?))
}
