//! The choice of a pool as data.

use super::asap::asap_pool;
use super::dense_pools::{diff_pool, min_cut_pool};
use super::pooled::Pool;
use super::precomputed::PrecomputedPool;
use super::sag::{SagScore, sag_pool};
use super::top_k::top_k_pool;
use crate::Result;
use candle_nn::VarBuilder;

/// Which pool a model uses, with its setting.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum PoolKind {
    /// [`PrecomputedPool`]; needs batches made from a [`Hierarchy`](crate::Hierarchy).
    Precomputed,
    /// [`TopKPool`](super::TopKPool).
    TopK {
        /// Share of nodes kept.
        ratio: f64,
    },
    /// [`SagPool`](super::SagPool).
    Sag {
        /// Share of nodes kept.
        ratio: f64,
        /// What computes the scores.
        score: SagScore,
    },
    /// [`AsapPool`](super::AsapPool).
    Asap {
        /// Share of nodes kept.
        ratio: f64,
    },
    /// [`DiffPool`](super::DiffPool).
    DiffPool {
        /// Clusters per graph.
        num_clusters: usize,
    },
    /// [`MinCutPool`](super::MinCutPool).
    MinCut {
        /// Clusters per graph.
        num_clusters: usize,
    },
}

impl PoolKind {
    /// Builds the pool for features of width `features`.
    ///
    /// # Errors
    /// Settings out of range, or parameters that exist with other shapes.
    pub fn build(self, features: usize, vb: VarBuilder<'_>) -> Result<Box<dyn Pool>> {
        Ok(match self {
            Self::Precomputed => Box::new(PrecomputedPool),
            Self::TopK { ratio } => Box::new(top_k_pool(features, ratio, vb)?),
            Self::Sag { ratio, score } => Box::new(sag_pool(features, ratio, score, vb)?),
            Self::Asap { ratio } => Box::new(asap_pool(features, ratio, vb)?),
            Self::DiffPool { num_clusters } => Box::new(diff_pool(features, num_clusters, vb)?),
            Self::MinCut { num_clusters } => Box::new(min_cut_pool(features, num_clusters, vb)?),
        })
    }
}
