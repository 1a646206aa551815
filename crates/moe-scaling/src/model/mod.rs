//! A small decoder-only transformer whose feed-forward layers can be routed, trainable on bytes.
//!
//! Pre-norm blocks `x += O(attention(LN x))`, `x += FFN(LN x)` with relative positions (Transformer-XL's, without its extra biases), feed-forward
//! layers without biases, a final normalisation, and the embedding as output matrix. Every `1/R`-th feed-forward layer is routed. Width, depth and
//! number of experts as in the paper's bookkeeping ([`crate::architecture`]); what the paper does not say (optimiser, initial values, activation) is
//! our choice and stands at the options.

mod block;
mod train;
mod transformer;

pub use train::{EvalPoint, TrainConfig, TrainReport, evaluate, train};
pub use transformer::{ModelOutput, RoutedTransformer, RouterConfig, TransformerConfig};
