#![doc = include_str!("../README.md")]

pub mod bagging;
mod error;

pub use error::{Error, Result};
