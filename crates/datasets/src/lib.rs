#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod archive;
pub mod array;
pub mod error;
pub mod human_labels;
pub mod idx;
pub mod images;
pub mod morse;
pub mod npy;
pub mod npz;
pub mod planetoid;
pub mod registry;
pub mod routing_curves;
pub mod sound;
pub mod sparse_graph;
pub mod store;
pub mod synthetic;
pub mod table;
mod text;
pub mod tu;

pub use error::{Error, Result};
pub use store::download::{Progress, ProgressCallback};
pub use store::{Store, StoreConfig};
