#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod dstagnn;
mod error;
pub mod lyanet;
pub mod ode;
pub mod recurrent;
pub mod sithcon;
pub mod tcn;
mod weight_norm;

pub use error::{Error, Result};

pub(crate) use error::check_dtype;
