//! Imbalanced labels of nodes: how many each class has, where in the graph they lie, and weights against both.
//!
//! | item | what it is | from |
//! |---|---|---|
//! | [`StepImbalance`] | few head classes with many labels, tail classes with few: counts, and a sampler of splits | Chen et al., NeurIPS 2021 (ReNode), its public program |
//! | [`totoro`] | how much each labelled node is in conflict with other classes' labels, by personalised PageRank | the same |
//! | [`renode_weights`] | weights of labelled nodes, less for those in conflict | the same |
//!
//! Quantity imbalance is what the counts say; topology imbalance is what Totoro says: labels at the border of their class.

mod renode;
mod step;
mod totoro;

pub use renode::{ReNodeConfig, renode_weights};
pub use step::StepImbalance;
pub use totoro::{PageRankConfig, Totoro, totoro};
