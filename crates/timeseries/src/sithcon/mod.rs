//! SITHCon: "A deep convolutional neural network that is invariant to time rescaling", Jacques, Tiganj, Sarkar, Howard, Sederberg, ICML 2022 (PMLR 162, 9729–9738).
//!
//! A pattern in time is to be recognised when it is played slower or faster than in training. The past is held by filters whose peak times `τ*` are spaced geometrically, so that another speed is
//! a shift along `log τ*`. A convolution along that axis shifts with it, and a maximum over the axis does not change.
//!
//! | symbol | here | |
//! |---|---|---|
//! | f̃ | [`LogTimeMemory`], [`StreamingMemory`] | the filtered past `[features, taus]` |
//! | τ*, c, k, g | [`LogTimeConfig`], [`LogTimeFilters`] | the bank and its impulse responses |
//! | convolution, weight norm, max-pool | [`sithcon_layer`], [`SithConLayer`] | `[features, taus]` to `[channels]` |
//! | the network | [`sithcon()`], [`SithCon`], [`StreamingSithCon`] | layers, each with a linear map |
//! | scale range by larger τ* | [`SithCon::extend_to`] | without training |
//! | Morse decoder, Morse adding | [`morse`] | the signals |
//! | baselines | [`tcn`](crate::tcn::tcn), [`lstm_reader`](crate::recurrent::lstm_reader) | |
//!
//! What evaluation saves without changing any result: only the last step of the last layer is computed; the first layer's memory can be computed once for all epochs ([`SithCon::first_memory`]); only windows
//! with a maximum contribute to the backward pass; sequences of unequal length are packed rather than padded ([`Sequences`]).

mod filters;
mod layer;
mod max_convolution;
mod memory;
mod model;
pub mod morse;
mod operations;
mod sequences;
mod streaming;

pub use filters::{FilterForm, LogTimeConfig, LogTimeFilters};
pub use layer::{Pooled, SithConLayer, SithConLayerConfig, sithcon_layer};
pub use memory::LogTimeMemory;
pub use model::{SithCon, SithConConfig, sithcon};
pub use sequences::Sequences;
pub use streaming::{StreamingMemory, StreamingSithCon};
