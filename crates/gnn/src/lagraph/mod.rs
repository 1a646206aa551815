//! LaGraph: representations by predicting latent graphs.
//!
//! Yaochen Xie, Zhao Xu, Shuiwang Ji. *Self-Supervised Representation Learning via Latent Graph Prediction.* ICML 2022 (PMLR 162). The paper's text was not at hand: what follows was read from the
//! official program and derived anew.
//!
//! # The problem
//!
//! The features `X` of a graph are seen as a noisy copy of latent features `Y`, `E[X | Y] = Y`. To predict `Y` one would have to know it; a bound of that error can be computed. Let `f(X)` be the
//! reconstruction, `f(X₋J)` the one after the features of the nodes `J` were replaced by noise, and `σ_v² = E‖X_v − Y_v‖²`. Then (derived)
//!
//! ```text
//! E‖f(X) − Y‖² + E‖X − Y‖²  ≤  E‖f(X) − X‖² + 2 Σ_v σ_v √(E‖f(X)_v − f(X₋J)_v‖²)
//! ```
//!
//! so a reconstruction error plus the root of how much a node's representation depends on its own features is minimised. Both terms need one encoder, one small decoder and two passes; no pairs of
//! nodes or graphs are compared, and memory is linear in the nodes.
//!
//! # Notation and map
//!
//! | symbol | what | item |
//! |---|---|---|
//! | `G = (A, X)`; `A`: n × n, `X`: n × f | the graph and its features | [`Batch`](crate::Batch), [`Features`](crate::Features) |
//! | `X'` | the view with noise in the rows `J` | [`Masking`], [`MaskedView`] |
//! | `E`, `H = E(A, X)`: n × d | the encoder, its last layer | [`Encoder`](crate::self_supervised::Encoder) |
//! | `D(H)`: n × f | the decoder | [`LaGraph::decode`] |
//! | `z` | a graph's readouts of all layers | [`Encoder::read_out`](crate::self_supervised::Encoder::read_out) |
//! | node loss, graph loss | `mean (D(H) − X)² + α √(…)` | [`LaGraph::loss`] |
//! | self-loops and degrees of the official preparation | | [`dig_self_loops`], [`degree_features`] |
//!
//! Training and other objectives are in [`self_supervised`](crate::self_supervised), the evaluation in [`probe`](crate::probe).

mod config;
mod decoder;
mod masking;
mod model;
mod preparation;
mod reconstruction;

pub use config::{DecoderKind, LaGraphConfig, OfficialTraining, OutputActivation, Reconstruction, SelfLoops};
pub use masking::{MaskMode, MaskedView, Masking};
pub use model::{LaGraph, LaGraphLoss, lagraph};
pub use preparation::{adjacency_of, degree_features, dig_self_loops};
pub use reconstruction::Target;

pub(crate) use decoder::has_negative;
pub(crate) use model::embed;
