//! A decoder-only transformer with routed feed-forward layers, and its training on bytes.
//!
//! Pre-norm blocks `x += O(attention(LN x))`, `x += FFN(LN x)` with relative positions (as in Transformer-XL, without its global biases), feed-forward
//! layers without biases, a final normalisation, and an output matrix tied to the embedding. Every `1/R`-th feed-forward layer is routed. Parameters are
//! counted as in the paper ([`crate::architecture`]). The paper does not give the optimiser, the initial values or the activation; the configurations say
//! what we use.

mod block;
mod train;
mod transformer;

pub use train::{EvaluationPoint, TrainConfig, TrainReport, evaluate, train};
pub use transformer::{
    ModelOutput, RoutedTransformer, RouterConfig, TransformerConfig, routed_transformer, routed_transformer_with,
};
