//! ASAP: neighbourhoods as clusters, formed by attention, the fittest kept.

use super::pooled::Pool;
use super::selection::{Kept, Selection};
use super::top_k::{check_ratio, keep_best};
use crate::{Batch, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear, linear_no_bias};
use core_tensor::ops;
use core_tensor::sparse::SparsePattern;

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
        let difference = ops::mul(&self.of_difference.forward(x)?, &degrees)?;
        Ok(ops::add(&ops::sub(&neighbors, &difference)?, &self.of_root.forward(x)?)?)
    }
}

impl Pool for AsapPool {
    fn select(&self, x: &Tensor, batch: &Batch) -> Result<Selection> {
        let weight = self.query.weight();
        batch.adjacency().check_layer("AsapPool::select", x, weight.dims()[1], weight)?;
        let looped = batch.adjacency().with_self_loops()?;
        let pattern = looped.pattern();
        let query = self.query.forward(&pattern.segment_max(x)?)?;

        // att [q_i, x_j] splits into a part per row and a part per column
        let features = x.dims()[1];
        let weight = self.attention.weight();
        let of_query = ops::linear(&query, &weight.narrow(1, 0, features)?, self.attention.bias())?.squeeze(1)?;
        let of_member = ops::linear(x, &weight.narrow(1, features, features)?, None)?.squeeze(1)?;
        let scores = ops::add(&pattern.gather_rows(&of_query)?, &pattern.gather_cols(&of_member)?)?;
        let attention = pattern.segment_softmax(&ops::leaky_relu(&scores, NEGATIVE_SLOPE)?)?;

        let clusters = pattern.matmul_weighted(&attention, x)?;
        let fitness = ops::sigmoid(&self.fitness.forward(&clusters, pattern)?.squeeze(1)?)?;
        let kept = keep_best(&fitness, batch, self.ratio)?;
        Ok(Selection::Kept(Kept { neighborhoods: Some((pattern.clone(), attention)), ..kept }))
    }
}
