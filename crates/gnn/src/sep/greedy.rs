//! The greedy subroutine: items with pairwise cuts → binary tree (stage 1) → tree of bounded height (stage 2).

use super::neighbors::{Neighbor, NeighborLists};
use super::range_max::RangeMax;
use super::rule::{Extent, Rule};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

const NONE: u32 = u32::MAX;

/// Items and the edge weights between them (CSR, both directions, no self-loops). Items are numbered from the oldest to the newest.
#[derive(Debug, Default)]
pub(super) struct Problem {
    pub(super) items: Vec<Extent>,
    pub(super) offsets: Vec<usize>,
    pub(super) targets: Vec<u32>,
    pub(super) shared: Vec<f64>,
    /// The volume that deltas are relative to; also the volume of a root that has to join several components.
    pub(super) reference_volume: f64,
}

impl Problem {
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.offsets.clear();
        self.offsets.push(0);
        self.targets.clear();
        self.shared.clear();
        self.reference_volume = 0.0;
    }

    pub(super) fn end_row(&mut self) {
        self.offsets.push(self.targets.len());
    }
}

/// A rooted tree over items `0..num_items`; internal nodes follow in order of creation, so children have smaller numbers than
/// parents and the root is the last node.
#[derive(Debug, Default)]
pub(super) struct Tree {
    num_items: usize,
    extents: Vec<Extent>,
    /// Edge weight between the children of an internal node.
    internal: Vec<f64>,
    parent: Vec<u32>,
    is_removed: Vec<bool>,
}

/// Buffers that survive from one problem to the next.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    pub(super) tree: Tree,
    heap: BinaryHeap<Reverse<Candidate>>,
    removals: BinaryHeap<Reverse<Removal>>,
    cluster: Vec<u32>,
    neighbors: NeighborLists,
    slot: Vec<u32>,
    span: Vec<(u32, u32)>,
    first_child: Vec<u32>,
    last_child: Vec<u32>,
    next_sibling: Vec<u32>,
    version: Vec<u32>,
    is_final: Vec<bool>,
    depths: Vec<u32>,
    leaf_depths: RangeMax,
}

/// A possible merge, ordered by (delta, older, newer).
#[derive(Debug, Clone, Copy)]
struct Candidate {
    delta: f64,
    older: u32,
    newer: u32,
}

impl Candidate {
    fn new(best: Neighbor, newer: u32) -> Self {
        Self { delta: best.delta, older: best.node, newer }
    }
}

/// A possible removal, ordered by (cost, node); stale when the node has moved on to another version.
#[derive(Debug, Clone, Copy)]
struct Removal {
    cost: f64,
    node: u32,
    version: u32,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.delta.total_cmp(&other.delta).then(self.older.cmp(&other.older)).then(self.newer.cmp(&other.newer))
    }
}

impl Ord for Removal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cost.total_cmp(&other.cost).then(self.node.cmp(&other.node)).then(self.version.cmp(&other.version))
    }
}

macro_rules! order_from_cmp {
    ($($name:ty),*) => {$(
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }
        impl Eq for $name {}
    )*};
}
order_from_cmp!(Candidate, Removal);

impl Tree {
    fn reset(&mut self, items: &[Extent]) {
        self.num_items = items.len();
        self.extents.clear();
        self.extents.extend_from_slice(items);
        self.internal.clear();
        self.internal.resize(items.len(), 0.0);
        self.parent.clear();
        self.parent.resize(items.len(), NONE);
    }

    fn push(&mut self, extent: Extent, internal: f64) -> u32 {
        let node = self.extents.len() as u32;
        self.extents.push(extent);
        self.internal.push(internal);
        self.parent.push(NONE);
        node
    }

    fn root(&self) -> u32 {
        (self.extents.len() - 1) as u32
    }

    /// The parent among the nodes that are left.
    pub(super) fn parent(&mut self, node: u32) -> u32 {
        let mut above = self.parent[node as usize];
        while above != NONE && self.is_removed[above as usize] {
            above = self.parent[above as usize];
        }
        // shorten the way for the next call
        let mut walker = node;
        while walker != NONE && self.parent[walker as usize] != above {
            let next = self.parent[walker as usize];
            self.parent[walker as usize] = above;
            walker = next;
        }
        above
    }

    pub(super) fn num_items(&self) -> usize {
        self.num_items
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
}

impl Workspace {
    /// Solves `problem`: the tree that is left in `self.tree` has at most height `height` (unbounded if `None`).
    pub(super) fn solve(&mut self, problem: &Problem, rule: &Rule, height: Option<usize>) {
        self.merge(problem, rule);
        let num_nodes = self.tree.num_nodes();
        self.tree.is_removed.clear();
        self.tree.is_removed.resize(num_nodes, false);
        if let Some(height) = height {
            self.compress(rule, height as u32);
        }
    }

    /// Stage 1. A pair of clusters is proposed by the newer one. Lists may name clusters that have merged; `cluster` says where those went.
    fn merge(&mut self, problem: &Problem, rule: &Rule) {
        let Self { tree, heap, cluster, neighbors, slot, .. } = self;
        let num_items = problem.items.len();
        let reference = problem.reference_volume;
        tree.reset(&problem.items);
        cluster.clear();
        cluster.extend(0..num_items as u32);
        slot.clear();
        slot.resize(num_items, NONE);
        neighbors.clear();
        heap.clear();
        let mut first = std::mem::take(heap).into_vec();
        for newer in 0..num_items as u32 {
            neighbors.begin();
            let item = problem.items[newer as usize];
            for entry in problem.offsets[newer as usize]..problem.offsets[newer as usize + 1] {
                let (node, shared) = (problem.targets[entry], problem.shared[entry]);
                let delta = match node < newer {
                    true => rule.merge_delta(problem.items[node as usize], item, shared, reference),
                    false => f64::INFINITY,
                };
                neighbors.push(Neighbor { delta, shared, node });
            }
            neighbors.end();
            first.extend(neighbors.best(newer).map(|best| Reverse(Candidate::new(best, newer))));
        }
        *heap = BinaryHeap::from(first);

        while let Some(Reverse(Candidate { older, newer, .. })) = heap.pop() {
            if tree.parent[newer as usize] != NONE {
                continue;
            }
            if tree.parent[older as usize] != NONE {
                let next = neighbors.advance(newer, |node| tree.parent[node as usize] != NONE);
                heap.extend(next.map(|best| Reverse(Candidate::new(best, newer))));
                continue;
            }
            let Some(Neighbor { shared, .. }) = neighbors.best(newer) else { continue };
            let (a, b) = (tree.extents[older as usize], tree.extents[newer as usize]);
            let merged = Extent { volume: a.volume + b.volume, cut: a.cut + b.cut - 2.0 * shared };
            let x = tree.push(merged, shared);
            tree.parent[older as usize] = x;
            tree.parent[newer as usize] = x;
            cluster.push(x);
            slot.push(NONE);
            cluster[older as usize] = x;
            cluster[newer as usize] = x;

            neighbors.compact();
            let start = neighbors.begin();
            for old in [older, newer] {
                let (from, to) = neighbors.range(old);
                for position in from..to {
                    let Neighbor { node, shared, .. } = neighbors.entry(position);
                    let node = find(cluster, node);
                    if node == x {
                        continue;
                    }
                    match slot[node as usize] {
                        NONE => {
                            let place = neighbors.push(Neighbor { delta: 0.0, shared, node });
                            slot[node as usize] = (place - start) as u32;
                        }
                        place => neighbors.entry_mut(start + place as usize).shared += shared,
                    }
                }
                neighbors.drop_list(old);
            }
            for neighbor in neighbors.entries_from(start) {
                slot[neighbor.node as usize] = NONE;
                let other = tree.extents[neighbor.node as usize];
                neighbor.delta = rule.merge_delta(other, merged, neighbor.shared, reference);
            }
            neighbors.end();
            heap.extend(neighbors.best(x).map(|best| Reverse(Candidate::new(best, x))));
        }
        self.join_components(reference);
    }

    fn join_components(&mut self, reference_volume: f64) {
        let tree = &mut self.tree;
        let tops = tree.parent.iter().filter(|&&parent| parent == NONE).count();
        // a single item also gets a root above it, so that every item has a parent
        if tops > 1 || tree.num_items == tree.num_nodes() {
            let root = tree.push(Extent { volume: reference_volume, cut: 0.0 }, 0.0);
            for node in 0..root as usize {
                if tree.parent[node] == NONE {
                    tree.parent[node] = root;
                }
            }
        }
    }

    /// Stage 2: removes the cheapest internal nodes that lie on a path longer than `height` until none is.
    fn compress(&mut self, rule: &Rule, height: u32) {
        if self.measure_depths() <= height {
            return;
        }
        self.lay_out_leaves();
        let Self { tree, removals, span, first_child, last_child, next_sibling, version, is_final, .. } = self;
        let leaf_depths = &mut self.leaf_depths;
        let root = tree.root();
        let num_items = tree.num_items as u32;
        let num_nodes = tree.num_nodes();
        version.clear();
        version.resize(num_nodes, 0);
        is_final.clear();
        is_final.resize(num_nodes, false);
        removals.clear();
        let mut all = std::mem::take(removals).into_vec();
        for node in num_items..root {
            let above = tree.parent[node as usize];
            let cost = rule.removal_cost(
                tree.internal[node as usize],
                tree.extents[node as usize].volume,
                tree.extents[above as usize].volume,
            );
            all.push(Reverse(Removal { cost, node, version: 0 }));
        }
        *removals = BinaryHeap::from(all);

        while leaf_depths.max_all() > height {
            let Some(Reverse(Removal { node, version: stamp, .. })) = removals.pop() else { break };
            if version[node as usize] != stamp || is_final[node as usize] {
                continue;
            }
            let (start, end) = span[node as usize];
            if leaf_depths.max(start, end) <= height {
                is_final[node as usize] = true;
                continue;
            }
            let above = tree.parent(node);
            tree.is_removed[node as usize] = true;
            is_final[node as usize] = true;
            tree.internal[above as usize] += tree.internal[node as usize];
            leaf_depths.decrement(start, end);

            let above_volume = tree.extents[above as usize].volume;
            let mut child = first_child[node as usize];
            while child != NONE {
                if !is_final[child as usize] {
                    let volume = tree.extents[child as usize].volume;
                    let cost = rule.removal_cost(tree.internal[child as usize], volume, above_volume);
                    version[child as usize] += 1;
                    removals.push(Reverse(Removal { cost, node: child, version: version[child as usize] }));
                }
                child = next_sibling[child as usize];
            }
            splice(first_child, last_child, next_sibling, node, above);
            if above != root && !is_final[above as usize] {
                let grandparent = tree.parent(above);
                let cost = rule.removal_cost(
                    tree.internal[above as usize],
                    above_volume,
                    tree.extents[grandparent as usize].volume,
                );
                version[above as usize] += 1;
                removals.push(Reverse(Removal { cost, node: above, version: version[above as usize] }));
            }
        }
    }

    /// Depth of every node; returns the height of the tree.
    fn measure_depths(&mut self) -> u32 {
        let tree = &self.tree;
        self.depths.clear();
        self.depths.resize(tree.num_nodes(), 0);
        let mut height = 0;
        for node in (0..tree.num_nodes() - 1).rev() {
            let depth = self.depths[tree.parent[node] as usize] + 1;
            self.depths[node] = depth;
            height = height.max(depth);
        }
        height
    }

    /// Orders the items so that those below any internal node are neighbours, links internal children, and stores the items' depths.
    fn lay_out_leaves(&mut self) {
        let tree = &self.tree;
        let num_nodes = tree.num_nodes();
        for list in [&mut self.first_child, &mut self.last_child, &mut self.next_sibling] {
            list.clear();
            list.resize(num_nodes, NONE);
        }
        let sizes = &mut self.version;
        sizes.clear();
        sizes.resize(num_nodes, 0);
        for node in 0..num_nodes - 1 {
            if node < tree.num_items {
                sizes[node] = 1;
            }
            let above = tree.parent[node] as usize;
            sizes[above] += sizes[node];
            if node >= tree.num_items {
                append(&mut self.first_child, &mut self.last_child, &mut self.next_sibling, above, node as u32);
            }
        }
        // parents before children: hand out consecutive intervals
        self.span.clear();
        self.span.resize(num_nodes, (0, 0));
        let mut next = vec![0u32; num_nodes];
        self.span[num_nodes - 1] = (0, tree.num_items as u32);
        self.leaf_depths.reset(tree.num_items);
        for node in (0..num_nodes - 1).rev() {
            let above = tree.parent[node] as usize;
            let start = self.span[above].0 + next[above];
            next[above] += sizes[node];
            self.span[node] = (start, start + sizes[node]);
            if node < tree.num_items {
                self.leaf_depths.set(start as usize, self.depths[node]);
            }
        }
        self.leaf_depths.build();
    }
}

fn find(cluster: &mut [u32], name: u32) -> u32 {
    let mut node = name;
    while cluster[node as usize] != node {
        let above = cluster[node as usize];
        cluster[node as usize] = cluster[above as usize];
        node = cluster[node as usize];
    }
    node
}

fn append(first: &mut [u32], last: &mut [u32], next: &mut [u32], parent: usize, child: u32) {
    match last[parent] {
        NONE => first[parent] = child,
        tail => next[tail as usize] = child,
    }
    last[parent] = child;
}

/// Moves the whole list of children of `from` to the end of that of `to`.
fn splice(first: &mut [u32], last: &mut [u32], next: &mut [u32], from: u32, to: u32) {
    let (head, tail) = (first[from as usize], last[from as usize]);
    if head == NONE {
        return;
    }
    match last[to as usize] {
        NONE => first[to as usize] = head,
        end => next[end as usize] = head,
    }
    last[to as usize] = tail;
}
