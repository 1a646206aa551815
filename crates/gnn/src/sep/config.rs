//! Settings of the construction of a coding tree.

use super::refinement::Refinement;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which construction builds the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TreeMode {
    /// The construction behind the paper's experiments: a tree of height 2, then one level at a time at whichever end gains more.
    Official,
    /// The paper's Algorithm 1: one binary tree over the whole graph, compressed to the height, gaps filled with one-child nodes.
    SingleShot,
}

/// The number added to volumes inside logarithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VolumeOffset {
    /// Nothing (SEP-G, SEP-U): structural entropy as it is defined.
    Zero,
    /// One (SEP-N): keeps logarithms finite for isolated nodes without splitting components.
    One,
}

/// How a graph with several components is treated. The two minimise different numbers.
///
/// A triangle, an edge and two isolated vertices, height 2, in bits:
///
/// | | `entropy()` of the whole |
/// |---|---|
/// | `Split`, [`MergeCriterion::Dissolve`] | 2.0 |
/// | `Join`, [`MergeCriterion::InsertParent`] | 1.4387, the least there is: the triangle and the edge are a cluster each |
/// | either, refined by a [`Refinement`] | 1.4387 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Components {
    /// A tree per component that minimises the entropy of the component by itself, with its own volume inside the logarithms; their roots become
    /// one root. A component alone gains nothing from a cluster that holds all of it, so in the joined tree a component is not one cluster even where
    /// that would lower the entropy of the whole, which [`CodingTree::entropy`](super::CodingTree::entropy) is. This is the official SEP-G.
    Split,
    /// One construction that minimises the entropy of the whole graph; vertices without a common edge are joined at the root alone. This is the
    /// choice for clustering: a component can be a cluster.
    Join,
}

/// What the greedy merging minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MergeCriterion {
    /// The change of two-level entropy if the two clusters dissolve into one flat module (the official code). For two cliques joined by an edge it gives
    /// the ends of that edge clusters of their own.
    Dissolve,
    /// The change of entropy if a common parent is inserted above the two clusters. Finds cliques joined by an edge.
    InsertParent,
}

/// Settings of [`CodingTree::build`](super::CodingTree::build).
///
/// ```
/// use gnn::sep::{TreeConfig, VolumeOffset};
/// let config = TreeConfig::new(3).with_volume_offset(VolumeOffset::One);
/// assert_eq!(config.height, 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TreeConfig {
    /// Height `k` of the tree, from 1 to 64. [`TreeMode::SingleShot`] may end lower, where the binary tree is.
    pub height: usize,
    /// The construction; default [`TreeMode::Official`].
    pub mode: TreeMode,
    /// Offset inside logarithms; default [`VolumeOffset::Zero`].
    pub volume_offset: VolumeOffset,
    /// Treatment of components; default [`Components::Split`].
    pub components: Components,
    /// Merge criterion; default [`MergeCriterion::Dissolve`].
    pub criterion: MergeCriterion,
    /// Round ranks to multiples of `2^-bits`, so that ties do not depend on the last bit of a platform's logarithm; default `None`.
    pub quantise_bits: Option<u32>,
    /// Local search after the construction; default `None`, as in SEP. To cluster a graph of more than some hundred vertices, set it.
    #[serde(default)]
    pub refinement: Option<Refinement>,
}

impl TreeConfig {
    /// The defaults (those of SEP-G) for height `height`.
    pub fn new(height: usize) -> Self {
        Self {
            height,
            mode: TreeMode::Official,
            volume_offset: VolumeOffset::Zero,
            components: Components::Split,
            criterion: MergeCriterion::Dissolve,
            quantise_bits: None,
            refinement: None,
        }
    }

    /// The settings of SEP-N for `num_blocks` blocks: height `num_blocks + 1`, offset one, components joined.
    pub fn for_node_classification(num_blocks: usize) -> Self {
        Self { volume_offset: VolumeOffset::One, components: Components::Join, ..Self::new(num_blocks + 1) }
    }

    /// Sets the construction.
    #[must_use]
    pub fn with_mode(self, mode: TreeMode) -> Self {
        Self { mode, ..self }
    }

    /// Sets the offset inside logarithms.
    #[must_use]
    pub fn with_volume_offset(self, volume_offset: VolumeOffset) -> Self {
        Self { volume_offset, ..self }
    }

    /// Sets the treatment of components.
    #[must_use]
    pub fn with_components(self, components: Components) -> Self {
        Self { components, ..self }
    }

    /// Sets the merge criterion.
    #[must_use]
    pub fn with_criterion(self, criterion: MergeCriterion) -> Self {
        Self { criterion, ..self }
    }

    /// Rounds ranks to multiples of `2^-bits`.
    #[must_use]
    pub fn with_quantise_bits(self, bits: u32) -> Self {
        Self { quantise_bits: Some(bits), ..self }
    }

    /// Refines the constructed tree.
    #[must_use]
    pub fn with_refinement(self, refinement: Refinement) -> Self {
        Self { refinement: Some(refinement), ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(1..=64).contains(&self.height) {
            let (got, expected) = (self.height.to_string(), "1 to 64");
            return Err(Error::InvalidConfig { what: "height of a coding tree", got, expected });
        }
        if let Some(bits) = self.quantise_bits.filter(|&bits| bits > 52) {
            let (got, expected) = (bits.to_string(), "at most 52, the bits of an f64");
            return Err(Error::InvalidConfig { what: "quantise_bits", got, expected });
        }
        self.refinement.map_or(Ok(()), |refinement| refinement.check())
    }
}
