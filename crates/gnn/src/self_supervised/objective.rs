//! What is minimised without labels.

use super::encoder::{EncoderConfig, Level};
use crate::augment::Augmentation;
use crate::lagraph::LaGraphConfig;
use crate::{Error, Result};

/// An objective, with its settings. What it needs beside the encoder (decoders, projections, discriminators, targets) exists during training only.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Objective {
    /// Reconstruction and invariance under masking, for nodes and graphs: [`lagraph`](crate::lagraph).
    LaGraph(LaGraphConfig),
    /// Contrast between two views of each graph, [`nt_xent`](super::nt_xent) in one direction behind a perceptron of two layers.
    GraphCl {
        /// τ; 0.5.
        temperature: f64,
        /// How both views of a graph are drawn.
        augmentations: [Augmentation; 2],
    },
    /// Mutual information between nodes and their graphs, [`info_graph`](super::info_graph), behind two perceptrons of three layers with a linear shortcut.
    InfoGraph,
    /// Contrast between nodes of two views of the graph, [`grace`](super::grace) behind a perceptron of two layers with ELU.
    Grace {
        /// τ; 0.5.
        temperature: f64,
        /// Share of edges dropped in each view.
        edges: [f64; 2],
        /// Share of feature columns set to zero in each view.
        features: [f64; 2],
    },
    /// Whether a node belongs to the graph's summary: `σ(hᵀ W s)`, `s = σ(mean h)`, against nodes with shuffled features (Veličković et al., ICLR 2019).
    Dgi,
    /// A second encoder that follows the first predicts no negatives: `2 − 2 cos(q(h), h')` of two views, both ways (Thakoor et al., ICLR 2022).
    Bgrl {
        /// Share of edges dropped in each view.
        edges: [f64; 2],
        /// Share of feature columns set to zero in each view.
        features: [f64; 2],
        /// How much of the second encoder stays in a step, at first; it rises to 1 along a cosine. 0.99.
        momentum: f64,
    },
    /// Edges from scalar products of representations, `σ(h_u · h_v)`, against as many pairs without an edge (Kipf and Welling 2016).
    Gae,
    /// The same from normal draws around the representations, whose deviations are learned, with the Kullback-Leibler divergence to N(0, I) divided by the number of nodes.
    Vgae,
}

impl Objective {
    /// GraphCL with its common settings: nodes dropped and attributes masked, 20 % each, τ = 0.5.
    pub fn graph_cl() -> Self {
        Self::GraphCl {
            temperature: 0.5,
            augmentations: [Augmentation::DropNodes(0.2), Augmentation::MaskEntries(0.2)],
        }
    }

    /// GRACE with the settings of its authors for Cora: edges 0.2 and 0.4, features 0.3 and 0.4, τ = 0.4.
    pub fn grace() -> Self {
        Self::Grace { temperature: 0.4, edges: [0.2, 0.4], features: [0.3, 0.4] }
    }

    /// BGRL with shares of GRACE and momentum 0.99.
    pub fn bgrl() -> Self {
        Self::Bgrl { edges: [0.2, 0.4], features: [0.3, 0.4], momentum: 0.99 }
    }

    /// A short name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LaGraph(_) => "LaGraph",
            Self::GraphCl { .. } => "GraphCL",
            Self::InfoGraph => "InfoGraph",
            Self::Grace { .. } => "GRACE",
            Self::Dgi => "DGI",
            Self::Bgrl { .. } => "BGRL",
            Self::Gae => "GAE",
            Self::Vgae => "VGAE",
        }
    }

    pub(super) fn check(&self, encoder: &EncoderConfig) -> Result<()> {
        let needed = match self {
            Self::LaGraph(config) => {
                if config.encoder_config() != *encoder {
                    let (what, got) = ("encoder of the objective LaGraph", "another than that which is trained".into());
                    let expected = "the settings of the encoder (`LaGraphConfig::encoder_config`)";
                    return Err(Error::InvalidConfig { what, got, expected });
                }
                return config.check();
            }
            Self::GraphCl { .. } | Self::InfoGraph => Level::Graph,
            _ => Level::Node,
        };
        if encoder.level != needed {
            let (what, got) =
                ("level of the objective", format!("{:?}: {} has none there", encoder.level, self.name()));
            let expected = "Graph for GraphCL and InfoGraph, Node for GRACE, DGI, BGRL, GAE and VGAE";
            return Err(Error::InvalidConfig { what, got, expected });
        }
        let is_share = |value: f64| (0.0..=1.0).contains(&value);
        match *self {
            Self::Grace { edges, features, .. } | Self::Bgrl { edges, features, .. } => {
                if let Some(share) = edges.into_iter().chain(features).find(|&share| !is_share(share)) {
                    let (what, got) = ("share that an augmentation drops", share.to_string());
                    return Err(Error::InvalidConfig { what, got, expected: "in [0, 1]" });
                }
            }
            _ => {}
        }
        if let Self::Bgrl { momentum, .. } = *self
            && !is_share(momentum)
        {
            let (what, got) = ("momentum of BGRL", momentum.to_string());
            return Err(Error::InvalidConfig { what, got, expected: "in [0, 1]" });
        }
        Ok(())
    }
}
