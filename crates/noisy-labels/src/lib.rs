#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod annotators;
mod error;
mod probabilities;

pub use error::{Error, Result};
pub use probabilities::Probabilities;
