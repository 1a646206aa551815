#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod adjacency;
pub mod augment;
mod batch;
pub mod classifier;
pub mod conv;
mod door;
pub mod encoder;
mod error;
mod features;
mod graph;
mod hierarchy;
pub mod imbalance;
pub mod lagraph;
mod level;
pub mod loader;
mod looped;
pub mod oepg;
pub mod pool;
pub mod probe;
pub mod sampling;
pub mod self_supervised;
pub mod sep;

pub use adjacency::Adjacency;
pub use batch::{Batch, Coarsening};
pub use core_tensor::Mode;
pub use error::{Error, Result};
pub use features::Features;
pub use graph::Graph;
pub use hierarchy::Hierarchy;
