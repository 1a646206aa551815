#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod adjacency;
mod batch;
pub mod classifier;
pub mod conv;
mod error;
mod features;
mod graph;
pub mod pool;
pub mod sep;

pub use adjacency::Adjacency;
pub use batch::{Batch, Coarsening, Hierarchy};
pub use core_tensor::Mode;
pub use error::{Error, Result};
pub use features::Features;
pub use graph::Graph;
