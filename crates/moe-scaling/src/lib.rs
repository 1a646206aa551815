#![doc = include_str!("../README.md")]

pub mod architecture;
mod error;
pub mod law;

pub use error::{Error, Result};
