//! The tree that merging builds and compression thins out.

use super::rule::Extent;

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// A rooted tree over items `0..num_items`; internal nodes follow in order of creation, so children have smaller numbers than
/// parents and the root is the last node.
#[derive(Debug, Default)]
pub(super) struct MergeTree {
    pub(super) num_items: usize,
    pub(super) extents: Vec<Extent>,
    /// Edge weight between the children of an internal node.
    pub(super) internal: Vec<f64>,
    pub(super) parent: Vec<u32>,
    pub(super) is_removed: Vec<bool>,
}

impl MergeTree {
    /// Forgets everything and holds `items` without parents.
    pub(super) fn reset(&mut self, items: &[Extent]) {
        self.num_items = items.len();
        self.extents.clear();
        self.extents.extend_from_slice(items);
        self.internal.clear();
        self.internal.resize(items.len(), 0.0);
        self.parent.clear();
        self.parent.resize(items.len(), NONE);
    }

    pub(super) fn push(&mut self, extent: Extent, internal: f64) -> u32 {
        let node = self.extents.len() as u32;
        self.extents.push(extent);
        self.internal.push(internal);
        self.parent.push(NONE);
        node
    }

    pub(super) fn root(&self) -> u32 {
        (self.extents.len() - 1) as u32
    }

    /// The parent among the nodes that are left.
    pub(super) fn parent(&mut self, node: u32) -> u32 {
        let mut above = self.parent[node as usize];
        while above != NONE && self.is_removed[above as usize] {
            above = self.parent[above as usize];
        }
        // path compression for the next call
        let mut walker = node;
        while walker != NONE && self.parent[walker as usize] != above {
            let next = self.parent[walker as usize];
            self.parent[walker as usize] = above;
            walker = next;
        }
        above
    }

    /// Internal nodes that are left, oldest first; the root is the last.
    pub(super) fn internal_nodes(&self) -> impl Iterator<Item = u32> + '_ {
        (self.num_items..self.extents.len()).filter(|&node| !self.is_removed[node]).map(|node| node as u32)
    }

    pub(super) fn extent(&self, node: u32) -> Extent {
        self.extents[node as usize]
    }

    pub(super) fn num_nodes(&self) -> usize {
        self.extents.len()
    }

    /// Ends merging: what has no parent yet gets a root of volume `reference_volume`.
    pub(super) fn join_components(&mut self, reference_volume: f64) {
        let num_tops = self.parent.iter().filter(|&&parent| parent == NONE).count();
        // a single item also gets a root above it, so that every item has a parent
        if num_tops > 1 || self.num_items == self.num_nodes() {
            let root = self.push(Extent { volume: reference_volume, cut: 0.0 }, 0.0);
            for node in 0..root as usize {
                if self.parent[node] == NONE {
                    self.parent[node] = root;
                }
            }
        }
        self.is_removed.clear();
        self.is_removed.resize(self.extents.len(), false);
    }
}
