//! Files that are either whole or absent.

mod files;

pub(crate) use files::{read_tensors, write_tensors};
