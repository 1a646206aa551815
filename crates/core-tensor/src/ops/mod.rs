//! Dense operations that Candle lacks, has with a wrong or missing gradient, or has slow.
//!
//! Each is one fused loop over threads on the CPU, for f32 and f64, and a composition of Candle operations elsewhere. What
//! has no second derivative says so in an error when one is asked for.

mod activation;
mod bias;
mod linear;
mod reduce;

pub use activation::{elu, leaky_relu, relu, sigmoid, tanh};
pub use bias::{bias_add, bias_relu};
pub use linear::linear;
pub use reduce::sum_dim0;
