//! A graph as tensors, the form that layers work with.

use crate::door::{check_device, check_features, check_kind};
use crate::looped::Looped;
use crate::{Error, Graph, Result};
use candle_core::{DType, Device, Tensor};
use core_tensor::ops;
use core_tensor::sparse::{SparsePattern, gather};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The (optionally weighted) adjacency of `n` nodes on a device; clones share everything.
///
/// Entry `e` carries a message from `sources()[e]` to `targets()[e]`. Weights may be on the tape: every layer here passes gradients to them.
#[derive(Debug, Clone)]
pub struct Adjacency {
    pattern: SparsePattern,
    weights: Option<Tensor>,
    dtype: DType,
    device: Device,
    symmetric: Arc<OnceLock<SymmetricNormalisation>>,
    looped: Arc<OnceLock<Looped>>,
}

/// `D^-1/2 (A + I) D^-1/2` as a pattern with loops and its values.
#[derive(Debug, Clone)]
pub(crate) struct SymmetricNormalisation {
    pub(crate) pattern: SparsePattern,
    pub(crate) values: Tensor,
}

impl Adjacency {
    /// Both directions of every edge of `graph`, a self-loop once.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn from_graph(graph: &Graph, dtype: DType, device: &Device) -> Result<Self> {
        let mut targets = Vec::with_capacity(graph.num_entries());
        let mut sources = Vec::with_capacity(graph.num_entries());
        let mut weights = Vec::new();
        for node in 0..graph.num_nodes() {
            for (neighbor, weight) in graph.weighted_neighbors(node) {
                targets.push(node as u32);
                sources.push(neighbor);
                if graph.is_weighted() {
                    weights.push(weight);
                }
            }
        }
        let adjacency = Self::from_edge_index(graph.num_nodes(), &sources, &targets, dtype, device)?;
        if graph.is_weighted() {
            let weights = Tensor::from_vec(weights, targets.len(), device)?.to_dtype(dtype)?;
            return adjacency.with_weights(weights);
        }
        Ok(adjacency)
    }

    /// Messages from `sources[e]` to `targets[e]`, PyTorch Geometric's `edge_index` rows 0 and 1, every weight 1.
    ///
    /// # Errors
    /// Lists of different lengths, or a node outside `0..num_nodes`.
    pub fn from_edge_index(
        num_nodes: usize,
        sources: &[u32],
        targets: &[u32],
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let pattern = SparsePattern::from_edges(num_nodes, num_nodes, targets, sources)?;
        let (symmetric, looped) = (Arc::default(), Arc::default());
        Ok(Self { pattern, weights: None, dtype, device: device.clone(), symmetric, looped })
    }

    /// The same messages with weights, one per entry.
    ///
    /// # Errors
    /// A tensor that is not `[num_entries]`, or of another dtype or on another device than the adjacency.
    pub fn with_weights(&self, weights: Tensor) -> Result<Self> {
        if weights.dims() != [self.num_entries()] {
            return Err(Error::Shape {
                operation: "Adjacency::with_weights",
                what: "weights",
                got: weights.dims().to_vec(),
                expected: format!("[{}]", self.num_entries()),
            });
        }
        check_kind("Adjacency::with_weights", "weights", &weights, self.dtype, &self.device)?;
        Ok(Self { weights: Some(weights), symmetric: Arc::default(), ..self.clone() })
    }

    /// An adjacency whose symmetric normalisation, which must be that of `pattern` and `weights`, is known already.
    pub(crate) fn from_normalised(
        pattern: SparsePattern,
        weights: Option<Tensor>,
        normalised: SymmetricNormalisation,
        dtype: DType,
        device: &Device,
    ) -> Self {
        let symmetric = Arc::new(OnceLock::from(normalised));
        Self { pattern, weights, dtype, device: device.clone(), symmetric, looped: Arc::default() }
    }

    /// Number of nodes.
    pub fn num_nodes(&self) -> usize {
        self.pattern.num_rows()
    }

    /// Number of messages.
    pub fn num_entries(&self) -> usize {
        self.pattern.num_entries()
    }

    /// The node each message comes from.
    pub fn sources(&self) -> &[u32] {
        self.pattern.cols()
    }

    /// The node each message goes to.
    pub fn targets(&self) -> &[u32] {
        self.pattern.rows()
    }

    /// The weight of each message; `None` if all are 1.
    pub fn weights(&self) -> Option<&Tensor> {
        self.weights.as_ref()
    }

    /// Rows are targets, columns sources.
    pub fn pattern(&self) -> &SparsePattern {
        &self.pattern
    }

    /// The element type of weights.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the tensors are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Features of undirected edges as features of messages: row `i` of `features` `[edges, f]` belongs to the edge between the ends of `edges[i]`, in either
    /// order, and is handed to each message between the two, `[num_entries, f]`. In a batch, the nodes of the second graph follow those of the first.
    ///
    /// # Errors
    /// Another number of rows than edges, an edge that is listed twice, or a message between nodes without a listed edge.
    pub fn edge_features(&self, edges: &[(u32, u32)], features: &Tensor) -> Result<Tensor> {
        const OPERATION: &str = "Adjacency::edge_features";
        if features.rank() != 2 || features.dims()[0] != edges.len() {
            let expected = format!("[{} edges, features]", edges.len());
            return Err(Error::Shape {
                operation: OPERATION,
                what: "features",
                got: features.dims().to_vec(),
                expected,
            });
        }
        let ordered = |u: u32, v: u32| (u.min(v), u.max(v));
        let mut row_of = HashMap::with_capacity(edges.len());
        for (row, &(u, v)) in edges.iter().enumerate() {
            if row_of.insert(ordered(u, v), row as u32).is_some() {
                return Err(Error::invalid_data(OPERATION, format!("the edge between {u} and {v} is listed twice")));
            }
        }
        let mut rows = Vec::with_capacity(self.num_entries());
        for (&source, &target) in self.sources().iter().zip(self.targets()) {
            let Some(&row) = row_of.get(&ordered(source, target)) else {
                let reason = format!("there is a message from {source} to {target}, but no such edge is listed");
                return Err(Error::invalid_data(OPERATION, reason));
            };
            rows.push(row);
        }
        Ok(gather(features, &rows)?)
    }

    /// Refuses this graph where it has another dtype or device than a layer's parameters.
    pub(crate) fn check(&self, operation: &'static str, dtype: DType, device: &Device) -> Result<()> {
        let what = "the adjacency";
        if self.dtype != dtype {
            return Err(Error::DType { operation, what, got: self.dtype, expected: dtype });
        }
        check_device(operation, what, &self.device, device)
    }

    /// What a layer of `inputs` features with the parameter `weight` checks of features and graph.
    pub(crate) fn check_layer(
        &self,
        operation: &'static str,
        x: &Tensor,
        inputs: usize,
        weight: &Tensor,
    ) -> Result<()> {
        check_features(operation, x, (self.num_nodes(), inputs), weight.dtype(), weight.device())?;
        self.check(operation, weight.dtype(), weight.device())
    }

    /// The messages with a loop at every node, made once.
    pub(crate) fn looped(&self) -> Result<&Looped> {
        if let Some(known) = self.looped.get() {
            return Ok(known);
        }
        let made = Looped::new(&self.pattern)?;
        Ok(self.looped.get_or_init(|| made))
    }

    /// `A x`: the weighted sum over incoming messages, `[n, f] → [n, f]`.
    ///
    /// # Errors
    /// An `x` without `n` rows or of another dtype than the weights.
    pub fn sum_neighbors(&self, x: &Tensor) -> Result<Tensor> {
        match &self.weights {
            Some(weights) => {
                check_kind("Adjacency::sum_neighbors", "x", x, self.dtype, &self.device)?;
                Ok(self.pattern.matmul_weighted(weights, x)?)
            }
            None => Ok(self.pattern.matmul(x)?),
        }
    }

    /// The same graph with a loop of weight 1 at every node that has none; entries that were there keep their positions.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn with_self_loops(&self) -> Result<Self> {
        let missing = self.nodes_without_loop();
        let mut sources = self.sources().to_vec();
        let mut targets = self.targets().to_vec();
        sources.extend(&missing);
        targets.extend(&missing);
        let all = Self::from_edge_index(self.num_nodes(), &sources, &targets, self.dtype, &self.device)?;
        match &self.weights {
            None => Ok(all),
            Some(weights) => {
                let ones = Tensor::ones(missing.len(), weights.dtype(), &self.device)?;
                all.with_weights(ops::cat(&[weights, &ones], 0)?)
            }
        }
    }

    fn nodes_without_loop(&self) -> Vec<u32> {
        let mut has_loop = vec![false; self.num_nodes()];
        for (&source, &target) in self.sources().iter().zip(self.targets()) {
            if source == target {
                has_loop[source as usize] = true;
            }
        }
        (0..self.num_nodes() as u32).filter(|&node| !has_loop[node as usize]).collect()
    }

    /// `D^-1/2 (A + I) D^-1/2 x` with `D` the row sums of `A + I`; a node that already has a loop keeps that loop's weight. `[n, f] → [n, f]`.
    ///
    /// # Errors
    /// An `x` without `n` rows or of another dtype than the adjacency.
    pub fn propagate_symmetric(&self, x: &Tensor) -> Result<Tensor> {
        check_kind("Adjacency::propagate_symmetric", "x", x, self.dtype, &self.device)?;
        let normalisation = self.symmetric_normalisation()?;
        Ok(normalisation.pattern.matmul_weighted(&normalisation.values, x)?)
    }

    pub(crate) fn symmetric_normalisation(&self) -> Result<SymmetricNormalisation> {
        if let Some(known) = self.symmetric.get() {
            return Ok(known.clone());
        }
        let made = self.make_symmetric_normalisation()?;
        if made.values.track_op() {
            // weights on the tape belong to one training step: caching them would keep the tape alive
            return Ok(made);
        }
        Ok(self.symmetric.get_or_init(|| made).clone())
    }

    fn make_symmetric_normalisation(&self) -> Result<SymmetricNormalisation> {
        let looped = self.with_self_loops()?;
        let pattern = looped.pattern.clone();
        let values = match &looped.weights {
            None => {
                let scale: Vec<f64> =
                    pattern.row_degrees().iter().map(|&degree| 1.0 / f64::from(degree).sqrt()).collect();
                let values: Vec<f64> = std::iter::zip(pattern.rows(), pattern.cols())
                    .map(|(&row, &col)| scale[row as usize] * scale[col as usize])
                    .collect();
                let count = values.len();
                Tensor::from_vec(values, count, &self.device)?.to_dtype(self.dtype)?
            }
            Some(weights) => {
                let degree = pattern.sum_entries(weights)?;
                // a degree of 0 or below (possible only with learned weights) contributes nothing
                let positive = degree.gt(0.0)?;
                let safe = ops::where_cond(&positive, &degree, &degree.ones_like()?)?;
                let inverse_root = ops::div(&safe.ones_like()?, &ops::sqrt(&safe)?)?;
                let inverse_root = ops::where_cond(&positive, &inverse_root, &inverse_root.zeros_like()?)?;
                let of_rows = pattern.gather_rows(&inverse_root)?;
                let of_cols = pattern.gather_cols(&inverse_root)?;
                ops::mul(&ops::mul(&of_rows, weights)?, &of_cols)?
            }
        };
        Ok(SymmetricNormalisation { pattern, values })
    }
}
