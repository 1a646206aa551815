//! gnn
mod error;
mod graph;
pub mod sep;
pub use error::{Error, Result};
pub use graph::Graph;
