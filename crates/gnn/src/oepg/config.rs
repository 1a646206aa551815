//! The choices that the reconstruction leaves open to its user.

use super::clusters::ClusterConfig;
use crate::{Error, Result};

/// The form of a descriptor of an instance `z` by a cluster with centroid μ and variance v.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum DescriptorKind {
    /// `φ¹ = (z − μ)/√v`, `φ² = ((z − μ)²/v − 1)/√2`, as in Fisher vectors.
    Fisher,
    /// `φ¹ = z − μ`, `φ² = (z − μ)²`.
    Raw,
}

/// Which orders of descriptors take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum DescriptorOrders {
    /// The first and the second.
    Both,
    /// The first alone.
    First,
    /// The second alone.
    Second,
}

/// What an instance is compared with clusters by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct EgoDescriptor {
    /// The form.
    pub kind: DescriptorKind,
    /// The orders.
    pub orders: DescriptorOrders,
}

impl Default for EgoDescriptor {
    fn default() -> Self {
        Self { kind: DescriptorKind::Fisher, orders: DescriptorOrders::Both }
    }
}

/// How the scores of all descriptors of an instance become weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum OmniNorm {
    /// One softmax over all levels and orders.
    Joint,
    /// A softmax inside each level, divided by the number of levels.
    PerLevel,
    /// All alike.
    Uniform,
    /// A softmax over this many of the largest scores (one at least); the first of equal ones.
    TopM(usize),
}

/// Settings of [`EgoAttention`](super::EgoAttention).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EgoAttentionConfig {
    /// Width of the features that are compared with clusters, D.
    pub descriptors: usize,
    /// Width of what descriptors are mapped to, that of the layer's input.
    pub values: usize,
    /// Width of queries and keys, a.
    pub keys: usize,
    /// Levels of clusters.
    pub levels: usize,
    /// What an instance is compared with clusters by.
    pub descriptor: EgoDescriptor,
    /// How scores become weights.
    pub norm: OmniNorm,
}

/// Settings of an [`EgoConv`](super::EgoConv) beside its attention.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EgoConvConfig {
    /// The attention.
    pub attention: EgoAttentionConfig,
    /// λ, the weight of a node's virtual neighbours together; 0.3. With 0 the layer is the plain convolution.
    pub lambda: f64,
    /// Whether the sum of descriptors is brought to mean 0 and the deviation of the layer's input; yes. Without, terms of second order dominate.
    pub ego_norm: bool,
    /// Whether queries see normalised rows of the layer's input instead of the input; yes.
    pub query_norm: bool,
}

/// Settings of [`Oepg`](super::Oepg). All of them are choices of the reconstruction, none is published.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OepgConfig {
    /// Width of the node features.
    pub inputs: usize,
    /// Width of both layers; 128.
    pub hidden: usize,
    /// Width of queries and keys; 32.
    pub keys: usize,
    /// Levels of clusters and how they are found; 14 and 7.
    pub clusters: ClusterConfig,
    /// What an instance is compared with clusters by.
    pub descriptor: EgoDescriptor,
    /// How scores become weights.
    pub norm: OmniNorm,
    /// λ; 0.3.
    pub lambda: f64,
    /// Whether sums of descriptors are normalised; yes.
    pub ego_norm: bool,
    /// β, the weight of the clusters' cross-entropy; 0.05.
    pub beta: f64,
    /// γ, the weight of predicting the other view's sum of descriptors; 0.05.
    pub gamma: f64,
    /// τ of the contrast; 0.5.
    pub temperature: f64,
    /// τ of the clusters' cross-entropy; 0.1.
    pub cluster_temperature: f64,
    /// Shares of edges dropped in both views; 0.2, 0.4.
    pub edges: [f64; 2],
    /// Shares of feature columns set to zero in both views; 0.3, 0.4.
    pub features: [f64; 2],
    /// Slope of the leaky ReLU behind both layers; 0.25.
    pub slope: f64,
    /// Epochs; 60.
    pub epochs: usize,
    /// Epochs without clusters; 5.
    pub warmup: usize,
    /// Clusters are updated every so many epochs; 5.
    pub update_every: usize,
    /// Lloyd iterations of an update; 3.
    pub update_iterations: usize,
    /// How much of old centroids stays in an update; 0.9. `None`: nothing, clusters are the new ones.
    pub cluster_momentum: Option<f64>,
    /// How much of the encoder that gives the features for clustering stays in a step; 0.99.
    pub encoder_momentum: f64,
    /// Adam's learning rate; 1e-3.
    pub learning_rate: f64,
    /// The factor of the parameters that is added to their gradients; 1e-5.
    pub weight_decay: f64,
}

impl OepgConfig {
    /// The defaults of the reconstruction.
    pub fn new(inputs: usize) -> Self {
        Self {
            inputs,
            hidden: 128,
            keys: 32,
            clusters: ClusterConfig::default(),
            descriptor: EgoDescriptor::default(),
            norm: OmniNorm::Joint,
            lambda: 0.3,
            ego_norm: true,
            beta: 0.05,
            gamma: 0.05,
            temperature: 0.5,
            cluster_temperature: 0.1,
            edges: [0.2, 0.4],
            features: [0.3, 0.4],
            slope: 0.25,
            epochs: 60,
            warmup: 5,
            update_every: 5,
            update_iterations: 3,
            cluster_momentum: Some(0.9),
            encoder_momentum: 0.99,
            learning_rate: 1e-3,
            weight_decay: 1e-5,
        }
    }

    /// Settings of the second layer.
    pub fn conv_config(&self) -> EgoConvConfig {
        EgoConvConfig {
            attention: EgoAttentionConfig {
                descriptors: self.hidden,
                values: self.hidden,
                keys: self.keys,
                levels: self.clusters.sizes.len(),
                descriptor: self.descriptor,
                norm: self.norm,
            },
            lambda: self.lambda,
            ego_norm: self.ego_norm,
            query_norm: true,
        }
    }

    /// Whether clusters have any part in the training.
    pub fn uses_clusters(&self) -> bool {
        self.lambda > 0.0 || self.beta > 0.0 || self.gamma > 0.0
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what, got: String, expected| Err(Error::InvalidConfig { what, got, expected });
        for (what, got) in [("inputs", self.inputs), ("hidden", self.hidden), ("update_every", self.update_every)] {
            if got == 0 {
                return wrong(what, "0".into(), "at least 1");
            }
        }
        for (what, got) in [("lambda", self.lambda), ("beta", self.beta), ("gamma", self.gamma)] {
            if !(got.is_finite() && got >= 0.0) {
                return wrong(what, got.to_string(), "a finite number of 0 or more");
            }
        }
        for (what, got) in [("temperature", self.temperature), ("cluster_temperature", self.cluster_temperature)] {
            if !(got.is_finite() && got > 0.0) {
                return wrong(what, got.to_string(), "a finite number above 0");
            }
        }
        for share in self.edges.into_iter().chain(self.features) {
            if !(0.0..=1.0).contains(&share) {
                return wrong("share that a view drops", share.to_string(), "in [0, 1]");
            }
        }
        for momentum in [self.cluster_momentum.unwrap_or(0.0), self.encoder_momentum] {
            if !(0.0..=1.0).contains(&momentum) {
                return wrong("momentum", momentum.to_string(), "in [0, 1]");
            }
        }
        Ok(())
    }
}
