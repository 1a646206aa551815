//! ASAP: neighbourhoods as clusters, formed by attention, the fittest kept.

use super::top_k::{check_ratio, keep_best};
use super::{Kept, Pool, Selection};
use crate::{Adjacency, Batch, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear, linear_no_bias};
use core_tensor::ops;
use core_tensor::sparse::{Segments, SparsePattern, gather};
use std::collections::BTreeMap;

/// Slope of the leaky ReLU of the attention.
const NEGATIVE_SLOPE: f64 = 0.2;

/// Adaptive structure aware pooling.
///
/// With loops added: `q_i = W max_{j∈N(i)} x_j + b`, `α_ij = softmax_{j∈N(i)} leaky_relu(att [q_i, x_j])`, `c_i = Σ_j α_ij x_j`,
/// fitness `φ_i = sigmoid(LEConv(c)_i)`. Keeps the `⌈ratio · n⌉` fittest of each graph, with features `c φ` and connections `Sᵀ A S` without loops,
/// where the columns of `S` are the kept rows of `α`.
#[derive(Debug, Clone)]
pub struct AsapPool {
    query: Linear,
    attention: Linear,
    fitness: LeConv,
    ratio: f64,
}

/// `LEConv(x)_i = Σ_{j∈N(i)} (W_1 x_j + b_1 - W_2 x_i) + W_3 x_i + b_3`.
#[derive(Debug, Clone)]
struct LeConv {
    of_neighbors: Linear,
    of_difference: Linear,
    of_root: Linear,
}

/// A pool with `lin`, `att` and `gnn_score.{lin1,lin2,lin3}`.
///
/// # Errors
/// A ratio outside `(0, 1]`, or parameters that exist with other shapes.
pub fn asap_pool(features: usize, ratio: f64, vb: VarBuilder<'_>) -> Result<AsapPool> {
    let ratio = check_ratio(ratio)?;
    let score = vb.pp("gnn_score");
    Ok(AsapPool {
        query: linear(features, features, vb.pp("lin"))?,
        attention: linear(2 * features, 1, vb.pp("att"))?,
        fitness: LeConv {
            of_neighbors: linear(features, 1, score.pp("lin1"))?,
            of_difference: linear_no_bias(features, 1, score.pp("lin2"))?,
            of_root: linear(features, 1, score.pp("lin3"))?,
        },
        ratio,
    })
}

impl LeConv {
    fn forward(&self, x: &Tensor, pattern: &SparsePattern) -> Result<Tensor> {
        let neighbors = pattern.matmul(&self.of_neighbors.forward(x)?)?;
        let degrees: Vec<f64> = pattern.row_degrees().into_iter().map(f64::from).collect();
        let count = degrees.len();
        let degrees = Tensor::from_vec(degrees, (count, 1), x.device())?.to_dtype(x.dtype())?;
        let difference = (self.of_difference.forward(x)? * degrees)?;
        Ok(((neighbors - difference)? + self.of_root.forward(x)?)?)
    }
}

impl Pool for AsapPool {
    fn select(&self, x: &Tensor, batch: &Batch) -> Result<Selection> {
        let looped = batch.adjacency().with_self_loops()?;
        let pattern = looped.pattern();
        let query = self.query.forward(&pattern.segment_max(x)?)?;

        // att [q_i, x_j] splits into a part per row and a part per column
        let features = x.dims()[1];
        let weight = self.attention.weight();
        let of_query = ops::linear(&query, &weight.narrow(1, 0, features)?, self.attention.bias())?.squeeze(1)?;
        let of_member = ops::linear(x, &weight.narrow(1, features, features)?, None)?.squeeze(1)?;
        let scores = (pattern.gather_rows(&of_query)? + pattern.gather_cols(&of_member)?)?;
        let attention = pattern.segment_softmax(&ops::leaky_relu(&scores, NEGATIVE_SLOPE)?)?;

        let clusters = pattern.matmul_weighted(&attention, x)?;
        let fitness = ops::sigmoid(&self.fitness.forward(&clusters, pattern)?.squeeze(1)?)?;
        let kept = keep_best(&fitness, batch, self.ratio)?;
        Ok(Selection::Kept(Kept { neighborhoods: Some((pattern.clone(), attention)), ..kept }))
    }
}

/// `Sᵀ (A + I) S` without its diagonal, where column `c` of `S` holds the weights of the neighbourhood of `centres[c]`. Gradients flow to both factors.
pub(super) fn connect_neighborhoods(
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

/// A sparse product, entry by entry: which pairs of factors add up to which place.
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
            Some(left) => (gather(left, &self.left)? * right)?,
            None => right,
        };
        Ok(Segments::new(&self.place, self.places.len())?.sum(&terms)?)
    }
}
