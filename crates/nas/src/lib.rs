#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod alignment;
mod error;
pub mod interference;
pub mod nas_interference;
pub mod operator;
pub mod ranking;
mod sampler;
mod scoring;
pub mod search;
mod space;
mod supernet;
mod training;
mod truth;

pub use alignment::{AlignmentConfig, Anchor, AnchorPolicy, AnchorScore, Reduction, alignment};
pub use error::{Error, Result};
pub use interference::Probe;
pub use operator::Operator;
pub use ranking::{Accuracies, Direction, Losses, Scores};
pub use sampler::{Fair, Gradual, Uniform};
pub use scoring::{layer_passes, score_all};
pub use space::{Architecture, SearchSpace};
pub use supernet::{Blueprint, Ends, Latency, Output, SuperNet};
pub use training::{ReptileConfig, Step, StepOptions, projected_step, reptile_step, train_step};
pub use truth::{TruthFile, TruthTable};
