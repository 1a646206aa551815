//! Layers in the style of candle-nn: plain structs, built by a function of their sizes and a `VarBuilder`.
//!
//! Parameters have the names and the default initialisation of PyTorch, so that its checkpoints load by name.

mod batch_norm;
mod dropout;
mod linear;

pub use batch_norm::{BatchNorm1d, BatchNormConfig, batch_norm1d};
pub use dropout::Dropout;
pub use linear::{Linear, linear, linear_no_bias, linear_with};
