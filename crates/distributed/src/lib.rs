#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod communicator;
pub mod compress;
pub mod dragonn;
pub mod encoded;
mod error;
pub mod hook;
mod launch;
pub mod memory;
mod scan;
pub mod selection;
#[cfg(feature = "trainer")]
pub mod trainer;
pub mod wire;

pub use communicator::Communicator;
pub use encoded::Encoded;
pub use error::{Error, Result};
pub use launch::{Launch, launch};
#[cfg(feature = "trainer")]
pub use trainer::{DataParallel, DataParallelConfig};
