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
mod quote;
mod ratio;
pub mod sampler;
mod scan;
pub mod selection;
#[cfg(feature = "trainer")]
mod sync_batch_norm;
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
pub use sync_batch_norm::{SyncBatchNorm, sync_batch_norm};
#[cfg(feature = "trainer")]
pub use trainer::{DataParallel, DataParallelConfig};
