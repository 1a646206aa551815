//! Dense operations that Candle lacks, has with a wrong or missing gradient, or has slow.
//!
//! Each is one fused loop over threads on the CPU, for f32 and f64, and a composition of Candle operations elsewhere. What
//! has no second derivative says so in an error when one is asked for.

mod activation;
mod batch_norm;
mod bias;
mod conv;
mod linear;
mod loss;
mod reduce;
mod softmax;

pub use activation::{elu, leaky_relu, relu, sigmoid, tanh};
pub use batch_norm::{BatchStatistics, batch_norm_eval, batch_norm_train};
pub use conv::{
    Conv1dConfig, Conv2dConfig, ConvTranspose2dConfig, conv_transpose1d, conv_transpose2d, conv1d, conv2d,
};
pub use bias::{bias_add, bias_relu};
pub use linear::linear;
pub use loss::{cross_entropy, cross_entropy_each, mse, nll};
pub use reduce::sum_dim0;
pub use softmax::{log_softmax, softmax};
