//! SEP.
mod fill;
mod greedy;
mod levels;
mod neighbors;
mod options;
mod range_max;
mod rule;
mod tree;

pub use options::{Components, MergeCriterion, TreeMode, TreeOptions, VolumeOffset};
pub use tree::{CodingTree, Insertion, InsertionEnd};
