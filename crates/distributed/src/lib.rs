#![doc = include_str!("../README.md")]

pub mod communicator;
pub mod compress;
pub mod dragonn;
pub mod encoded;
mod error;
pub mod memory;
mod scan;
pub mod wire;

pub use communicator::Communicator;
pub use encoded::Encoded;
pub use error::{Error, Result};
