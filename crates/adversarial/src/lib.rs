#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "networks")]
pub mod attacks;
pub mod bagging;
mod error;
#[cfg(feature = "networks")]
pub mod linac;
pub mod reverse;

pub use error::{Error, Result};
