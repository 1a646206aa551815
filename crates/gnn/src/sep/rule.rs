//! The arithmetic that ranks merges and removals.
//!
//! Ties decide the tree: symmetric graphs give many exactly equal values, and the order among equals is part of the method. The operations
//! below are therefore evaluated in one fixed order and with one fixed form of the logarithm, so that equal operands give equal bits.

use super::config::{MergeCriterion, TreeConfig, VolumeOffset};
use std::cmp::Ordering;

/// Formulas for one choice of settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) offset: f64,
    criterion: MergeCriterion,
    scale: Option<f64>,
}

/// Volume and cut of a node of the tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub(super) volume: f64,
    pub(super) cut: f64,
}

/// A number to sort by, in the order of [`f64::total_cmp`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank(pub(super) f64);

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rank {}

impl Rule {
    pub(super) fn new(config: &TreeConfig) -> Self {
        Self {
            offset: match config.volume_offset {
                VolumeOffset::Zero => 0.0,
                VolumeOffset::One => 1.0,
            },
            criterion: config.criterion,
            scale: config.quantise_bits.map(|bits| f64::from(bits).exp2()),
        }
    }

    /// log2 as the official code computes it for ranking: a quotient of natural logarithms in the plain variant, a true log2 in the other.
    fn log2(&self, x: f64) -> f64 {
        if self.offset == 0.0 { x.ln() / std::f64::consts::LN_2 } else { x.log2() }
    }

    /// Rank of merging `older` and `newer`, which share `shared` edge weight; the smallest goes first.
    pub(super) fn merge_delta(&self, older: Extent, newer: Extent, shared: f64, reference_volume: f64) -> f64 {
        let (va, ga) = (older.volume + self.offset, older.cut + self.offset);
        let (vb, gb) = (newer.volume + self.offset, newer.cut + self.offset);
        let vab = va + vb;
        // a single vertex has no edges inside: the product is exactly 0 whatever the logarithm
        let inside = |v: f64, g: f64| if v == g { 0.0 } else { (v - g) * self.log2(vab / v) };
        let delta = match self.criterion {
            MergeCriterion::Dissolve => {
                (inside(va, ga) + inside(vb, gb) - 2.0 * shared * self.log2(reference_volume / vab)) / reference_volume
            }
            MergeCriterion::InsertParent => -2.0 * shared * self.log2(reference_volume / vab) / reference_volume,
        };
        self.quantise(delta)
    }

    /// Rank of removing a node of volume `volume` below a parent of volume `parent_volume`; `internal` is the edge weight between its children.
    pub(super) fn removal_cost(&self, internal: f64, volume: f64, parent_volume: f64) -> f64 {
        let ratio = (parent_volume + self.offset) / (volume + self.offset);
        let logarithm = if self.offset == 0.0 { ratio.ln() } else { ratio.log2() };
        self.quantise(internal * logarithm)
    }

    /// One term of the structural entropy, in bits: `-g / VOL * log2((vol + p) / (vol_parent + p))`; 0 where nothing is cut.
    pub(super) fn entropy_term(&self, node: Extent, parent_volume: f64, total_volume: f64) -> f64 {
        if node.cut == 0.0 || total_volume == 0.0 {
            return 0.0;
        }
        -node.cut / total_volume * ((node.volume + self.offset) / (parent_volume + self.offset)).log2()
    }

    fn quantise(&self, value: f64) -> f64 {
        let value = match self.scale {
            Some(scale) => (value * scale).round_ties_even() / scale,
            None => value,
        };
        // -0.0 and 0.0 are equal ranks, but differ under `total_cmp`
        value + 0.0
    }
}
