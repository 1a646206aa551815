#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod adjacency;
mod batch;
pub mod classifier;
pub mod conv;
mod door;
pub mod encoder;
mod error;
mod features;
mod graph;
mod hierarchy;
mod level;
pub mod loader;
mod looped;
pub mod pool;
pub mod sampling;
pub mod sep;

pub use adjacency::Adjacency;
pub use batch::{Batch, Coarsening};
pub use core_tensor::Mode;
pub use error::{Error, Result};
pub use features::Features;
pub use graph::Graph;
pub use hierarchy::Hierarchy;
