//! The greedy subroutine: items with pairwise cuts → binary tree (stage 1) → tree of bounded height (stage 2).

use super::compression::Compression;
use super::merge_tree::MergeTree;
use super::merging::Merging;
use super::problem::Problem;
use super::rule::Rule;

/// The tree of the problem solved last, and buffers that survive from one problem to the next.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    pub(super) tree: MergeTree,
    merging: Merging,
    compression: Compression,
}

impl Workspace {
    /// Solves `problem`: the tree that is left in `self.tree` has at most height `height` (unbounded if `None`).
    pub(super) fn solve(&mut self, problem: &Problem, rule: &Rule, height: Option<usize>) {
        self.merging.run(&mut self.tree, problem, rule);
        if let Some(height) = height {
            self.compression.run(&mut self.tree, rule, height as u32);
        }
    }
}
