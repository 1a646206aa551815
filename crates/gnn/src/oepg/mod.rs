//! A reconstruction after OEPG: clusters of all nodes as virtual neighbours of each.
//!
//! Ling Yang, Shenda Hong. *Omni-Granular Ego-Semantic Propagation for Self-Supervised Graph Representation Learning.* ICML 2022 (PMLR 162), arXiv 2205.15746.
//!
//! **This is a labelled reconstruction.** There is no official code, and the paper's text was not at hand. Published (abstract, figure caption, public summaries) is the idea: clusters of the whole
//! data set on several levels; descriptors of each node or graph by its differences of first and second order to every cluster; one normalisation of all of them that gives attention weights;
//! descriptors as new neighbours in a local graph convolution; pretext tasks between local and global; momentum across iterations. Every formula and every number below is a choice that agrees with
//! these sentences and was tested, not the authors'; all choices are settings.
//!
//! # Notation and map
//!
//! | symbol | what | item |
//! |---|---|---|
//! | z: n × D | features that are clustered: normalised rows of the first layer's output | |
//! | μ, v, π of level l | centroids, diagonal variances, masses | [`HierarchicalClusters`], [`ClusterLevel`] |
//! | φ¹, φ² | descriptors of first and second order | [`EgoDescriptor`] |
//! | α, s | weights over all granules (level, order, cluster), the weighted sum | [`EgoAttention`], [`OmniNorm`] |
//! | λ | weight of the virtual neighbours | [`EgoConv`], [`EgoBase`] |
//! | L_loc, L_clu, L_ego | contrast of two views, clusters as classes, prediction of the other view's s | [`nt_xent_symmetric`](crate::self_supervised::nt_xent_symmetric), [`cluster_loss`], [`ego_loss`] |
//! | momentum | of centroids and of the encoder that gives z | [`HierarchicalClusters::mix`], [`follow`](crate::self_supervised::follow) |
//! | training and inductive embedding | | [`Oepg`] |
//!
//! At the scale of the reproduction explicit propagation is neutral and the clusters' cross-entropy helps a little under imbalanced labels; the gains that the abstract claims were not seen.

mod attention;
mod clusters;
mod config;
mod conv;
mod explicit;
mod granules;
mod losses;
mod model;

pub use attention::{EgoAttention, ego_attention};
pub use clusters::{ClusterConfig, ClusterLevel, HierarchicalClusters};
pub use config::{
    DescriptorKind, DescriptorOrders, EgoAttentionConfig, EgoConvConfig, EgoDescriptor, OepgConfig, OmniNorm,
};
pub use conv::{EgoBase, EgoConv, ego_conv};
pub use losses::{cluster_loss, ego_loss};
pub use model::{Oepg, OepgReport};
