//! Data sets as plain Rust values.

pub mod archive;
pub mod error;
pub mod planetoid;
pub mod registry;
pub mod store;
pub mod synthetic;
pub mod tu;

pub use error::{Error, Result};
pub use store::download::{Progress, ProgressCallback};
pub use store::{Store, StoreOptions};
