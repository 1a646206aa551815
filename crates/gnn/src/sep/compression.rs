//! Stage 2 of the greedy subroutine: a binary tree becomes one of bounded height.

use super::merge_tree::{MergeTree, NONE};
use super::range_max::RangeMax;
use super::rule::{Rank, Rule};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Buffers that survive from one tree to the next.
#[derive(Debug, Default)]
pub(super) struct Compression {
    removals: BinaryHeap<Reverse<Removal>>,
    span: Vec<(u32, u32)>,
    first_child: Vec<u32>,
    last_child: Vec<u32>,
    next_sibling: Vec<u32>,
    version: Vec<u32>,
    is_final: Vec<bool>,
    depths: Vec<u32>,
    leaf_depths: RangeMax,
}

/// A possible removal, the smallest goes first; stale when the node has moved on to another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Removal {
    cost: Rank,
    node: u32,
    version: u32,
}

impl Compression {
    /// Removes the cheapest internal nodes that lie on a path longer than `height` until there is no such path.
    pub(super) fn run(&mut self, tree: &mut MergeTree, rule: &Rule, height: u32) {
        if self.measure_depths(tree) <= height {
            return;
        }
        self.lay_out_leaves(tree);
        let Self { removals, span, first_child, last_child, next_sibling, version, is_final, .. } = self;
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
            all.push(Reverse(Removal { cost: Rank(cost), node, version: 0 }));
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
                    removals.push(Reverse(Removal { cost: Rank(cost), node: child, version: version[child as usize] }));
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
                removals.push(Reverse(Removal { cost: Rank(cost), node: above, version: version[above as usize] }));
            }
        }
    }

    /// Depth of every node; returns the height of the tree.
    fn measure_depths(&mut self, tree: &MergeTree) -> u32 {
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
    fn lay_out_leaves(&mut self, tree: &MergeTree) {
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
