//! SEP against reference values: coding trees and entropies of the official code, and forward passes and gradients of its modules.
//!
//! The values are in `tests/golden/sep`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/sep`, where a missing file skips its test.

#[path = "sep_golden/files.rs"]
mod files;
#[path = "sep_golden/models.rs"]
mod models;
#[path = "sep_golden/pools.rs"]
mod pools;
#[path = "sep_golden/real_graphs.rs"]
mod real_graphs;
#[path = "shared/tensors.rs"]
mod tensors;
#[path = "sep_golden/trees.rs"]
mod trees;
