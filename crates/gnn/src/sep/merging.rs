//! Stage 1 of the greedy subroutine: items with pairwise cuts become a binary tree.

use super::merge_tree::{MergeTree, NONE};
use super::neighbors::{Neighbor, NeighborLists};
use super::problem::Problem;
use super::rule::{Extent, Rank, Rule};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Buffers that survive from one problem to the next.
#[derive(Debug, Default)]
pub(super) struct Merging {
    heap: BinaryHeap<Reverse<Candidate>>,
    cluster: Vec<u32>,
    neighbors: NeighborLists,
    slot: Vec<u32>,
}

/// A possible merge; the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    delta: Rank,
    older: u32,
    newer: u32,
}

impl Candidate {
    fn new(best: Neighbor, newer: u32) -> Self {
        Self { delta: Rank(best.delta), older: best.node, newer }
    }
}

impl Merging {
    /// Merges the items of `problem` into one tree, always the pair with the smallest rank first. A pair of clusters is proposed by the newer one.
    /// Lists may name clusters that have merged; `cluster` says where those went.
    pub(super) fn run(&mut self, tree: &mut MergeTree, problem: &Problem, rule: &Rule) {
        let Self { heap, cluster, neighbors, slot } = self;
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
        tree.join_components(reference);
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
