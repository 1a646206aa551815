//! Refinement of a coding tree by moves that lower its structural entropy; see [`Refinement`].

use super::items::Items;
use super::places::{Bounds, Places};
use super::refinement::Refinement;
use crate::Graph;
use core_tensor::random::Rng;
use std::collections::VecDeque;

/// A change of entropy, in bits, below which a round counts as without gain.
const LEAST_GAIN: f64 = 1e-9;

/// Lowers the entropy of the tree given by `parents`, layer by layer; returns the change of the entropy in bits, as the moves add up to.
pub(super) fn refine(graph: &Graph, parents: &mut [Vec<u32>], offset: f64, refinement: &Refinement) -> f64 {
    let vertices = Items::of_vertices(graph);
    let total: f64 = vertices.volumes.iter().sum();
    if parents.len() < 2 || total == 0.0 {
        return 0.0;
    }
    let mut rng = Rng::new(refinement.seed).fork("refinement");
    let mut change = 0.0;
    for _ in 0..refinement.max_rounds {
        let mut gain = 0.0;
        for layer in 0..parents.len() - 1 {
            let items = items_of_layer(&vertices, parents, layer);
            let mut places = Places::new(&items, &parents[layer..], total, offset);
            let mut group = std::mem::take(&mut parents[layer]);
            gain += move_items(items, &mut group, &mut places, offset, &mut rng);
            parents[layer] = group;
            for (slot, above) in parents[layer + 1..].iter_mut().zip(places.into_parents()) {
                *slot = above;
            }
            drop_empty(&mut parents[layer..]);
        }
        let bits = 2.0 * gain / total;
        change += bits;
        if bits > -LEAST_GAIN {
            break;
        }
    }
    change
}

/// The nodes of a layer, as items.
fn items_of_layer(vertices: &Items, parents: &[Vec<u32>], layer: usize) -> Items {
    let mut labels: Vec<u32> = (0..vertices.len() as u32).collect();
    for above in &parents[..layer] {
        labels.iter_mut().for_each(|label| *label = above[*label as usize]);
    }
    vertices.joined(&labels, parents[layer].len()).without_internal()
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

/// Moves items, then ever larger groups of them that have one parent; returns the change of the cost.
fn move_items(items: Items, group: &mut [u32], places: &mut Places, offset: f64, rng: &mut Rng) -> f64 {
    let mut current = items;
    let mut of_item: Vec<u32> = (0..current.len() as u32).collect();
    let mut parents = group.to_vec();
    let mut change = 0.0;
    loop {
        change += settle(&current, &mut parents, places, None, rng);
        let (labels, count) = parts(&current, &parents, places, offset, rng);
        if count == current.len() {
            break;
        }
        let mut parents_of_parts = vec![0; count];
        for (&label, &parent) in labels.iter().zip(&parents) {
            parents_of_parts[label as usize] = parent;
        }
        current = current.joined(&labels, count);
        of_item.iter_mut().for_each(|part| *part = labels[*part as usize]);
        parents = parents_of_parts;
        places.recount(&parents);
    }
    for (slot, &part) in group.iter_mut().zip(&of_item) {
        *slot = parents[part as usize];
    }
    change
}

/// Visits items in a random order, and again those whose neighbours have moved, until each is where its cost is least.
fn settle(
    items: &Items,
    group: &mut [u32],
    places: &mut Places,
    bounds: Option<Bounds<'_>>,
    rng: &mut Rng,
) -> f64 {
    let mut queue: VecDeque<u32> = rng.permutation(items.len()).into();
    let mut is_queued = vec![true; items.len()];
    let mut change = 0.0;
    while let Some(item) = queue.pop_front() {
        let item = item as usize;
        is_queued[item] = false;
        let Some(gain) = places.relocate(items, group, item, bounds) else { continue };
        change += gain;
        for (neighbor, _) in items.neighbors(item) {
            let at = neighbor as usize;
            if !is_queued[at] && group[at] != group[item] && bounds.is_none_or(|bounds| bounds.part[at] == bounds.part[item]) {
                is_queued[at] = true;
                queue.push_back(neighbor);
            }
        }
    }
    change
}

/// Splits every group of items into parts that cohere: as if the group were dissolved and its items joined anew. Labels are numbered by first appearance.
fn parts(items: &Items, group: &[u32], places: &Places, offset: f64, rng: &mut Rng) -> (Vec<u32>, usize) {
    let log_above = places.logs_above();
    let bounds = Bounds { part: group, log_above: &log_above };
    let mut labels: Vec<u32> = (0..items.len() as u32).collect();
    settle(items, &mut labels, &mut Places::singletons(items, offset), Some(bounds), rng);
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
