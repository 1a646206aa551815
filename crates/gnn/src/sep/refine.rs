//! Refinement of a coding tree by moves that lower its structural entropy; see [`Refinement`].

use super::items::Items;
use super::places::{Bounds, Places};
use super::refinement::Refinement;
use crate::Graph;
use core_tensor::random::Rng;
use std::collections::VecDeque;

/// A change of entropy, in bits, below which a round counts as without gain.
const LEAST_GAIN: f64 = 1e-9;

/// The most rounds over what changed between two rounds over everything; far fewer gain anything.
const MAX_PARTIAL_ROUNDS: usize = 100;

/// Lowers the entropy of the tree given by `parents`, layer by layer; returns the change of the entropy in bits, as the moves add up to.
pub(super) fn refine(graph: &Graph, parents: &mut [Vec<u32>], offset: f64, refinement: &Refinement) -> f64 {
    let vertices = Items::of_vertices(graph);
    let total: f64 = vertices.volumes.iter().sum();
    if parents.len() < 2 || total == 0.0 {
        return 0.0;
    }
    let mut rng = Rng::new(refinement.seed).fork("refinement");
    let mut change = 0.0;
    // a round visits the vertices whose groups changed in the one before; all in the first and when that gained nothing
    let mut is_active = vec![true; vertices.len()];
    let (mut is_full, mut full_rounds, mut partial_rounds) = (true, 1, 0);
    loop {
        let mut gain = 0.0;
        let mut is_changed = vec![false; vertices.len()];
        for layer in 0..parents.len() - 1 {
            let labels = labels_of_layer(vertices.len(), parents, layer);
            let items = vertices.joined(&labels, parents[layer].len()).without_internal();
            let mut visit = vec![false; items.len()];
            for (vertex, &label) in labels.iter().enumerate() {
                visit[label as usize] |= is_active[vertex] || is_changed[vertex];
            }
            let mut places = Places::new(&items, &parents[layer..], total, offset);
            let mut moves = Moves { offset, change: 0.0, is_changed: Vec::new(), rng: &mut rng };
            moves.run(items, &mut parents[layer], visit, &mut places);
            gain += moves.change;
            for (vertex, &label) in labels.iter().enumerate() {
                let group = parents[layer][label as usize] as usize;
                is_changed[vertex] |= moves.is_changed.get(group).copied().unwrap_or(false);
            }
            for (slot, above) in parents[layer + 1..].iter_mut().zip(places.into_parents()) {
                *slot = above;
            }
            drop_empty(&mut parents[layer..]);
        }
        let bits = 2.0 * gain / total;
        change += bits;
        let is_gain = bits <= -LEAST_GAIN;
        if is_gain && partial_rounds < MAX_PARTIAL_ROUNDS {
            is_active = is_changed;
            is_full = false;
            partial_rounds += 1;
        } else if full_rounds < refinement.max_rounds && (is_gain || !is_full) {
            is_active.fill(true);
            is_full = true;
            full_rounds += 1;
            partial_rounds = 0;
        } else {
            return change;
        }
    }
}

/// The node of a layer that each vertex belongs to.
fn labels_of_layer(num_vertices: usize, parents: &[Vec<u32>], layer: usize) -> Vec<u32> {
    let mut labels: Vec<u32> = (0..num_vertices as u32).collect();
    for above in &parents[..layer] {
        labels.iter_mut().for_each(|label| *label = above[*label as usize]);
    }
    labels
}

/// Numbers the nodes of every layer above the first anew, in order of first appearance, without those that lost all children.
fn drop_empty(parents: &mut [Vec<u32>]) {
    for layer in 0..parents.len() - 1 {
        let (lower, upper) = parents.split_at_mut(layer + 1);
        let mut number = vec![u32::MAX; upper[0].len()];
        let mut kept = Vec::new();
        for parent in &mut lower[layer] {
            let slot = &mut number[*parent as usize];
            if *slot == u32::MAX {
                *slot = kept.len() as u32;
                kept.push(upper[0][*parent as usize]);
            }
            *parent = *slot;
        }
        upper[0] = kept;
    }
}

/// The moves of one layer.
struct Moves<'a> {
    offset: f64,
    /// The change of the cost so far.
    change: f64,
    /// For each parent whether it lost or won an item.
    is_changed: Vec<bool>,
    rng: &'a mut Rng,
}

impl Moves<'_> {
    /// Moves items, then ever larger groups of them that have one parent. Starts from the items that `visit` names.
    fn run(&mut self, items: Items, group: &mut [u32], visit: Vec<bool>, places: &mut Places) {
        let mut current = items;
        let mut visit = visit;
        let mut of_item: Vec<u32> = (0..current.len() as u32).collect();
        let mut parents = group.to_vec();
        loop {
            let queue = self.queue(&visit);
            self.change += self.settle(&current, &mut parents, queue, places, None);
            let (labels, count) = self.parts(&current, &parents, &visit, places);
            if count == current.len() {
                break;
            }
            let mut parents_of_parts = vec![0; count];
            let mut visit_parts = vec![false; count];
            for ((&label, &parent), &visit) in labels.iter().zip(&parents).zip(&visit) {
                parents_of_parts[label as usize] = parent;
                visit_parts[label as usize] |= visit;
            }
            current = current.joined(&labels, count);
            of_item.iter_mut().for_each(|part| *part = labels[*part as usize]);
            (parents, visit) = (parents_of_parts, visit_parts);
            places.recount(&parents);
        }
        for (slot, &part) in group.iter_mut().zip(&of_item) {
            *slot = parents[part as usize];
        }
    }

    /// The items to be visited, in a random order.
    fn queue(&mut self, visit: &[bool]) -> VecDeque<u32> {
        let mut items: Vec<u32> = (0..visit.len() as u32).filter(|&item| visit[item as usize]).collect();
        self.rng.shuffle(&mut items);
        items.into()
    }

    fn mark(&mut self, parent: u32) {
        let at = parent as usize;
        if self.is_changed.len() <= at {
            self.is_changed.resize(at + 1, false);
        }
        self.is_changed[at] = true;
    }

    /// Visits the items in `queue`, and those whose neighbours have moved, until each is where its cost is least; returns the change of the cost.
    fn settle(
        &mut self,
        items: &Items,
        group: &mut [u32],
        mut queue: VecDeque<u32>,
        places: &mut Places,
        bounds: Option<Bounds<'_>>,
    ) -> f64 {
        let mut is_queued = vec![false; items.len()];
        queue.iter().for_each(|&item| is_queued[item as usize] = true);
        let mut change = 0.0;
        while let Some(item) = queue.pop_front() {
            let item = item as usize;
            is_queued[item] = false;
            let before = group[item];
            let Some(gain) = places.relocate(items, group, item, bounds) else { continue };
            change += gain;
            if bounds.is_none() {
                self.mark(before);
                self.mark(group[item]);
            }
            for (neighbor, _) in items.neighbors(item) {
                let at = neighbor as usize;
                let is_within = bounds.is_none_or(|bounds| bounds.part[at] == bounds.part[item]);
                if !is_queued[at] && group[at] != group[item] && is_within {
                    is_queued[at] = true;
                    queue.push_back(neighbor);
                }
            }
        }
        change
    }

    /// Splits the groups of items that are visited or changed into parts that cohere: as if the group were dissolved and its items joined anew. Any other group
    /// is one part. Labels are numbered by first appearance.
    fn parts(&mut self, items: &Items, group: &[u32], visit: &[bool], places: &Places) -> (Vec<u32>, usize) {
        let log_above = places.logs_above();
        let mut is_split = self.is_changed.clone();
        is_split.resize(log_above.len(), false);
        for (&parent, &visit) in group.iter().zip(visit) {
            is_split[parent as usize] |= visit;
        }
        let mut first = vec![u32::MAX; log_above.len()];
        let mut labels: Vec<u32> = (0..items.len() as u32).collect();
        let mut within = vec![true; items.len()];
        for (item, &parent) in group.iter().enumerate() {
            if !is_split[parent as usize] {
                let slot = &mut first[parent as usize];
                if *slot == u32::MAX {
                    *slot = item as u32;
                }
                labels[item] = *slot;
                within[item] = false;
            }
        }
        let queue = self.queue(&within);
        let bounds = Bounds { part: group, log_above: &log_above };
        self.settle(items, &mut labels, queue, &mut Places::singletons(items, self.offset), Some(bounds));
        let mut number = vec![u32::MAX; items.len()];
        let mut count = 0;
        for label in &mut labels {
            let slot = &mut number[*label as usize];
            if *slot == u32::MAX {
                *slot = count;
                count += 1;
            }
            *label = *slot;
        }
        (labels, count as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::{Refinement, refine};
    use crate::Graph;
    use crate::sep::{CodingTree, TreeConfig, VolumeOffset};
    use core_tensor::random::Rng;

    #[test]
    fn the_changes_of_all_moves_add_up_to_that_of_the_entropy() {
        let mut rng = Rng::new(1);
        for case in 0..200 {
            let n = 2 + rng.below(60);
            let mut weight = || if case % 2 == 0 { 1.0 } else { 0.1 + rng.unit() };
            let weights: Vec<f64> = (0..3 * n).map(|_| weight()).collect();
            let edges: Vec<_> = weights.iter().map(|&w| (rng.below(n) as u32, rng.below(n) as u32, w)).collect();
            let graph = Graph::from_weighted_edges(n, &edges).expect("valid edges");
            let height = 2 + rng.below(4);
            // a tree at random
            let mut parents = Vec::new();
            let mut size = n;
            for _ in 1..height {
                let above = 1 + rng.below(size);
                let mut own: Vec<u32> =
                    (0..size).map(|i| if i < above { i as u32 } else { rng.below(above) as u32 }).collect();
                rng.shuffle(&mut own);
                parents.push(own);
                size = above;
            }
            parents.push(vec![0; size]);
            for (offset, volume_offset) in [(0.0, VolumeOffset::Zero), (1.0, VolumeOffset::One)] {
                let entropy = |parents: &[Vec<u32>]| {
                    CodingTree::from_layers(&graph, parents).expect("a tree").entropy_with_offset(volume_offset)
                };
                let mut moved = parents.clone();
                let change = refine(&graph, &mut moved, offset, &Refinement { seed: case, max_rounds: 3 });
                let (before, after) = (entropy(&parents), entropy(&moved));
                // sums of a few hundred terms of order 1
                assert!((before + change - after).abs() < 1e-10, "case {case}: {before} + {change} is not {after}");
                assert!(change <= 0.0, "case {case}: {change}");
            }
        }
        let flat =
            CodingTree::build(&Graph::from_edges(3, &[(0, 1)]).expect("edges"), TreeConfig::new(1)).expect("a tree");
        assert_eq!(flat.height(), 1);
    }
}
