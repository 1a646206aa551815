#![doc = include_str!("../README.md")]

mod backward;
pub mod checkpoint;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub mod device;
mod error;
pub mod gradcheck;
pub mod inference;
pub mod init;
pub mod kernel;
pub mod memory;
pub mod metrics;
mod mode;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod params;
pub mod random;
pub mod rounding;
pub mod schedule;
pub mod sparse;
pub mod tape;
pub mod threads;
pub mod train;

pub use backward::{backward, backward_observed};
pub use error::{Error, Result};
pub use mode::Mode;
