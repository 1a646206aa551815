//! A tree given by its layers, and the record of how they were inserted.

use super::rule::Extent;
use serde::{Deserialize, Serialize};

/// At which end of the tree a level was inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InsertionEnd {
    /// Between the vertices and their parents.
    Leaves,
    /// Between the root and its children.
    Root,
}

/// One inserted level of the official construction, with the entropy decreases that decided its place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Insertion {
    /// Decrease per vertex if the level goes in at the leaves.
    pub leaf_up_delta: f64,
    /// Decrease per child of the root if it goes in at the root; 0 where that was not possible.
    pub root_down_delta: f64,
    /// Where it was inserted.
    pub end: InsertionEnd,
}

/// A tree in which every leaf has the same depth: `parents[d][i]` is the parent, in layer `d + 1`, of node `i` of layer `d`. Nodes are
/// ordered by age; the last layer is the root alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers {
    pub(super) extents: Vec<Vec<Extent>>,
    pub(super) parents: Vec<Vec<u32>>,
}
