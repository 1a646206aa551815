//! The neighbours of clusters that merge: lists in one arena, each ranking the merges that its cluster proposes.

use std::cmp::Ordering;

/// One neighbour of a cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbor {
    /// Rank of the merge; infinite where the other cluster, being newer, proposes it.
    pub(super) delta: f64,
    /// Edge weight between the two.
    pub(super) shared: f64,
    /// Number of the neighbour when the list was made; it may have merged since.
    pub(super) node: u32,
}

impl Neighbor {
    fn rank(&self, other: &Self) -> Ordering {
        self.delta.total_cmp(&other.delta).then(self.node.cmp(&other.node))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct List {
    start: usize,
    end: usize,
    /// The first `candidates` entries are the merges still proposed, best first.
    candidates: usize,
    is_heap: bool,
}

/// Lists of neighbours, one per cluster, in one growing allocation that is compacted when most of it is dead.
///
/// Only a cluster's best proposal has to be known. The others are put into heap order when the best one fails, which most never do because
/// the cluster itself merges first.
#[derive(Debug, Default)]
pub(super) struct NeighborLists {
    arena: Vec<Neighbor>,
    lists: Vec<List>,
    live: usize,
}

/// Dead entries that are tolerated on top of as many again as there are live ones.
const SLACK: usize = 1 << 16;

impl NeighborLists {
    pub(super) fn clear(&mut self) {
        self.arena.clear();
        self.lists.clear();
        self.live = 0;
    }

    /// Starts the list of the next cluster; entries follow by [`NeighborLists::push`].
    pub(super) fn begin(&mut self) -> usize {
        let start = self.arena.len();
        self.lists.push(List { start, end: start, ..List::default() });
        start
    }

    pub(super) fn push(&mut self, neighbor: Neighbor) -> usize {
        self.arena.push(neighbor);
        self.arena.len() - 1
    }

    pub(super) fn entry_mut(&mut self, position: usize) -> &mut Neighbor {
        &mut self.arena[position]
    }

    pub(super) fn entries_from(&mut self, start: usize) -> &mut [Neighbor] {
        &mut self.arena[start..]
    }

    /// Ends the list begun last and brings its best proposal to the front.
    pub(super) fn end(&mut self) {
        let end = self.arena.len();
        let Some(list) = self.lists.last_mut() else { return };
        list.end = end;
        list.candidates = end - list.start;
        self.live += list.candidates;
        let entries = &mut self.arena[list.start..];
        if let Some(best) = (0..entries.len()).min_by(|&i, &j| entries[i].rank(&entries[j])) {
            entries.swap(0, best);
        }
    }

    pub(super) fn range(&self, cluster: u32) -> (usize, usize) {
        let list = self.lists[cluster as usize];
        (list.start, list.end)
    }

    pub(super) fn entry(&self, position: usize) -> Neighbor {
        self.arena[position]
    }

    /// The best proposal of `cluster`, if it has any.
    pub(super) fn best(&self, cluster: u32) -> Option<Neighbor> {
        let list = self.lists[cluster as usize];
        (list.candidates > 0).then(|| self.arena[list.start]).filter(|best| best.delta != f64::INFINITY)
    }

    /// Withdraws the best proposal of `cluster` and every further one whose neighbour `is_merged`; returns the new best.
    pub(super) fn advance(&mut self, cluster: u32, is_merged: impl Fn(u32) -> bool) -> Option<Neighbor> {
        loop {
            let list = &mut self.lists[cluster as usize];
            if list.candidates == 0 {
                return None;
            }
            let entries = &mut self.arena[list.start..list.start + list.candidates];
            let last = entries.len() - 1;
            entries.swap(0, last);
            let rest = &mut entries[..last];
            list.candidates = last;
            if list.is_heap {
                sift_down(rest, 0);
            } else {
                (0..rest.len() / 2).rev().for_each(|node| sift_down(rest, node));
                list.is_heap = true;
            }
            match self.best(cluster) {
                Some(best) if is_merged(best.node) => {}
                other => return other,
            }
        }
    }

    /// Forgets the list of a cluster that has merged.
    pub(super) fn drop_list(&mut self, cluster: u32) {
        let list = &mut self.lists[cluster as usize];
        self.live -= list.end - list.start;
        *list = List::default();
    }

    /// Moves the live lists together if most of the arena is dead. Lists are stored in the order in which they were begun.
    pub(super) fn compact(&mut self) {
        if self.arena.len() < 2 * self.live + SLACK {
            return;
        }
        let mut write = 0;
        for list in self.lists.iter_mut().filter(|list| list.end > list.start) {
            let length = list.end - list.start;
            self.arena.copy_within(list.start..list.end, write);
            *list = List { start: write, end: write + length, ..*list };
            write += length;
        }
        self.arena.truncate(write);
    }
}

/// Restores the order of a binary heap with the smallest rank first, below `node`.
fn sift_down(heap: &mut [Neighbor], mut node: usize) {
    loop {
        let (left, right) = (2 * node + 1, 2 * node + 2);
        if left >= heap.len() {
            return;
        }
        let child = if right < heap.len() && heap[right].rank(&heap[left]).is_lt() { right } else { left };
        if heap[node].rank(&heap[child]).is_le() {
            return;
        }
        heap.swap(node, child);
        node = child;
    }
}
