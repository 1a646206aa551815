#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod communicator;
pub mod compress;
mod compression;
mod compressor;
pub mod dragonn;
pub mod encoded;
mod error;
pub mod hook;
mod key;
mod launch;
pub mod memory;
mod ratio;
mod scan;
pub mod selection;
#[cfg(feature = "trainer")]
pub mod trainer;
pub mod wire;

pub use communicator::Communicator;
pub use compression::Compression;
pub use compressor::Compressor;
pub use encoded::Encoded;
pub use error::{Error, Result};
pub use key::Key;
pub use launch::{Launch, launch};
#[cfg(feature = "trainer")]
pub use trainer::{DataParallel, DataParallelConfig};
