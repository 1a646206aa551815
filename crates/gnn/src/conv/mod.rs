//! Graph convolutions in the style of candle-nn: a plain struct, and a function that builds it from a `VarBuilder`.
//!
//! Parameter names are those of PyTorch Geometric, so that its state dicts load.

mod cheb;
mod convolution;
mod gat;
mod gcn;
mod gin;
mod graph_conv;
mod kind;
mod sage;

pub use cheb::{ChebConv, cheb_conv};
pub use convolution::Convolution;
pub use gat::{GatConfig, GatConv, gat_conv};
pub use gcn::{GcnConv, gcn_conv, gcn_conv_with};
pub use gin::{GinConv, gin_conv, gin_conv_with};
pub use graph_conv::{GraphConv, graph_conv};
pub use kind::ConvolutionKind;
pub use sage::{SageConv, sage_conv};
