//! # SEP: structural entropy guided graph hierarchical pooling
//!
//! J. Wu, X. Chen, K. Xu, S. Li: "Structural Entropy Guided Graph Hierarchical Pooling", ICML 2022, PMLR 162, pp. 24017-24030
//! ([arXiv:2206.13510](https://arxiv.org/abs/2206.13510)).
//!
//! Most hierarchical pools fix a compression ratio per layer and choose each layer's clusters from that layer alone, which damages local
//! structure. SEP instead computes, before training and from the topology only, a *coding tree* of the graph that greedily minimises its
//! structural entropy. The tree's levels are all cluster assignments at once: hard, without parameters and without a ratio.
//!
//! **Notation.** `G` a graph with weighted degrees, `VOL` their sum; for a tree node `a` over the vertex set `P(a)`: `vol(a)` the sum of its
//! degrees, `g(a)` the weight of the edges that leave it, `a⁻` its parent. `k` is the height of the tree, `S_d` the 0/1 assignment between layers `d` and `d + 1`.
//!
//! | what | here |
//! |---|---|
//! | structural entropy `H_T(G) = -Σ g(a)/VOL log2(vol(a)/vol(a⁻))` | [`CodingTree::entropy`] |
//! | tree construction of the experiments; the paper's Algorithm 1 | [`CodingTree::build`] with [`TreeMode::Official`]; [`TreeMode::SingleShot`] |
//! | (not in the paper) local search after the construction; communities of a graph | [`Refinement`]; [`cluster`] |
//! | pooling `Sᵀ X`, unpooling `S X'` | [`PrecomputedPool`](crate::pool::PrecomputedPool) along [`CodingTree::hierarchy`] |
//! | SEP-G (graph classification) | [`GraphClassifierConfig::sep_g`](crate::classifier::GraphClassifierConfig::sep_g) |
//! | SEP-N (node classification) | [`SepN`] |
//! | SEP-U (reconstruction of ring and grid) | [`SepU`] |
//!
//! The paper's text was not available when this was written: formulas follow the official code, whose outputs the crate's golden tests compare with. The official SEP-G class builds a perceptron behind each pool that its forward pass never calls; it is left out here.

mod cache;
mod cluster;
mod components;
mod compression;
mod config;
mod fill;
mod greedy;
mod items;
mod layers;
mod levels;
mod members;
mod merge_tree;
mod merging;
mod neighbors;
mod places;
mod pool_mlp;
mod problem;
mod range_max;
mod refine;
mod refinement;
mod rule;
mod sep_n;
mod sep_u;
mod tree;

pub use cache::TreeCache;
pub use cluster::cluster;
pub use config::{Components, MergeCriterion, TreeConfig, TreeMode, VolumeOffset};
pub use layers::{Insertion, InsertionEnd};
pub use refinement::Refinement;
pub use sep_n::{SepN, SepNConfig, sep_n};
pub use sep_u::{Reconstruction, SepU, sep_u};
pub use tree::CodingTree;
