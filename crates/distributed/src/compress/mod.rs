//! The compressors that [`Compression`](crate::Compression) builds, apart from [`Dragonn`](crate::dragonn::Dragonn).
//!
//! | compressor | sends | from |
//! |---|---|---|
//! | [`Dragonn`](crate::dragonn::Dragonn) | most elements above a sampled threshold | the paper |
//! | [`TopK`] | exactly the `⌈n r⌉` largest | |
//! | [`RandomK`] | `⌊n r⌋` at random positions, the same on all ranks | GRACE |
//! | [`Threshold`] | all above a given magnitude | |
//! | [`Dgc`] | the first `⌊n r⌋` above a sampled and then corrected threshold | Lin et al. 2018 |
//! | [`SidCo`] | those above the quantile of a fitted distribution, in stages | Abdelmoniem et al. 2021 |
//! | [`GaussianK`], [`RedSync`] | those above a threshold from mean and deviation, or mean and maximum | Shi et al. 2019; Fang et al. 2019 |
//! | [`Qsgd`] | all, rounded to a few levels, unbiased | Alistarh et al. 2017 |
//! | [`SignScale`] | all signs and the mean magnitude | Karimireddy et al. 2019 |
//! | [`HalfPrecision`], [`NoCompression`] | all | |
//!
//! PowerSGD needs two sums over ranks within one step, so it is a [hook](crate::hook::PowerSgd).
//!
//! A compressor sees one tensor; error feedback ([`memory`](crate::memory)) and communication are separate. Each of them returns an error for a gradient that is not finite.

mod dgc;
mod quantize;
mod random_k;
mod sidco;
mod special;
mod threshold;
mod top_k;

pub use dgc::{Dgc, DgcConfig, Truncate};
pub use quantize::{HalfPrecision, NoCompression, Qsgd, SignScale};
pub use random_k::RandomK;
pub use sidco::{Distribution, SidCo, SidCoConfig};
#[doc(hidden)]
pub use sidco::{StageThresholds, stage_thresholds};
pub use threshold::{GaussianK, RedSync, Threshold};
pub use top_k::{TopK, TopKMethod, top_k};
