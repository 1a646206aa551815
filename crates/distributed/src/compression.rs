//! The registry of built-in compressors.

use crate::Result;
use crate::compress::{
    Dgc, DgcConfig, GaussianK, HalfPrecision, NoCompression, Qsgd, RandomK, RedSync, SidCo, SidCoConfig, SignScale,
    Threshold, TopK,
};
use crate::compressor::Compressor;
use crate::dragonn::{Dragonn, DragonnConfig};
use serde::{Deserialize, Serialize};

/// A built-in compressor by its settings; serialisable, for configurations and reports. A compressor of your own goes into [`Compressed`](crate::hook::Compressed) and
/// `DataParallel::with_hooks`.
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
    /// The compressor. Each tensor needs one of its own, since some adapt to theirs.
    ///
    /// # Errors
    ///
    /// When a setting is outside its range.
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

    /// The size of what is sent, for a cost model, as a fraction of the gradient's elements when each element sent is an entry of 8 bytes (index and value): the ratio of the sparse compressors,
    /// a guess of 0.01 for [`Threshold`], and for dense forms their bytes for one element over 8.
    pub fn expected_ratio(&self) -> f64 {
        match *self {
            Self::Dragonn(DragonnConfig { ratio, .. })
            | Self::Dgc(DgcConfig { ratio, .. })
            | Self::SidCo(SidCoConfig { ratio, .. })
            | Self::TopK(ratio)
            | Self::RandomK(ratio)
            | Self::GaussianK(ratio)
            | Self::RedSync(ratio) => ratio,
            Self::Threshold(_) => 0.01,
            Self::None => 0.5,
            Self::HalfPrecision => 0.25,
            Self::Qsgd(_) => 0.125,
            Self::SignScale => 1. / 64.,
        }
    }
}
