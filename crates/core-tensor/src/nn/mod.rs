//! Layers in the style of candle-nn: plain structs, built by a function of their sizes and a `VarBuilder`.
//!
//! Parameters have the names, shapes and default initialisation of PyTorch, so that its state dicts load by name.

mod attention;
mod batch_norm;
mod conv;
mod dropout;
mod embedding;
mod linear;
mod norm;
mod prelu;
mod recurrent;

pub use attention::{MultiheadAttention, multihead_attention};
pub use batch_norm::{BatchNorm, BatchNorm1d, BatchNorm2d, BatchNormConfig, batch_norm1d, batch_norm2d};
pub use conv::{
    Conv1d, Conv2d, ConvTranspose2d, KernelSize, conv_transpose2d, conv1d, conv1d_no_bias, conv2d, conv2d_no_bias,
};
pub use dropout::Dropout;
pub use embedding::{Embedding, embedding};
pub use linear::{Linear, linear, linear_no_bias, linear_with};
pub use norm::{
    GroupNorm, LayerNorm, RmsNorm, group_norm, group_norm_no_affine, layer_norm, layer_norm_no_affine, rms_norm,
};
pub use prelu::{Prelu, prelu};
pub use recurrent::{Gru, Lstm, LstmState, RecurrentConfig, gru, lstm};
