//! Settings of the refinement of a coding tree.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Local search after the greedy construction, for [`TreeConfig::with_refinement`](super::TreeConfig::with_refinement) and
/// [`CodingTree::refine`](super::CodingTree::refine). The height stays, the entropy never rises.
///
/// Round after round, every layer below the root's children is gone through. Its nodes leave their parents for those of their neighbours, or for new
/// ones at any height, where that lowers the structural entropy; parents are then split into parts that cohere, and parts and whole parents move in
/// the same way, which covers splits and merges (the plan of Traag et al., "From Louvain to Leiden", 2019). Rounds over what changed follow until they
/// lower the entropy by less than 10⁻⁹ bits, then another one over everything; it ends when that gains nothing, or after `max_rounds` of them. What
/// is left to gain then are rare splits, some 10⁻⁵ bits a round.
///
/// The search runs twice, from the tree at hand and from the one in which every vertex is alone up to the root; the better end is the result, the
/// first of equals.
///
/// A move costs the degree of what moves times the height of the tree: with `e(a)` the weight of the edges whose ends have `a` as lowest common
/// ancestor, `VOL · H_T(G) = Σ_a 2 e(a) log2 vol(a) - Σ_v d(v) log2 d(v)`, so that only volumes on the two paths to the root and the moved node's
/// own edges count. A round is linear in the number of edges but for re-visits of nodes whose neighbours moved.
///
/// Equal seeds give equal trees, on any number of threads: the seed decides the order of visits, and among equally good places the one met first in the list of neighbours is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Refinement {
    /// Decides the order in which nodes are visited; default 0.
    pub seed: u64,
    /// The largest number of rounds over all vertices, at least 1; default 5.
    pub max_rounds: usize,
}

impl Default for Refinement {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Refinement {
    /// The defaults with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, max_rounds: 5 }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.max_rounds > 0 {
            return Ok(());
        }
        Err(Error::InvalidConfig { what: "max_rounds of a refinement", got: "0".into(), expected: "at least 1" })
    }
}
