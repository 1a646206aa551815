//! Connections between weighted neighbourhoods that overlap: a sparse triple product with gradients to all factors.

use crate::{Adjacency, Result};
use candle_core::Tensor;
use core_tensor::ops;
use core_tensor::sparse::{Segments, SparsePattern, gather};
use std::collections::BTreeMap;

/// `Sᵀ (A + I) S` without its diagonal, where column `c` of `S` holds the weights of the neighbourhood of `centres[c]`. Gradients flow to both factors.
pub(super) fn connect(
    adjacency: &Adjacency,
    pattern: &SparsePattern,
    weights: &Tensor,
    centres: &[u32],
) -> Result<Adjacency> {
    let looped = adjacency.with_self_loops()?;
    // S as entries (member, centre position) with the ids of their weights
    let mut of_member: Vec<Vec<(u32, u32)>> = vec![Vec::new(); pattern.num_rows()];
    let mut ids = Vec::new();
    for (position, &centre) in centres.iter().enumerate() {
        let entries = pattern.row_entries(centre as usize).unwrap_or_default();
        let members = pattern.row_cols(centre as usize).unwrap_or_default();
        for (&entry, &member) in entries.iter().zip(members) {
            of_member[member as usize].push((position as u32, ids.len() as u32));
            ids.push(entry);
        }
    }
    let selected = gather(weights, &ids)?;

    // (A S)[i, d] = Σ_j A_ij S_jd, with i the target of the message and j its source
    let mut half = Product::default();
    for (edge, (&source, &target)) in looped.sources().iter().zip(looped.targets()).enumerate() {
        for &(centre, id) in &of_member[source as usize] {
            half.add((target, centre), edge as u32, id);
        }
    }
    let half_values = half.values(looped.weights(), &selected)?;

    // (Sᵀ A S)[c, d] = Σ_i S_ic (A S)[i, d]
    let mut whole = Product::default();
    for (position, &(node, right)) in half.places.iter().enumerate() {
        for &(left, id) in &of_member[node as usize] {
            if left != right {
                whole.add((left, right), id, position as u32);
            }
        }
    }
    let values = whole.values(Some(&selected), &half_values)?;
    let targets: Vec<u32> = whole.places.iter().map(|place| place.0).collect();
    let sources: Vec<u32> = whole.places.iter().map(|place| place.1).collect();
    Adjacency::from_edge_index(centres.len(), &sources, &targets, adjacency.dtype(), adjacency.device())?
        .with_weights(values)
}

/// A sparse product, entry by entry: the pairs of factors that are summed into each place.
#[derive(Default)]
struct Product {
    number: BTreeMap<(u32, u32), u32>,
    places: Vec<(u32, u32)>,
    left: Vec<u32>,
    right: Vec<u32>,
    place: Vec<u32>,
}

impl Product {
    fn add(&mut self, place: (u32, u32), left: u32, right: u32) {
        let next = self.places.len() as u32;
        let number = *self.number.entry(place).or_insert(next);
        if number == next {
            self.places.push(place);
        }
        self.left.push(left);
        self.right.push(right);
        self.place.push(number);
    }

    /// The value at each place; a missing left factor is 1.
    fn values(&self, left: Option<&Tensor>, right: &Tensor) -> Result<Tensor> {
        let right = gather(right, &self.right)?;
        let terms = match left {
            Some(left) => ops::mul(&gather(left, &self.left)?, &right)?,
            None => right,
        };
        Ok(Segments::new(&self.place, self.places.len())?.sum(&terms)?)
    }
}
