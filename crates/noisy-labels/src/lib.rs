#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod annotators;
mod error;
pub mod issues;
mod mixing;
pub mod neighbours;
pub mod noise;
pub mod npc;
pub mod objectives;
mod probabilities;
pub mod training;
pub mod tram;

pub use error::{Error, Result};
pub use probabilities::Probabilities;
