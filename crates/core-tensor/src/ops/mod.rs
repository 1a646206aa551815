//! Dense operations that Candle lacks, has with a wrong or missing gradient, or has slow.
//!
//! Each is one fused loop over threads on the CPU, for f32 and f64, and a composition of Candle operations elsewhere. Asking
//! an operation for a second derivative that it does not have is an error.

mod activation;
mod arithmetic;
mod attention;
mod batch_norm;
mod bias;
mod conv;
mod gamma;
mod grouped;
mod indexing;
mod joining;
mod linear;
mod loss;
mod matmul;
mod norm;
mod pair_loss;
mod pointwise;
mod pool;
mod prelu;
mod recurrent;
mod reduce;
mod relative_attention;
mod replace_rows;
mod softmax;
mod weighted_rows;

pub use crate::cpu::grouped::ExpertActivation;
pub use activation::{
    cos, digamma, elu, exp, gelu, gelu_tanh, leaky_relu, lgamma, relu, sigmoid, silu, sin, softplus, tanh, trigamma,
};
pub use arithmetic::{abs, add, affine, div, ln, mean_keepdim, mul, sqr, sqrt, sub, sum_keepdim};
pub use attention::{AttentionConfig, attention, packed_attention};
pub use batch_norm::{
    BatchStatistics, Epilogue, batch_norm_eval, batch_norm_eval_with, batch_norm_train, batch_norm_train_with,
};
pub use bias::{bias_add, bias_relu};
pub(crate) use conv::conv2d_blocks;
pub use conv::{Conv1dConfig, Conv2dConfig, ConvTranspose2dConfig, conv_transpose1d, conv_transpose2d, conv1d, conv2d};
pub use grouped::{RowGroups, grouped_feed_forward};
pub use indexing::{embedding, scatter_add};
pub use joining::{cat, index_select, stack, to_contiguous, where_cond};
pub use linear::linear;
pub use loss::{cross_entropy, cross_entropy_each, mse, nll};
pub use matmul::matmul;
pub use norm::{group_norm, layer_norm, rms_norm};
pub use pair_loss::{CrossEntropyConfig, bce_with_logits, cross_entropy_with, huber, kl_div, l1, soft_cross_entropy};
pub use pointwise::{add_relu, bias_gelu, bias_silu, bias_tanh, swiglu};
pub use pool::{Pool2dConfig, adaptive_avg_pool2d, avg_pool2d, global_avg_pool, max_pool2d};
pub use prelu::prelu;
pub use recurrent::{gru, lstm};
pub use reduce::{mean_all, sum_all, sum_dim0};
pub use relative_attention::relative_attention;
pub use replace_rows::replace_rows;
pub use softmax::{log_softmax, log_softmax_dim, softmax, softmax_dim};
pub use weighted_rows::weighted_rows;
