#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod architecture;
#[cfg(feature = "layers")]
pub mod dispatch;
mod error;
pub mod law;
#[cfg(feature = "layers")]
pub mod layer;
#[cfg(feature = "layers")]
pub mod model;
#[cfg(feature = "layers")]
#[cfg(feature = "layers")]
pub mod router;

#[cfg(feature = "layers")]
pub use core_tensor::Mode;
pub use error::{Error, Result};
