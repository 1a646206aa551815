//! Graph attention (Veličković et al., ICLR 2018), and its dynamic form, GATv2 (Brody et al., ICLR 2022), with edge features.

use super::convolution::Convolution;
use crate::door::check_kind;
use crate::{Adjacency, Error, Mode, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use core_tensor::sparse::SparsePattern;
use core_tensor::{init, ops};

/// Settings of a [`GatConv`]; the defaults are PyTorch Geometric's.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GatConfig {
    /// Width of the node features.
    pub inputs: usize,
    /// Width of each head's output.
    pub outputs: usize,
    /// Number of heads; default 1.
    pub heads: usize,
    /// Whether the heads' outputs stand side by side, `[n, heads · outputs]`, or are averaged, `[n, outputs]`; default side by side.
    pub is_concatenated: bool,
    /// Whether the scores are those of GATv2; default no.
    pub is_dynamic: bool,
    /// Width of the edge features; default 0, none.
    pub edge_features: usize,
    /// Slope of the leaky ReLU of the scores; default 0.2.
    pub negative_slope: f64,
    /// Share of attention coefficients dropped in training, where [`GatConv::forward_with`] is told the mode; default 0.
    pub attention_dropout: f64,
    /// Whether every node attends to itself too; default yes. Self-loops of the graph and their features are left out then, and the new loops have
    /// the mean features of the edges that come in, zero where none does.
    pub has_self_loops: bool,
}

impl GatConfig {
    /// One head of GAT without edge features.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            heads: 1,
            is_concatenated: true,
            is_dynamic: false,
            edge_features: 0,
            negative_slope: 0.2,
            attention_dropout: 0.0,
            has_self_loops: true,
        }
    }

    fn check(&self) -> Result<()> {
        for (what, got) in [("heads of gat_conv", self.heads), ("outputs of gat_conv", self.outputs)] {
            if got == 0 {
                return Err(Error::InvalidConfig { what, got: "0".into(), expected: "at least 1" });
            }
        }
        if !(0.0..1.0).contains(&self.attention_dropout) {
            let (got, expected) = (self.attention_dropout.to_string(), "a share in [0, 1)");
            return Err(Error::InvalidConfig { what: "attention_dropout", got, expected });
        }
        if !self.negative_slope.is_finite() {
            let (got, expected) = (self.negative_slope.to_string(), "a finite number");
            return Err(Error::InvalidConfig { what: "negative_slope", got, expected });
        }
        Ok(())
    }
}

/// For each head `x'_i = Σ_j α_ij W x_j`, the heads side by side or averaged, plus `b`, with `α_ij = softmax_j(s_ij)` over the messages into `i` and
///
/// - GAT: `s_ij = leaky_relu(a_s · W x_j + a_d · W x_i + a_e · W_e e_ij)`,
/// - GATv2: `s_ij = a · leaky_relu(W x_j + W_r x_i + W_e e_ij)`, where `W` and `W_r` have biases.
///
/// Edge weights are left aside, as in PyTorch Geometric; a weight that should count can be an edge feature.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use core_tensor::params::ParamStore;
/// use gnn::conv::{GatConfig, gat_conv};
/// use gnn::{Adjacency, Graph, Mode};
/// let graph = Graph::from_edges(3, &[(0, 1), (1, 2)])?;
/// let adjacency = Adjacency::from_graph(&graph, DType::F32, &Device::Cpu)?;
/// let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let config = GatConfig { heads: 4, edge_features: 2, ..GatConfig::new(5, 8) };
/// let layer = gat_conv(config, store.var_builder().pp("gat"))?;
/// // one row of features for each edge, handed to the messages in both directions
/// let of_edges = Tensor::new(&[[1f32, 0.0], [0.0, 1.0]], &Device::Cpu)?;
/// let edges = adjacency.edge_features(&[(0, 1), (1, 2)], &of_edges)?;
/// let x = Tensor::ones((3, 5), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward_with(&x, &adjacency, Some(&edges), &mut Mode::evaluate())?.dims(), [3, 32]);
/// # Ok::<(), gnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GatConv {
    scores: Scores,
    edges: Option<Tensor>,
    bias: Tensor,
    config: GatConfig,
}

#[derive(Debug, Clone)]
enum Scores {
    Static { weight: Tensor, of_source: Tensor, of_target: Tensor, of_edge: Option<Tensor> },
    Dynamic { of_source: (Tensor, Tensor), of_target: (Tensor, Tensor), attention: Tensor },
}

/// A layer with `bias` (zero) and, named as in PyTorch Geometric, GAT's `lin.weight`, `att_src`, `att_dst` and, with edge features,
/// `lin_edge.weight` and `att_edge`, or GATv2's `lin_l`, `lin_r`, `att` and `lin_edge.weight`. Weights are Glorot uniform.
///
/// # Errors
/// Settings out of range, or parameters that exist with other shapes.
pub fn gat_conv(config: GatConfig, vb: VarBuilder<'_>) -> Result<GatConv> {
    config.check()?;
    let GatConfig { inputs, outputs, heads, edge_features, .. } = config;
    let width = heads * outputs;
    let linear = |name: &str, inputs: usize| {
        vb.pp(name).get_with_hints((width, inputs), "weight", init::glorot_uniform(inputs, width))
    };
    let attention = |name: &str| vb.get_with_hints((1, heads, outputs), name, init::glorot_uniform(heads, outputs));
    let edges = if edge_features > 0 { Some(linear("lin_edge", edge_features)?) } else { None };
    let scores = if config.is_dynamic {
        let bias = |name: &str| vb.pp(name).get_with_hints(width, "bias", init::fan_in_uniform(inputs));
        Scores::Dynamic {
            of_source: (linear("lin_l", inputs)?, bias("lin_l")?),
            of_target: (linear("lin_r", inputs)?, bias("lin_r")?),
            attention: attention("att")?,
        }
    } else {
        Scores::Static {
            weight: linear("lin", inputs)?,
            of_source: attention("att_src")?,
            of_target: attention("att_dst")?,
            of_edge: if edge_features > 0 { Some(attention("att_edge")?) } else { None },
        }
    };
    let bias_width = if config.is_concatenated { width } else { outputs };
    Ok(GatConv { scores, edges, bias: vb.get_with_hints(bias_width, "bias", Init::Const(0.0))?, config })
}

impl GatConv {
    /// The settings.
    pub fn config(&self) -> &GatConfig {
        &self.config
    }

    /// New features from `x` `[n, inputs]` and `edges` `[num_entries, edge_features]`, a row for each message in the order of
    /// [`Adjacency::sources`]; [`Adjacency::edge_features`] makes them from rows of undirected edges.
    ///
    /// # Errors
    /// Features that do not fit the graph or the layer, edge features where the layer has none, or none where it has.
    pub fn forward_with(
        &self,
        x: &Tensor,
        adjacency: &Adjacency,
        edges: Option<&Tensor>,
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        const OPERATION: &str = "GatConv::forward";
        adjacency.check_layer(OPERATION, x, self.config.inputs, &self.bias)?;
        let edges = match (&self.edges, edges) {
            (None, None) => None,
            (Some(weight), Some(edges)) => {
                if edges.dims() != [adjacency.num_entries(), self.config.edge_features] {
                    let expected =
                        format!("[{} messages, {} features]", adjacency.num_entries(), self.config.edge_features);
                    let got = edges.dims().to_vec();
                    return Err(Error::Shape { operation: OPERATION, what: "edges", got, expected });
                }
                check_kind(OPERATION, "edges", edges, self.bias.dtype(), self.bias.device())?;
                let edges =
                    if self.config.has_self_loops { adjacency.looped()?.features(edges)? } else { edges.clone() };
                Some(ops::linear(&edges, weight, None)?)
            }
            (None, Some(_)) => return Err(Error::invalid_data(OPERATION, "edge features for a layer without them")),
            (Some(_), None) => {
                let reason = "the layer has edge features; hand them over with GatConv::forward_with";
                return Err(Error::invalid_data(OPERATION, reason));
            }
        };
        let looped = if self.config.has_self_loops { Some(adjacency.looped()?) } else { None };
        let pattern = looped.map_or(adjacency.pattern(), |looped| looped.pattern());
        let out = self.attend(x, pattern, edges.as_ref(), mode)?;
        Ok(ops::bias_add(&out, &self.bias)?)
    }

    fn attend(
        &self,
        x: &Tensor,
        pattern: &SparsePattern,
        edges: Option<&Tensor>,
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        let GatConfig { heads, outputs, negative_slope, .. } = self.config;
        let n = x.dims()[0];
        if pattern.num_entries() == 0 {
            return Ok(Tensor::zeros((n, self.bias.dims()[0]), x.dtype(), x.device())?);
        }
        let dot = |rows: &Tensor, attention: &Tensor| -> Result<Tensor> {
            let rows = rows.reshape((rows.dims()[0], heads, outputs))?;
            Ok(ops::sum_keepdim(&ops::mul(&rows, attention)?, &[2])?.squeeze(2)?)
        };
        let (values, scores) = match &self.scores {
            Scores::Static { weight, of_source, of_target, of_edge } => {
                let projected = ops::linear(x, weight, None)?;
                let of_sources = pattern.gather_cols(&dot(&projected, of_source)?)?;
                let of_targets = pattern.gather_rows(&dot(&projected, of_target)?)?;
                let mut scores = ops::add(&of_sources, &of_targets)?;
                if let (Some(edges), Some(of_edge)) = (edges, of_edge) {
                    scores = ops::add(&scores, &dot(edges, of_edge)?)?;
                }
                (projected, ops::leaky_relu(&scores, negative_slope)?)
            }
            Scores::Dynamic { of_source, of_target, attention } => {
                let sources = ops::linear(x, &of_source.0, Some(&of_source.1))?;
                let targets = ops::linear(x, &of_target.0, Some(&of_target.1))?;
                let mut sums = ops::add(&pattern.gather_cols(&sources)?, &pattern.gather_rows(&targets)?)?;
                if let Some(edges) = edges {
                    sums = ops::add(&sums, edges)?;
                }
                (sources, dot(&ops::leaky_relu(&sums, negative_slope)?, attention)?)
            }
        };
        let coefficients = pattern.segment_softmax(&scores)?;
        let coefficients = mode.dropout(&coefficients, self.config.attention_dropout)?;
        let out = pattern.matmul_weighted(&coefficients, &values.reshape((n, heads, outputs))?)?;
        match self.config.is_concatenated {
            true => Ok(out.reshape((n, heads * outputs))?),
            false => Ok(ops::mean_keepdim(&out, &[1])?.squeeze(1)?),
        }
    }
}

impl Convolution for GatConv {
    /// As [`GatConv::forward_with`] without edge features and without dropout.
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        self.forward_with(x, adjacency, None, &mut Mode::evaluate())
    }
}
